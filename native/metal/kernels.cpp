#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "../core/error.h"
#include "device/sources.h"

namespace hearth::metal {

namespace {

/// How many SIMD-groups a threadgroup has where the pipeline allows as many.
constexpr uint32_t kSimdgroups = 4;

/// The M1's family (MTLGPUFamilyApple7). GPUs of older families are in no Mac.
constexpr int kFirstFamily = 7;

/// The file of native/metal/ that holds a kernel.
std::string source_of(std::string_view kernel) {
  static constexpr struct {
    std::string_view prefix;
    const char* file;
  } kFiles[] = {{"embed", "embedding"},     {"norm", "norm"},     {"latch", "norm"},       {"qkv", "qkv"},
                {"attention", "attention"}, {"linear", "linear"}, {"router", "router"},    {"expert_lists", "router"},
                {"sample", "sample"},       {"heads", "heads"},   {"ffn", "feed_forward"}, {"ceiling", "ceilings"}};
  for (const auto& [prefix, file] : kFiles)
    if (kernel.substr(0, prefix.size()) == prefix) return std::string(file) + ".metal";
  return "experts.metal";
}

bool is_bool(uint32_t constant) {
  return (constant >= kHasBias && constant <= kGather) || (constant >= kInterleaved && constant <= kQ8Cache);
}

bool reduces_a_row(std::string_view kernel) {
  return kernel == "norm" || kernel == "router" || kernel.substr(0, 14) == "attention_rows" ||
         kernel.substr(0, 12) == "attention_mm";
}

}  // namespace

gpu::Pipeline& KernelSet::pipeline(const std::string& kernel, const Constants& constants) {
  auto& slot = pipelines_[{kernel, constants}];
  if (slot) return *slot;
  std::vector<gpu::Constant> list;
  for (const auto& [index, value] : constants) {
    if (is_bool(index)) list.emplace_back(static_cast<int>(index), value != 0);
    else list.emplace_back(static_cast<int>(index), value);
  }
  slot = library(source_of(kernel)).pipeline(kernel, list);
  const uint32_t least = reduces_a_row(kernel) ? kReduceThreads : gpu::kSimdWidth;
  if (slot->simd_width() != gpu::kSimdWidth || slot->max_threads() < least)
    fail("the GPU has no room for the kernel %s: %u threads of %u", kernel.c_str(), slot->max_threads(), least);
  return *slot;
}

uint32_t KernelSet::simdgroups(const std::string& kernel, const Constants& constants) {
  return std::min(pipeline(kernel, constants).max_threads() / gpu::kSimdWidth, kSimdgroups);
}

gpu::Library& KernelSet::library(const std::string& file) {
  auto& slot = libraries_[file];
  for (int i = 0; !slot && i < gpu::source_count; i++)
    if (file == gpu::sources[i].name) slot = device_->library(file, gpu::sources[i].text);
  if (!slot) fail("this build has no %s", file.c_str());
  return *slot;
}

std::unique_ptr<gpu::Device> open_usable_device() {
  std::string why_not;
  auto device = gpu::open_device(&why_not);
  if (!device) fail("%s", why_not.c_str());
  const gpu::DeviceInfo& info = device->info();
  if (info.apple_family < kFirstFamily || !info.unified_memory)
    fail("the GPU \"%s\" is none of Apple silicon's", printable(info.name).c_str());
  return device;
}

gpu::SampleParams sample_params(const Sampling& sampling, int position) {
  const bool has_min_p = sampling.min_p > 0;
  return {sampling.temperature,
          sampling.top_p,
          has_min_p ? std::log(std::min(1.0f, sampling.min_p)) : 0,
          has_min_p ? 1u : 0u,
          static_cast<uint32_t>(sampling.top_k),
          static_cast<uint32_t>(position),
          static_cast<uint32_t>(sampling.seed),
          static_cast<uint32_t>(sampling.seed >> 32)};
}

}  // namespace hearth::metal
