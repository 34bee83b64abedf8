// The self-test: every kernel on random inputs against a plain computation in double precision, with the speed it reached. Runs on
// the user's own machine, where no test of ours has been.
#pragma once

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>

namespace hearth {

struct KernelCheck {
  std::string backend;   ///< "cpu" or "metal"
  std::string set;       ///< the CPU's kernel set, or the GPU's name
  std::string kernel;
  std::string shape;     ///< in words, e.g. "2880 x 2880, 4 rows"
  double error = 0;      ///< largest deviation from the reference, relative to the size of what was summed up
  double tolerance = 0;
  bool ok = false;
  std::string problem;   ///< what is wrong, in words; empty if ok
  double milliseconds = 0;  ///< of one run, the fastest of a few; 0: not timed
  double bytes = 0;      ///< read and written by one run
  double operations = 0; ///< floating-point (or integer) multiplications and additions of one run
};

struct SelfTestOptions {
  /// Sizes of gpt-oss-20b, out of memory no cache holds, so that the speeds mean something; else small ones, for a quick answer.
  bool full = true;
  uint64_t seed = 1;
  std::function<void(const KernelCheck&)> report;  ///< called after each kernel, on the thread that tests
  const std::atomic<bool>* cancelled = nullptr;    ///< set from another thread: the test ends after the kernel at hand

  bool stopped() const { return cancelled && *cancelled; }
};

namespace cpu {
/// All kernel sets this CPU can run: each against double precision, and all but portable for the same bits as portable.
void self_test(const SelfTestOptions& options);
}  // namespace cpu

namespace metal {
/// All Metal kernels. Throws Error where Metal cannot be used, or the device fails.
void self_test(const SelfTestOptions& options);
}  // namespace metal

namespace self_test {

/// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  int integer(int low, int high) { return low + static_cast<int>(bits() % static_cast<uint64_t>(high - low + 1)); }
  /// −1..1
  float uniform() { return static_cast<float>(static_cast<double>(bits() >> 11) * 0x1p-52 - 1.0); }
  template <class Values> void fill(Values& values, float scale = 1) {
    for (auto& value : values) value = uniform() * scale;
  }

 private:
  uint64_t state_;
};

/// Milliseconds of one run: the fastest of a few after a first one.
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

/// The larger of `worst` and |got − wanted| ÷ scale; what is no number is infinitely wrong.
inline double deviation(double worst, double got, double wanted, double scale) {
  if (!std::isfinite(got)) return INFINITY;
  return std::max(worst, std::fabs(got - wanted) / std::max(scale, 1e-30));
}

}  // namespace self_test

}  // namespace hearth
