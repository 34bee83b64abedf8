// Metal's part of the self-test.
#pragma once

#include "../core/self_test.h"

namespace hearth::metal {

/// Tests all Metal kernels. Throws Error where Metal cannot be used, or the GPU fails.
void self_test(const SelfTestOptions& options);

}  // namespace hearth::metal
