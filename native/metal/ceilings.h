// The GPU's own ceilings, for the shares in a benchmark's report.
#pragma once

#include "../core/backend.h"
#include "device/gpu.h"
#include "kernels.h"

namespace hearth::metal {

/// Median of several rounds of the GPU's own time, well below a second in all: reading `memory`, the first 512 MB at most, through its
/// buffer as the kernels read weights; and float multiply-adds, which are what they compute with. Throws Error where the GPU fails.
Ceilings measure_ceilings(gpu::Device& device, KernelSet& kernels, gpu::View memory);

}  // namespace hearth::metal
