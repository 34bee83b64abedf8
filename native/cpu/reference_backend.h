// The oracle: gpt-oss in plain loops, F32 weights and activations, sums in double. Slow on purpose, kept for good.
#pragma once

#include <memory>

#include "../core/backend.h"
#include "../core/rope.h"
#include "../core/thread_pool.h"

namespace hearth {

std::unique_ptr<Backend> make_reference_backend(const Model& model, ThreadPool& pool, RopeMode rope);

}  // namespace hearth
