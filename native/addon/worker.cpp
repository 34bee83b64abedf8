#include "worker.h"

#include <chrono>
#include <exception>
#include <new>

#include "failure.h"

namespace hearth {

Worker::Worker(Napi::Env env, std::string subject, std::function<void()> abort)
    : done_(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "hearth", 0,
                                          1)),
      env_(env),
      subject_(std::move(subject)),
      abort_(std::move(abort)) {
  done_.Unref(env);
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (...) {
    done_.Release();
    throw;
  }
  // The hook that was added last runs first. So this hook runs before the one that destroys done_.
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

void Worker::deliver(const std::function<void(Napi::Env)>& settled) {
  const auto call = [&settled] { return [settled](Napi::Env env, Napi::Function) { settled(env); }; };
  for (;;) {
    try {
      done_.BlockingCall(call());
      return;
    } catch (const std::bad_alloc&) {
      // Somebody waits for this call, so try again once others have given memory back.
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

namespace {

/// The promise and the listener of a job. The JavaScript thread makes and deletes the object; the worker has only a
/// pointer to it.
struct Promised {
  explicit Promised(Napi::Env env) : deferred(env) {}
  Napi::Promise::Deferred deferred;
  Napi::FunctionReference listener;
  std::exception_ptr listener_failure;
};

}  // namespace

Napi::Promise Worker::run(Napi::Env env, std::function<Settle(const Tell&)> job, Napi::Function listener) {
  auto owned = std::make_unique<Promised>(env);
  if (!listener.IsEmpty()) owned->listener = Napi::Persistent(listener);
  const Napi::Promise promise = owned->deferred.Promise();
  // The promise may settle after this object is gone, because the destructor only waits for the delivery. `alive` then
  // says so.
  post([this, promised = owned.get(), listens = !listener.IsEmpty(), subject = subject_,
        alive = std::weak_ptr<bool>(alive_), job = std::move(job)] {
    Settle made;
    std::exception_ptr failure;
    try {
      made = job([&](const Arguments& arguments) {
        if (!listens) return;
        deliver([promised, arguments](Napi::Env env) {
          try {
            promised->listener.Call(arguments(env));
          } catch (...) { promised->listener_failure = std::current_exception(); }
        });
      });
    } catch (...) { failure = std::current_exception(); }
    deliver([this, promised, subject, alive, made, failure](Napi::Env env) {
      const std::unique_ptr<Promised> last(promised);
      if (!alive.expired() && --pending_ == 0) done_.Unref(env);
      settle(env, last->deferred, subject, [&] {
        if (failure) std::rethrow_exception(failure);
        if (last->listener_failure) std::rethrow_exception(last->listener_failure);
        return made(env);
      });
    });
  });
  owned.release();
  if (pending_++ == 0) done_.Ref(env);
  return promise;
}

}  // namespace hearth
