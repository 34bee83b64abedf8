// The one pool of compute threads. The thread that calls run() works, too. Between the short phases of a step the other
// threads spin for a moment and then sleep, so that an idle engine uses no CPU.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

namespace hearth {

class ThreadPool {
 public:
  /// `threads` includes the caller of run() and is at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(task, thread) for every task in 0..tasks-1, each once, on any thread and in any order. Returns when all
  /// are done. `thread` is in 0..threads()-1. Only one thread may call run() at a time. If a body throws, run() throws
  /// the first exception once no body runs any more; the tasks after it may or may not have run.
  /// Each thread takes the tasks of a range in turn, so that what one task reads ahead serves the next. A thread
  /// without tasks takes over the second half of the largest range; at the start one range holds all tasks.
  template <class Body>
  void run(int tasks, const Body& body) {
    run_job(
        tasks, [](const void* context, int task, int thread) { (*static_cast<const Body*>(context))(task, thread); },
        &body);
  }

 private:
  using Call = void (*)(const void* context, int task, int thread);
  void run_job(int tasks, Call call, const void* context);
  void work(int thread);
  /// Runs tasks of the current job until none is left.
  void take_tasks(int thread);

  /// The tasks of a thread that nobody has taken yet. The lower half of the word is the first task, the upper half is
  /// one past the last.
  struct alignas(64) Share {
    std::atomic<uint64_t> open{0};
  };
  static constexpr uint64_t share_of(uint32_t first, uint32_t end) { return uint64_t{end} << 32 | first; }
  static constexpr uint32_t first_of(uint64_t share) { return static_cast<uint32_t>(share); }
  static constexpr uint32_t end_of(uint64_t share) { return static_cast<uint32_t>(share >> 32); }
  static constexpr uint32_t left_in(uint64_t share) {
    return end_of(share) > first_of(share) ? end_of(share) - first_of(share) : 0;
  }
  /// Gives a thread whose share is empty the second half of the fullest share. Returns false where all shares are
  /// empty.
  bool take_half(int thread);

  const int threads_;  ///< threads that were asked for; there may be fewer
  const std::unique_ptr<Share[]> shares_;
  std::vector<std::thread> workers_;
  // The current job. It is written before its tasks are opened, and stays the same while any task is held, because
  // run() waits for each task that was taken. It does not wait for each thread, so a thread that lost its core between
  // two jobs delays nobody.
  Call call_ = nullptr;
  const void* context_ = nullptr;
  alignas(64) std::atomic<int> done_{0};  ///< finished tasks of the job
  std::atomic<bool> failed_{false};       ///< whether a body of the job has thrown
  std::exception_ptr failure_;  ///< written by the thread that set failed_ first; read once all tasks are done
  alignas(64) std::atomic<uint32_t> generation_{0};  ///< counts jobs; sleeping threads wait on it
  std::atomic<bool> quit_{false};
  /// The last thread that works. A thread with a higher number ends.
  std::atomic<int> last_{std::numeric_limits<int>::max()};
};

/// The number of physical cores (on Apple Silicon: of performance cores), at least 1.
int default_thread_count();

}  // namespace hearth
