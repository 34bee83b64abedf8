// The CPU as one of the core's devices.
#pragma once

#include "../core/devices.h"

namespace hearth::cpu {

const Device& device();

}  // namespace hearth::cpu
