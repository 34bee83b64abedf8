// Tests of the thread pool. Every task of every job runs once, with any number of threads and with jobs that follow
// each other at once. An exception of a task ends the task's job alone, and is thrown on the thread that waits for the
// job.
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "../core/thread_pool.h"

namespace {

/// Runs jobs in which no task, some tasks or all tasks throw. Returns the number of jobs that went wrong.
int throwing_jobs(int threads) {
  int failures = 0;
  hearth::ThreadPool pool(threads);
  for (int job = 0; job < 3000; job++) {
    const int tasks = 1 + job % 67, bad = job % 4 == 0 ? 0 : job % 4 == 1 ? tasks : 1 + job % tasks;
    std::atomic<int> running{0}, sum{0};
    std::string thrown;
    try {
      pool.run(tasks, [&](int task, int) {
        running++;
        if (task < bad) {
          running--;
          throw std::runtime_error("task of job " + std::to_string(job));
        }
        sum += task;
        running--;
      });
    } catch (const std::exception& error) { thrown = error.what(); }
    const std::string wanted = bad > 0 ? "task of job " + std::to_string(job) : "";
    const bool right = thrown == wanted && running == 0 && (bad > 0 || sum == tasks * (tasks - 1) / 2);
    if (!right)
      std::fprintf(stderr, "FAILED: %d threads, job %d of %d tasks, %d of which throw: \"%s\"\n", threads, job, tasks,
                   bad, thrown.c_str());
    failures += !right;
  }
  return failures;
}

}  // namespace

int main() {
  int failures = 0;
  for (const int threads : {1, 2, 3, 8}) failures += throwing_jobs(threads);
  for (const int threads : {1, 2, 3, 4, 8}) {
    hearth::ThreadPool pool(threads);
    std::vector<int> runs(5000);
    std::atomic<unsigned> work{0};
    for (int job = 0; job < 20000 && failures == 0; job++) {
      const int tasks = job % 7 == 0 ? 1 + job % 4999 : job % 37;
      for (int task = 0; task < tasks; task++) runs[static_cast<size_t>(task)] = 0;
      pool.run(tasks, [&](int task, int thread) {
        runs[static_cast<size_t>(task)] += thread >= 0 && thread < threads ? 1 : 1000;
        // The tasks are uneven, so that threads take over tasks from each other.
        for (int i = 0; task % 13 == 5 && i < 100; i++) work.fetch_add(1, std::memory_order_relaxed);
      });
      for (int task = 0; task < tasks; task++)
        if (const int count = runs[static_cast<size_t>(task)]; count != 1) {
          std::fprintf(stderr, "FAILED: %d threads, job %d of %d tasks: task %d ran %d times\n", threads, job, tasks,
                       task, count);
          failures++;
        }
    }
  }
  std::printf("%s\n", failures == 0 ? "ok" : "FAILED");
  return failures == 0 ? 0 : 1;
}
