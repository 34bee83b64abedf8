// The kernels of native/metal/*.metal as the host sees them: compiled on first use and kept, with what kernel_args.h says about
// threads and function constants.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "../core/batch.h"
#include "device/gpu.h"
#include "kernel_args.h"

namespace hearth::metal {

/// Function constants by the index that kernel_args.h gives them.
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

/// Threads of the kernels that reduce a row in one threadgroup: exactly as many.
constexpr uint32_t kReduceThreads = 256;

/// Columns of the step that share a pass over the weights: the N of the …_cN kernels.
inline int columns_for(int rows) { return rows <= 1 ? 1 : rows == 2 ? 2 : rows <= 4 ? 4 : 8; }

class KernelSet {
 public:
  explicit KernelSet(std::shared_ptr<gpu::Device> device) : device_(std::move(device)) {}

  /// Compiles at the first call for these constants. Throws Error with the compiler's text, or where the GPU's threadgroups are too
  /// small for the kernel.
  gpu::Pipeline& pipeline(const std::string& kernel, const Constants& constants);
  /// SIMD-groups of a threadgroup, for kernels whose results do not depend on it.
  uint32_t simdgroups(const std::string& kernel, const Constants& constants);

 private:
  gpu::Library& library(const std::string& file);

  std::shared_ptr<gpu::Device> device_;
  std::map<std::string, std::unique_ptr<gpu::Library>> libraries_;
  std::map<std::pair<std::string, Constants>, std::unique_ptr<gpu::Pipeline>> pipelines_;
};

/// The system's GPU; throws an Error that says why there is none to compute on.
std::unique_ptr<gpu::Device> open_usable_device();

/// What the sample kernel wants to know of a sampling; `position` is that of the token being chosen.
gpu::SampleParams sample_params(const Sampling& sampling, int position);

}  // namespace hearth::metal
