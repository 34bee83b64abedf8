// The self-test: it runs every kernel of a device on random inputs, compares the result with a plain computation in
// double precision, and measures the speed. It runs on the user's own machine, where no test of ours has been.
#pragma once

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>

namespace hearth {

struct KernelCheck {
  std::string backend;  ///< the device's id
  std::string set;      ///< the CPU's kernel set, or the GPU's name
  std::string kernel;
  std::string shape;  ///< in words, e.g. "2880 x 2880, 4 rows"
  double error = 0;   ///< largest deviation from the reference, relative to the size of what was summed up
  double tolerance = 0;
  bool ok = false;
  std::string problem;      ///< what is wrong, in words; empty if ok
  double milliseconds = 0;  ///< of one run, the fastest of a few; 0: it was not timed
  double bytes = 0;         ///< read and written by one run
  double operations = 0;    ///< floating-point (or integer) multiplications and additions of one run
};

struct SelfTestOptions {
  /// Whether to use the sizes of gpt-oss-20b. Such weights fit no cache of the processor, so that the measured speeds
  /// mean something. Small sizes give a quick answer.
  bool full = true;
  uint64_t seed = 1;
  std::function<void(const KernelCheck&)> report;  ///< called after each kernel, on the thread that tests
  /// Another thread sets it; the test then ends after the current kernel.
  const std::atomic<bool>* cancelled = nullptr;

  bool stopped() const { return cancelled && *cancelled; }
};

/// The milliseconds that a run takes: the fastest of a few runs after a first one.
template <class Run> double time_of(const Run& run) {
  using Clock = std::chrono::steady_clock;
  run();
  double best = INFINITY;
  const auto start = Clock::now();
  for (int i = 0; i < 3 || (i < 10 && Clock::now() - start < std::chrono::milliseconds(50)); i++) {
    const auto before = Clock::now();
    run();
    best = std::min(best, std::chrono::duration<double, std::milli>(Clock::now() - before).count());
  }
  return best;
}

/// The larger of `worst` and |got − wanted| ÷ scale. A `got` that is not finite counts as infinitely wrong.
inline double deviation(double worst, double got, double wanted, double scale) {
  if (!std::isfinite(got)) return INFINITY;
  return std::max(worst, std::fabs(got - wanted) / std::max(scale, 1e-30));
}

}  // namespace hearth
