// The CPU's part of the self-test.
#pragma once

#include "../core/self_test.h"

namespace hearth::cpu {

/// Tests every kernel set that this CPU can run: each against double precision, and all but portable for the same bits as portable.
void self_test(const SelfTestOptions& options);

}  // namespace hearth::cpu
