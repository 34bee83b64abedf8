// A thread that runs jobs in order, away from JavaScript, and settles their promises on JavaScript's thread.
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
  /// `subject` is what the errors are about. `abort` is called from another thread and makes the running job end soon.
  /// Throws std::system_error where the system starts no thread.
  Worker(Napi::Env env, std::string subject, std::function<void()> abort);
  /// Ends the thread: aborts the running job and finishes the queued ones. On the JavaScript thread.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Makes the value of a promise on the JavaScript thread.
  using Settle = std::function<Napi::Value(Napi::Env)>;

  /// Runs `job` on the worker. The function that `job` returns is called on the JavaScript thread and makes the value
  /// of the promise. An exception from either rejects the promise. The event loop stays alive only while a job is
  /// queued or running.
  Napi::Promise run(Napi::Env env, std::function<Settle()> job) {
    return run(env, [job = std::move(job)](const Tell&) { return job(); }, {});
  }

  /// Makes the arguments of a call on the JavaScript thread.
  using Arguments = std::function<std::vector<napi_value>(Napi::Env)>;
  using Tell = std::function<void(const Arguments&)>;
  /// The same with a JavaScript function, `listener`, which may be empty. While the job runs, it can have the listener
  /// called, in order and before the promise settles. An exception of the listener rejects the promise.
  Napi::Promise run(Napi::Env env, std::function<Settle(const Tell&)> job, Napi::Function listener);

  /// Runs `job`, which must not throw, on the worker after all jobs queued so far. Nobody is told when it has run.
  void post(std::function<void()> job);

 private:
  void loop();
  static void on_teardown(void* self) { static_cast<Worker*>(self)->shut_down(); }
  /// Does the work of the destructor, once. It also runs when the environment is torn down before this object, while
  /// done_ still exists.
  void shut_down();
  /// Has `settled` called on the JavaScript thread. From the worker.
  void deliver(const std::function<void(Napi::Env)>& settled);

  /// The way back to JavaScript. It keeps the event loop alive only while `pending_` is above 0.
  Napi::ThreadSafeFunction done_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // expires with this object, which tells late deliveries
  int pending_ = 0;  // promises that have not settled; used on the JavaScript thread only
  napi_env env_;
  std::string subject_;
  std::function<void()> abort_;
  bool ended_ = false;  // used on the JavaScript thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace hearth
