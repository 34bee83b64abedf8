#include "devices.h"

#include "error.h"

namespace hearth {

std::string ids_of(const Devices& devices) {
  std::string ids;
  for (const Device* device : devices)
    ids += std::string(ids.empty() ? "" : device == devices.back() ? " or " : ", ") + device->id;
  return ids;
}

const Device* find_device(const Devices& devices, std::string_view id) {
  for (const Device* device : devices)
    if (id == device->id) return device;
  return nullptr;
}

OpenedBackend open_backend(const Devices& devices, const std::string& wanted, const Model& model, ThreadPool& pool,
                           const BackendOptions& options) {
  const bool any = wanted == "auto", any_kernels = options.kernels == "auto";
  if (!any && !find_device(devices, wanted))
    fail("the backend must be auto, %s, not \"%s\"", ids_of(devices).c_str(), printable(wanted).c_str());
  std::string note;
  for (const Device* device : devices) {
    if (device->kind != DeviceKind::gpu) continue;
    const bool asked = wanted == device->id;
    if (!asked && !(any && any_kernels && device->on_this_system())) continue;
    try {
      if (!any_kernels) fail("the kernels \"%s\" are the CPU's", printable(options.kernels).c_str());
      return {device, device->open(model, pool, options, asked), ""};
    } catch (const Error& error) {
      note += std::string(note.empty() ? "the CPU computes, not " : "; not ") + device->name + ": " + error.what();
    }
  }
  const Device* cpu = devices.back();
  return {cpu, cpu->open(model, pool, options, wanted == cpu->id), note};
}

}  // namespace hearth
