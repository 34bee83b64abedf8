// Tests of the thread pool: every task of every job runs once, whatever the threads, with jobs that follow at once on another.
#include <atomic>
#include <cstdio>
#include <vector>

#include "../core/thread_pool.h"

int main() {
  int failures = 0;
  for (const int threads : {1, 2, 3, 4, 8}) {
    hearth::ThreadPool pool(threads);
    std::vector<int> runs(5000);
    std::atomic<unsigned> work{0};
    for (int job = 0; job < 20000 && failures == 0; job++) {
      const int tasks = job % 7 == 0 ? 1 + job % 4999 : job % 37;
      for (int task = 0; task < tasks; task++) runs[static_cast<size_t>(task)] = 0;
      pool.run(tasks, [&](int task, int thread) {
        runs[static_cast<size_t>(task)] += thread >= 0 && thread < threads ? 1 : 1000;
        // Uneven tasks, so that threads take over from each other.
        for (int i = 0; task % 13 == 5 && i < 100; i++) work.fetch_add(1, std::memory_order_relaxed);
      });
      for (int task = 0; task < tasks; task++)
        if (const int count = runs[static_cast<size_t>(task)]; count != 1) {
          std::fprintf(stderr, "FAILED: %d threads, job %d of %d tasks: task %d ran %d times\n", threads, job, tasks, task,
                       count);
          failures++;
        }
    }
  }
  std::printf("%s\n", failures == 0 ? "ok" : "FAILED");
  return failures == 0 ? 0 : 1;
}
