// The devices that can compute a model: the CPU and GPUs. Each backend (native/cpu/, native/metal/) describes its
// device as a `Device`. The addon hands the list of them to the core, which therefore includes no backend.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend.h"
#include "model.h"
#include "self_test.h"
#include "thread_pool.h"

namespace hearth {

/// How a backend is to compute.
struct BackendOptions {
  RopeMode rope = RopeMode::reference;
  std::string kernels = "auto";  ///< a set of the CPU's kernels; "auto": the best set that this CPU has
  bool matrix_units = false;  ///< a GPU computes long steps on its matrix units; last bits then depend on a step's size
};

enum class DeviceKind { cpu, gpu };

/// What a look at the device found.
struct DeviceProbe {
  std::string hardware;  ///< the GPU as its driver names it; empty: it has no name of its own
  std::string reason;    ///< why the device cannot be used; empty: it can
};

/// A device as its backend describes it.
struct Device {
  const char* id;    ///< names the device in options, settings and reports: "cpu", "metal"
  const char* name;  ///< names the device in messages: "CPU", "Metal"
  DeviceKind kind;
  /// Whether the system has such devices at all. Where it has none, nobody expects the device, and `auto` passes over
  /// it in silence.
  bool (*on_this_system)();
  /// Quick: it compiles nothing.
  DeviceProbe (*probe)();
  /// Opens a model, which must outlive the backend, as the pool must. `asked`: the user asked for this device, so it
  /// takes even a model that is too large to be fast on it. Throws an Error that says why it cannot.
  std::unique_ptr<Backend> (*open)(const Model& model, ThreadPool& pool, const BackendOptions& options, bool asked);
  /// Runs every kernel of the device against plain loops. Throws Error where the device cannot be used, or fails.
  void (*self_test)(const SelfTestOptions& options);
};

/// The devices of a build in the order in which `auto` tries them. The CPU, of which there is one, is the last.
using Devices = std::vector<const Device*>;

/// The ids for a message: "metal or cpu".
std::string ids_of(const Devices& devices);
/// nullptr: no device has the id.
const Device* find_device(const Devices& devices, std::string_view id);

/// A model's backend and the device that it computes on. `note` says why that device is not the GPU that was asked for
/// or could be expected; else it is empty.
struct OpenedBackend {
  const Device* device;
  std::unique_ptr<Backend> backend;
  std::string note;
};

/// Opens a model on the device `wanted`. "auto" is the first GPU of this system that takes the model, unless a set of
/// the CPU's kernels is asked for. The CPU takes what no GPU does, with a note where one was expected to. Throws Error
/// where no device has the id, or the CPU cannot compute either.
OpenedBackend open_backend(const Devices& devices, const std::string& wanted, const Model& model, ThreadPool& pool,
                           const BackendOptions& options);

}  // namespace hearth
