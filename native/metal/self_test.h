// The self-test of the Metal kernels.
#pragma once

#include "../core/self_test.h"

namespace hearth::metal {

/// Tests all Metal kernels and reports each check. Throws Error where Metal cannot be used.
void self_test(const SelfTestOptions& options);

}  // namespace hearth::metal
