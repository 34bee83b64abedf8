// Runs kernels that are generated from .metal files on the CPU, with the semantics of a GPU. Threadgroups run one after
// another. Their threads are fibers that switch only at barriers and SIMD-group operations. The executor reports errors
// that a GPU would not report: divergent barriers, more than 32 KiB of threadgroup memory, races and accesses out of
// bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "registry.h"

namespace msl {

constexpr uint32_t kSimdWidth = 32;
constexpr uint32_t kMaxThreads = 1024;
constexpr size_t kThreadgroupBytes = 32768;

struct Registry {
  std::vector<KernelInfo> kernels;
  std::vector<FunctionConstant*> constants;
  std::vector<SourceInfo> sources;

  static Registry& get();
  /// Returns nullptr where no linked file has such a kernel. `file`, if given, restricts the search to one .metal file.
  const KernelInfo* find(const std::string& name, const char* file = nullptr) const;
};

/// Sets function constant `index` of a .metal file for the dispatches that follow. `bytes` must be the constant's size.
/// Returns false where the file has no such constant.
bool set_constant(const char* file, int index, const void* value, size_t bytes);
void reset_constants();

/// The order in which the lanes of a SIMD-group, the SIMD-groups and the threadgroups run between synchronisations. A
/// correct kernel gives the same result in every order.
enum class LaneOrder { natural, reverse, random };

struct DispatchOptions {
  LaneOrder order = LaneOrder::natural;
  uint32_t seed = 1;             ///< seed of LaneOrder::random
  bool flush_denormals = false;  ///< whether denormal numbers become 0, as GPUs may do
  /// Whether no memory barrier lies between the dispatch before and this one. The race checker uses it.
  bool concurrent_with_previous = false;
};
struct DispatchStats {
  uint64_t threads = 0, switches = 0, simd_operations = 0, barriers = 0;
  size_t threadgroup_bytes = 0;  ///< bytes of a threadgroup's variables and arguments
};

/// Runs `groups` threadgroups of `threads` threads. `threadgroup_bytes[i]` is the length of [[threadgroup(i)]] memory.
/// Returns the first error, or "" where there was none.
std::string dispatch(const KernelInfo& kernel, const Arguments& arguments, const size_t threadgroup_bytes[kMaxBindings],
                     Size3 groups, Size3 threads, const DispatchOptions& options = {}, DispatchStats* stats = nullptr);

/// The index of the running GPU thread in its threadgroup.
uint32_t current_thread();

}  // namespace msl
