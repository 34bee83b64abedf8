#include "metal_device.h"

#include "../core/error.h"
#include "device/objc_runtime.h"
#include "kernels.h"
#include "metal_backend.h"
#include "self_test.h"

namespace hearth::metal {

namespace {

/// Whether the system has Metal at all, with a usable GPU or without one.
bool on_this_system() { return objc::runtime().message_send != nullptr; }

DeviceProbe probe() {
  try {
    return {open_usable_device()->info().name, ""};
  } catch (const Error& error) { return {"", error.what()}; }
}

}  // namespace

const Device& device() {
  static constexpr Device metal = {.id = "metal",
                                   .name = "Metal",
                                   .kind = DeviceKind::gpu,
                                   .on_this_system = on_this_system,
                                   .probe = probe,
                                   .open = open,
                                   .self_test = self_test};
  return metal;
}

}  // namespace hearth::metal
