// The kernels of native/metal/*.metal as the host sees them. A kernel is compiled on first use and kept. kernel_args.h
// says which threads and function constants each kernel has.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "../core/batch.h"
#include "device/gpu.h"
#include "kernel_args.h"

namespace hearth::metal {

/// The indices of the function constants, as in kernel_args.h.
enum ConstantIndex : uint32_t {
  kColumns = 0,
  kType = 1,
  kTypeB = 2,
  kTypeC = 3,
  kHasBias = 4,
  kResidual = 5,
  kDirect = 6,
  kGather = 7,
  kHeadLength = 8,
  kGroup = 9,
  kInterleaved = 10,
  kRaw = 11,
  kHasNorm = 12,
  kQ8Cache = 13
};
using Constants = std::map<uint32_t, uint32_t>;

/// Threads of a threadgroup that reduces a row. Those kernels need exactly as many.
constexpr uint32_t kReduceThreads = 256;

/// How many rows of the step share a pass over the weights. It is the N of the …_cN kernels, which call these rows
/// columns.
inline int columns_for(int rows) { return rows <= 1 ? 1 : rows == 2 ? 2 : rows <= 4 ? 4 : 8; }

class KernelSet {
 public:
  explicit KernelSet(std::shared_ptr<gpu::Device> device) : device_(std::move(device)) {}

  /// The kernel for these constants. The first call compiles it. Throws Error with the compiler's text, or where the
  /// GPU's threadgroups are too small for the kernel.
  gpu::Pipeline& pipeline(const std::string& kernel, const Constants& constants);
  /// How many SIMD-groups a threadgroup gets, for kernels whose results do not depend on the number.
  uint32_t simdgroups(const std::string& kernel, const Constants& constants);

 private:
  gpu::Library& library(const std::string& file);

  std::shared_ptr<gpu::Device> device_;
  std::map<std::string, std::unique_ptr<gpu::Library>> libraries_;
  std::map<std::pair<std::string, Constants>, std::unique_ptr<gpu::Pipeline>> pipelines_;
};

/// Opens the system's GPU. Throws an Error that says why there is none that can compute.
std::unique_ptr<gpu::Device> open_usable_device();

/// The sample kernel's parameters for one row. `position` is the position of the token that is chosen.
gpu::SampleParams sample_params(const Sampling& sampling, int position);

}  // namespace hearth::metal
