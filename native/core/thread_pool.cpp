#include "thread_pool.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <utility>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif
#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#endif

namespace hearth {

namespace {

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Phases of a step follow each other within microseconds: a worker spins about 50 µs before it sleeps.
constexpr int kSpins = 2000;

}  // namespace

ThreadPool::ThreadPool(int threads)
    : threads_(std::max(1, threads)), shares_(std::make_unique<Share[]>(static_cast<size_t>(threads_))) {
  workers_.reserve(static_cast<size_t>(threads_ - 1));
  try {
    for (int i = 1; i < threads_; i++) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::exception&) {
    // The system's limit on threads or on memory is reached. The pool ends its last thread again and goes on with the
    // rest, because the thread that is to call run() has yet to be started.
    if (workers_.empty()) return;
    last_ = static_cast<int>(workers_.size()) - 1;
    generation_.fetch_add(1);
    generation_.notify_all();
    workers_.back().join();
    workers_.pop_back();
  }
}

ThreadPool::~ThreadPool() {
  quit_ = true;
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

// A thread whose exchange succeeds holds tasks of a job that is still running, whatever has happened since its load.
// The reason is that run() opens a job only when all tasks of the last job are done, and that only its owner makes an
// empty share hold tasks.

bool ThreadPool::take_half(int thread) {
  for (;;) {
    std::atomic<uint64_t>* fullest = nullptr;
    uint64_t share = 0;
    for (int i = 0; i < threads_; i++) {
      std::atomic<uint64_t>& open = shares_[static_cast<size_t>(i)].open;
      const uint64_t other = open.load(std::memory_order_acquire);
      if (left_in(other) <= left_in(share)) continue;
      fullest = &open;
      share = other;
    }
    if (!fullest) return false;
    const uint32_t middle = first_of(share) + left_in(share) / 2;
    if (!fullest->compare_exchange_strong(share, share_of(first_of(share), middle), std::memory_order_acquire))
      continue;
    shares_[static_cast<size_t>(thread)].open.store(share_of(middle, end_of(share)), std::memory_order_release);
    return true;
  }
}

void ThreadPool::take_tasks(int thread) {
  std::atomic<uint64_t>& own = shares_[static_cast<size_t>(thread)].open;
  do {
    uint64_t share = own.load(std::memory_order_acquire);
    int done = 0;
    while (left_in(share) > 0) {
      const uint32_t task = first_of(share);
      if (!own.compare_exchange_weak(share, share_of(task + 1, end_of(share)), std::memory_order_acquire)) continue;
      try {
        call_(context_, static_cast<int>(task), thread);
      } catch (...) {
        if (!failed_.exchange(true)) failure_ = std::current_exception();
      }
      done++;
      share = own.load(std::memory_order_acquire);
    }
    // The count is updated once for each share, because its cache line is the only one that all threads write.
    done_.fetch_add(done, std::memory_order_release);
  } while (take_half(thread));
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (!quit_ && thread <= last_) {
    uint32_t now = generation_.load(std::memory_order_acquire);
    for (int spin = 0; now == seen && spin < kSpins; spin++) {
      pause();
      now = generation_.load(std::memory_order_acquire);
    }
    if (now == seen) {
      generation_.wait(seen, std::memory_order_acquire);
      continue;
    }
    seen = now;
    take_tasks(thread);
  }
}

void ThreadPool::run_job(int tasks, Call call, const void* context) {
  if (workers_.empty() || tasks <= 1) {
    for (int task = 0; task < tasks; task++) call(context, task, 0);
    return;
  }
  call_ = call;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  shares_[0].open.store(share_of(0, static_cast<uint32_t>(tasks)), std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  take_tasks(0);
  // The thread that holds the last task may have lost its core to another process. So this thread spins for a moment
  // and then lets others run.
  for (int spin = 0; done_.load(std::memory_order_acquire) != tasks; spin++)
    if (spin < kSpins) pause();
    else std::this_thread::yield();
  if (failed_) {
    failed_ = false;
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

int default_thread_count() {
  int logical = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#ifdef __APPLE__
  int cores = 0;
  size_t size = sizeof cores;
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &size, nullptr, 0) == 0 && cores > 0) return cores;
  if (sysctlbyname("hw.physicalcpu", &cores, &size, nullptr, 0) == 0 && cores > 0) return cores;
#endif
#ifdef __linux__
  // Two hyper-threads of a core share its vector units, so only the cores that this process may use are counted.
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    std::set<std::pair<int, int>> cores;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      int ids[2] = {-1, cpu};
      const char* names[2] = {"physical_package_id", "core_id"};
      for (int i = 0; i < 2; i++) {
        std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/" + names[i];
        if (FILE* file = std::fopen(path.c_str(), "r")) {
          if (std::fscanf(file, "%d", &ids[i]) != 1) ids[i] = cpu;
          std::fclose(file);
        }
      }
      cores.insert({ids[0], ids[1]});
    }
    if (!cores.empty()) return static_cast<int>(cores.size());
  }
#endif
#ifdef _WIN32
  // Each physical core has one record, of varying length.
  DWORD bytes = 0;
  GetLogicalProcessorInformationEx(RelationProcessorCore, nullptr, &bytes);
  std::vector<char> records(bytes);
  auto* first = reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(records.data());
  if (bytes > 0 && GetLogicalProcessorInformationEx(RelationProcessorCore, first, &bytes)) {
    int cores = 0;
    for (DWORD at = 0; at < bytes; cores++)
      at += reinterpret_cast<SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX*>(records.data() + at)->Size;
    return std::max(1, cores);
  }
#endif
  return logical;
}

}  // namespace hearth
