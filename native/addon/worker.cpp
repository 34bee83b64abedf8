#include "worker.h"

#include <exception>

#include "../core/error.h"

namespace hearth {

Worker::Worker(Napi::Env env, std::function<void()> abort)
    : done_(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "hearth", 0, 1)),
      env_(env), abort_(std::move(abort)), thread_([this] { loop(); }) {
  done_.Unref(env);
  // Hooks run last in, first out: this one before the one that destroys done_.
  napi_add_env_cleanup_hook(env, on_teardown, this);
}

Worker::~Worker() {
  if (ended_) return;
  napi_remove_env_cleanup_hook(env_, on_teardown, this);
  shut_down();
}

void Worker::shut_down() {
  ended_ = true;
  abort_();
  {
    std::lock_guard lock(mutex_);
    quit_ = true;
  }
  wake_.notify_one();
  thread_.join();
  done_.Release();
}

void Worker::post(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Worker::loop() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return quit_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

void Worker::deliver(std::function<void(Napi::Env)> settled) {
  done_.BlockingCall([settled = std::move(settled)](Napi::Env env, Napi::Function) { settled(env); });
}

Napi::Promise Worker::run(Napi::Env env, std::function<Settle(const Tell&)> job, Napi::Function listener) {
  auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  auto called = listener.IsEmpty() ? nullptr : std::make_shared<Napi::FunctionReference>(Napi::Persistent(listener));
  if (pending_++ == 0) done_.Ref(env);
  // The promise may settle after this object is gone: its destructor has delivered by then, and the flag says so.
  post([this, deferred, called = std::move(called), alive = std::weak_ptr<bool>(alive_), job = std::move(job)]() mutable {
    Settle settle;
    std::string error;
    bool device = false;
    try {
      settle = job([&](Arguments arguments) {
        if (called) deliver([called, arguments = std::move(arguments)](Napi::Env env) { called->Call(arguments(env)); });
      });
    } catch (const std::exception& e) {
      error = e.what();
      device = dynamic_cast<const DeviceError*>(&e) != nullptr;
    }
    // The last to hold the listener, which only the JavaScript thread may let go.
    deliver([this, deferred, called = std::move(called), alive, settle = std::move(settle), error = std::move(error), device](Napi::Env env) {
      if (!alive.expired() && --pending_ == 0) done_.Unref(env);
      if (!error.empty()) {
        Napi::Error failure = Napi::Error::New(env, error);
        if (device) failure.Set("code", Napi::String::New(env, "HEARTH_DEVICE_FAILED"));
        return deferred->Reject(failure.Value());
      }
      try {
        deferred->Resolve(settle(env));
      } catch (const Napi::Error& e) {
        deferred->Reject(e.Value());
      }
    });
  });
  return deferred->Promise();
}

}  // namespace hearth
