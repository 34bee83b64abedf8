// The list of the devices of this build. A new backend is added here.
#pragma once

#include "../core/devices.h"

namespace hearth {

const Devices& devices();

}  // namespace hearth
