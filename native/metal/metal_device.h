// The Apple GPU as a device of the core. It is compiled everywhere; where the system has no Metal it says so.
#pragma once

#include "../core/devices.h"

namespace hearth::metal {

const Device& device();

}  // namespace hearth::metal
