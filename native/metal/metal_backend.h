// The Metal backend: models on an Apple GPU, behind the operations of core/backend.h.
#pragma once

#include <memory>

#include "../core/devices.h"

namespace hearth::metal {

/// Compiles the kernels, maps the weights for the GPU and returns the backend. With `options.matrix_units` it also
/// compiles those kernels that are faster but do not give a row the same bits in steps of any size. `model` must
/// outlive the backend. Throws an Error that says which where there is no usable GPU, the kernels do not compile, the
/// model has something that they do not know, or the model is larger than what the GPU may hold and the user has not
/// `asked` for the GPU.
std::unique_ptr<Backend> open(const Model& model, ThreadPool& pool, const BackendOptions& options, bool asked);

}  // namespace hearth::metal
