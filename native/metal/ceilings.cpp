#include "ceilings.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace hearth::metal {

namespace {

constexpr size_t kLeastMemory = size_t{16} << 20, kMostMemory = size_t{512} << 20;
constexpr uint32_t kThreads = 256, kLeastGroups = 64, kMostGroups = 1024, kLeastTurns = 64, kMostTurns = 4096;
constexpr int kRounds = 5;
/// A round of so many seconds is long enough: starting a command buffer takes a small part of it.
constexpr double kLongEnough = 5e-3;

/// Runs the kernels of the ceilings, each launch in a command buffer of its own.
class Bench {
 public:
  Bench(gpu::Device& device, KernelSet& kernels)
      : device_(device),
        kernels_(kernels),
        stop_(device.buffer(4)),
        sums_(device.buffer(kMostGroups * kThreads / gpu::kSimdWidth * 4)) {
    std::memset(stop_->contents(), 0, 4);
  }

  /// Returns the seconds that the GPU took. `data` is what the kernel reads at buffer 1, if it reads anything.
  double run(const char* kernel, const gpu::CeilingArgs& args, uint32_t groups, gpu::View data) {
    gpu::Pipeline& pipeline = kernels_.pipeline(kernel, {});
    auto commands = device_.command_buffer();
    commands->pipeline(pipeline);
    commands->value(0, args);
    if (data.buffer) commands->buffer(1, data);
    commands->buffer(data.buffer ? 2 : 1, {sums_.get(), 0, sums_->bytes()});
    commands->buffer(gpu::kStopBuffer, {stop_.get(), 0, 4});
    commands->dispatch({groups, 1, 1}, {std::min(kThreads, pipeline.max_threads()), 1, 1});
    commands->commit();
    commands->wait();
    return commands->seconds();
  }
  uint32_t threads(const char* kernel) { return std::min(kThreads, kernels_.pipeline(kernel, {}).max_threads()); }

 private:
  gpu::Device& device_;
  KernelSet& kernels_;
  std::unique_ptr<gpu::Buffer> stop_, sums_;
};

/// Amount a second, from the median of some rounds. 0 where the GPU tells no time.
template <class Round> double median_rate(double amount, const Round& round) {
  std::vector<double> times;
  for (int i = 0; i < kRounds; i++) times.push_back(round());
  std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
  return times[kRounds / 2] > 0 ? amount / times[kRounds / 2] : 0;
}

double read_rate(Bench& bench, gpu::View memory) {
  const size_t most = std::min(kMostMemory, memory.bytes / 16 * 16);
  for (size_t bytes = std::min(kLeastMemory, most);; bytes = std::min(4 * bytes, most)) {
    const auto count = static_cast<uint32_t>(bytes / 16);
    const uint32_t groups = std::clamp(count / (kThreads * gpu::kCeilingChains), 1u, kMostGroups);
    const auto round = [&] {
      return bench.run("ceiling_read", {count, 0, 0}, groups, {memory.buffer, memory.offset, bytes});
    };
    round();  // reads the file's pages into memory
    if (bytes == most || round() >= kLongEnough) return median_rate(static_cast<double>(bytes), round);
  }
}

double multiply_add_rate(Bench& bench) {
  uint32_t groups = kLeastGroups, turns = kLeastTurns;
  const auto round = [&] { return bench.run("ceiling_multiply_add", {turns, 0.5f, 1.0f}, groups, {}); };
  for (round(); round() < kLongEnough && turns < kMostTurns;) {
    if (groups < kMostGroups) groups *= 4;
    else turns *= 4;
  }
  const double threads = static_cast<double>(groups) * bench.threads("ceiling_multiply_add");
  return median_rate(threads * turns * 4 * gpu::kCeilingChains, round);
}

}  // namespace

Ceilings measure_ceilings(gpu::Device& device, KernelSet& kernels, gpu::View memory) {
  Bench bench(device, kernels);
  return {read_rate(bench, memory), multiply_add_rate(bench), "float"};
}

}  // namespace hearth::metal
