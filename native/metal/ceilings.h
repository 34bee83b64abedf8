// Measures the GPU's ceilings. A benchmark's report gives its speeds as shares of them.
#pragma once

#include "../core/backend.h"
#include "device/gpu.h"
#include "kernels.h"

namespace hearth::metal {

/// Measures two speeds, each as the median of several rounds of the GPU's own time. The first is reading `memory` (its
/// first 512 MB at most) through its buffer, as the kernels read weights. The second is float multiply-adds, which the
/// kernels compute with. All of it takes well below a second. Throws Error where the GPU fails.
Ceilings measure_ceilings(gpu::Device& device, KernelSet& kernels, gpu::View memory);

}  // namespace hearth::metal
