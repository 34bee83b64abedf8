#include "cpu_device.h"

#include "../core/error.h"
#include "cpu_backend.h"
#include "kernels.h"
#include "reference_backend.h"
#include "self_test.h"

namespace hearth::cpu {

namespace {

std::unique_ptr<Backend> open(const Model& model, ThreadPool& pool, const BackendOptions& options, bool /*asked*/) {
  if (options.kernels == "reference") return make_reference_backend(model, pool, options.rope);
  const Kernels* kernels = options.kernels == "auto" ? available_kernels()[0] : find_kernels(options.kernels.c_str());
  if (!kernels) {
    std::string names = "reference";
    for (auto* set = available_kernels(); *set; set++) names += std::string(", ") + (*set)->name;
    fail("the kernels \"%s\" are unknown or not for this CPU; it has: %s", options.kernels.c_str(), names.c_str());
  }
  return make_cpu_backend(model, pool, options.rope, *kernels);
}

}  // namespace

const Device& device() {
  static constexpr Device cpu = {.id = "cpu",
                                 .name = "CPU",
                                 .kind = DeviceKind::cpu,
                                 .on_this_system = [] { return true; },
                                 .probe = [] { return DeviceProbe{}; },
                                 .open = open,
                                 .self_test = self_test};
  return cpu;
}

}  // namespace hearth::cpu
