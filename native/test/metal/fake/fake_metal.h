// The settings of the fake Metal, and what it counted. The fake Metal is linked in place of
// native/metal/device/objc_runtime.cpp. With it the real host code runs on Linux, on kernels that are linked into the
// program. The fake is stricter than Metal. Types that differ from the headers', unbound buffers, wrong offsets,
// messages to freed objects, buffers freed in flight and the like end the process, with a message that begins "fake
// Metal:".
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "../emulator/executor.h"

namespace hearth::fake {

struct Settings {
  msl::LaneOrder order = msl::LaneOrder::natural;
  uint32_t seed = 1;
  uint32_t max_threads = 1024;  ///< the most threads of any pipeline
  size_t max_buffer_bytes = size_t{1} << 36;
  size_t page_bytes;  ///< no-copy memory must be aligned to it; by default the system's pages
  int apple_family = 8;
  bool device = true;                            ///< false where the system has no GPU
  bool residency_sets = true, math_mode = true;  ///< false as on macOS 13
  std::string compile_error;                     ///< if any, the Metal compiler rejects every text with this
  int failing_command_buffer = -1;               ///< the command buffer with this number, from 0, fails
  double gpu_seconds = 0;                        ///< what each command buffer says it took; 0 for the real time
  std::set<std::string> wrong;                   ///< in the place of these kernels, wrong_… of seeded/wrong.metal run
};
/// The settings. The first call reads them from HEARTH_FAKE_METAL, a comma-separated list of
/// order=natural|reverse|random, seed=, max-threads=, max-buffer=, page=, family=, device=0, residency-sets=0,
/// math-mode=0, compile-error=, failing-command-buffer=, gpu-seconds=, wrong= (may be repeated).
Settings& settings();

struct Counts {
  uint64_t command_buffers = 0, dispatches = 0, barriers = 0, threads = 0;
};
Counts& counts();

/// How many objects are not released yet.
size_t live_objects();

}  // namespace hearth::fake
