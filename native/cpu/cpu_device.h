// The CPU as a device of the core.
#pragma once

#include "../core/devices.h"

namespace hearth::cpu {

const Device& device();

}  // namespace hearth::cpu
