// The CPU's part of the self-test.
#pragma once

#include "../core/self_test.h"

namespace hearth::cpu {

/// Tests every kernel set that this CPU can run. Each is compared with double precision, and all but portable must also
/// give portable's bits (but for packed products, as portable packs none).
void self_test(const SelfTestOptions& options);

}  // namespace hearth::cpu
