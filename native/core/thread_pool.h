// The one pool of compute threads. The thread that calls run() works too; between the short phases of a step the others
// spin for a moment and then sleep, so that an idle engine uses no CPU.
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
  /// `threads` counts the caller of run(); at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(task, thread) for every task in 0..tasks-1, each once, on any thread, in any order; returns when all are
  /// done. `thread` is in 0..threads()-1. Only one thread may call run() at a time. Throws what a body threw first, once no other runs;
  /// whether the tasks after it ran is then not said.
  /// Each thread takes the tasks of a range in turn, so that what a task reads ahead serves the next; a thread without takes
  /// over the second half of the largest range, at the start all tasks.
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
  /// Runs tasks of the current job until none is left to take.
  void take_tasks(int thread);

  /// A thread's tasks that no one has taken: the first in the lower half, one past the last in the upper.
  struct alignas(64) Share {
    std::atomic<uint64_t> open{0};
  };
  static constexpr uint64_t share_of(uint32_t first, uint32_t end) { return uint64_t{end} << 32 | first; }
  static constexpr uint32_t first_of(uint64_t share) { return static_cast<uint32_t>(share); }
  static constexpr uint32_t end_of(uint64_t share) { return static_cast<uint32_t>(share >> 32); }
  static constexpr uint32_t left_in(uint64_t share) {
    return end_of(share) > first_of(share) ? end_of(share) - first_of(share) : 0;
  }
  /// Gives a thread whose share is empty the second half of the fullest; false if all are empty.
  bool take_half(int thread);

  const int threads_;  ///< wanted; there may be fewer
  const std::unique_ptr<Share[]> shares_;
  std::vector<std::thread> workers_;
  // The job: written before its tasks are opened, and stable while any of its tasks is held, because run() waits for each task
  // taken, not for each thread. A thread that lost its core between two jobs therefore delays nobody.
  Call call_ = nullptr;
  const void* context_ = nullptr;
  alignas(64) std::atomic<int> done_{0};  ///< tasks finished
  std::atomic<bool> failed_{false};       ///< a body of the job threw
  std::exception_ptr failure_;            ///< by the thread that was first to set failed_; read once all tasks are done
  alignas(64) std::atomic<uint32_t> generation_{0};  ///< counts jobs; what sleeping threads wait on
  std::atomic<bool> quit_{false};
  std::atomic<int> last_{std::numeric_limits<int>::max()};  ///< the number of the last thread that works
};

/// Physical (on Apple Silicon: performance) cores, at least 1.
int default_thread_count();

}  // namespace hearth
