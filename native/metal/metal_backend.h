// The Metal backend: models on an Apple GPU, behind the operations of core/backend.h. Compiled everywhere; where the system has no
// Metal it says so.
#pragma once

#include <memory>
#include <string>

#include "../core/backend.h"

namespace hearth::metal {

/// Whether this system has Metal at all, with a usable GPU or not.
bool on_this_system();

/// The GPU as Metal names it, or why it cannot be used (one of the two is empty). Compiles no kernels.
struct Probe {
  std::string device, reason;
};
Probe probe();

/// Compiles the kernels (with `matrix_units` those too that give up the determinism of batch sizes for speed), maps the weights for the GPU and returns the backend. `model` must outlive it. Throws Error where there is
/// no usable device, the kernels do not compile, the model has something the kernels do not know, or (unless `whatever_the_size`)
/// is larger than what the GPU may hold, saying which.
std::unique_ptr<Backend> make_backend(const Model& model, RopeMode rope, bool matrix_units, bool whatever_the_size);

}  // namespace hearth::metal
