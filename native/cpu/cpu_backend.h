// The CPU backend: it runs the operations of a step with a kernel set and the thread pool.
#pragma once

#include <memory>

#include "../core/backend.h"
#include "../core/rope.h"
#include "../core/thread_pool.h"
#include "kernels.h"

namespace hearth {

std::unique_ptr<Backend> make_cpu_backend(const Model& model, ThreadPool& pool, RopeMode rope,
                                          const cpu::Kernels& kernels);

}  // namespace hearth
