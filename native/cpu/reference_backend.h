// The reference backend, the oracle that tests compare the others with. It runs the forward pass in plain loops, with
// F32 weights and activations and sums in double. It stays slow on purpose, so that it stays simple to read.
#pragma once

#include <memory>

#include "../core/backend.h"
#include "../core/rope.h"
#include "../core/thread_pool.h"

namespace hearth {

std::unique_ptr<Backend> make_reference_backend(const Model& model, ThreadPool& pool, RopeMode rope);

}  // namespace hearth
