// The devices of this build: where a new backend is added.
#pragma once

#include "../core/devices.h"

namespace hearth {

const Devices& devices();

}  // namespace hearth
