#include "devices.h"

#include "../cpu/cpu_device.h"
#include "../metal/metal_device.h"

namespace hearth {

const Devices& devices() {
  static const Devices all = {&metal::device(), &cpu::device()};
  return all;
}

}  // namespace hearth
