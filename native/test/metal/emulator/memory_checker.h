// The calls by which the executor informs the memory checker (memory_checker.cpp). They do nothing where the checker is
// not built in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "registry.h"

namespace msl::checker {

enum BarrierFlags : uint32_t { kDevice = 1, kThreadgroup = 2 };

#ifdef MSL_MEMORY_CHECKER
/// Names memory of the executor that kernels may touch freely, such as stacks.
void ignore(void* data, size_t bytes);
void dispatch_begin(const KernelInfo&, const Arguments&, bool concurrent_with_previous);
/// Returns the first report of the dispatch, or "" where there was none.
std::string dispatch_end();
void threadgroup_begin(void* memory, size_t bytes);
void threadgroup_region(void* data, size_t bytes, const char* name);
void threadgroup_barrier(uint32_t flags);
void simdgroup_barrier(uint32_t thread, uint32_t flags);
#else
inline void ignore(void*, size_t) {}
inline void dispatch_begin(const KernelInfo&, const Arguments&, bool) {}
inline std::string dispatch_end() { return ""; }
inline void threadgroup_begin(void*, size_t) {}
inline void threadgroup_region(void*, size_t, const char*) {}
inline void threadgroup_barrier(uint32_t) {}
inline void simdgroup_barrier(uint32_t, uint32_t) {}
#endif

}  // namespace msl::checker
