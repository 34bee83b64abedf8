// The kernels' text, embedded in the addon: generated from native/metal/*.metal at build time (native/metal-sources.mjs).
#pragma once

#include <cstddef>

namespace hearth::gpu {

struct Source {
  const char* name;  ///< the .metal file's
  const char* text;  ///< ends with a zero byte
  size_t bytes;
};
extern const Source* const sources;
extern const int source_count;

}  // namespace hearth::gpu
