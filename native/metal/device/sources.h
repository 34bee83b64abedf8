// The kernels' texts, which are embedded in the addon. The build generates them from native/metal/*.metal
// (native/metal-sources.mjs).
#pragma once

#include <cstddef>

namespace hearth::gpu {

struct Source {
  const char* name;  ///< name of the .metal file
  const char* text;  ///< ends with a zero byte
  size_t bytes;
};
extern const Source* const sources;
extern const int source_count;

}  // namespace hearth::gpu
