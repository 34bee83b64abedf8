// One thread that runs jobs in order, away from JavaScript, and settles their promises back on it.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace hearth {

class Worker {
 public:
  /// `subject` is what errors are about; `abort` makes the running job end soon, from another thread. Throws std::system_error where
  /// the system starts no thread.
  Worker(Napi::Env env, std::string subject, std::function<void()> abort);
  /// Ends the thread: aborts the running job and finishes what is queued. On the JavaScript thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Makes the value of a promise on the JavaScript thread.
  using Settle = std::function<Napi::Value(Napi::Env)>;

  /// Runs `job` on the worker; what it returns is called on the JavaScript thread to make the promise's value. An exception
  /// from either rejects the promise. The event loop stays alive while a job is queued or running, not longer.
  Napi::Promise run(Napi::Env env, std::function<Settle()> job) {
    return run(env, [job = std::move(job)](const Tell&) { return job(); }, {});
  }

  /// Makes the arguments of a call on the JavaScript thread.
  using Arguments = std::function<std::vector<napi_value>(Napi::Env)>;
  using Tell = std::function<void(const Arguments&)>;
  /// The same with a function, or none, that the job may have called while it runs: before the promise settles, in order. What the
  /// function throws rejects the promise.
  Napi::Promise run(Napi::Env env, std::function<Settle(const Tell&)> job, Napi::Function listener);

  /// Runs `job`, which must not throw, on the worker after everything queued, with nobody waiting.
  void post(std::function<void()> job);

 private:
  void loop();
  static void on_teardown(void* self) { static_cast<Worker*>(self)->shut_down(); }
  /// What the destructor does, once; also when the environment is torn down first, while the way back still stands.
  void shut_down();
  /// Calls `settled` on the JavaScript thread; from the worker.
  void deliver(const std::function<void(Napi::Env)>& settled);

  /// The way back to JavaScript. It keeps the event loop alive only while `pending_` promises are open.
  Napi::ThreadSafeFunction done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // tells late deliveries that this object is gone
  int pending_ = 0;                                             // on the JavaScript thread only
  napi_env env_;
  std::string subject_;
  std::function<void()> abort_;
  bool ended_ = false;  // on the JavaScript thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace hearth
