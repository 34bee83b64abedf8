// Splits mapped memory into buffers that are no longer than the device allows.
#include <algorithm>

#include "../../core/error.h"
#include "gpu.h"

namespace hearth::gpu {

MappedMemory::MappedMemory(Device& device, const void* data, size_t bytes, size_t longest_span) {
  const size_t page = device.page_bytes();
  const auto down = [page](uintptr_t address) { return address / page * page; };
  const auto up = [page](uintptr_t address) { return (address + page - 1) / page * page; };
  const uintptr_t first = down(reinterpret_cast<uintptr_t>(data)), end = up(reinterpret_cast<uintptr_t>(data) + bytes);
  const size_t longest = down(device.info().max_buffer_bytes);
  const size_t overlap = up(longest_span);
  if (end - first > longest && longest <= overlap)
    fail("the GPU's buffers of %zu MB are too short for a tensor of %zu MB", longest >> 20, longest_span >> 20);
  for (uintptr_t begin = first; begin < end; begin += longest - overlap) {
    const size_t length = std::min<size_t>(longest, end - begin);
    parts_.push_back({begin, device.wrap(reinterpret_cast<const void*>(begin), length)});
    if (begin + length == end) break;
  }
}

View MappedMemory::view(const void* data, size_t bytes) const {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  for (const auto& part : parts_)
    if (begin >= part.begin && begin + bytes <= part.begin + part.buffer->bytes())
      return {part.buffer.get(), begin - part.begin, bytes};
  fail("memory of %zu bytes is not mapped for the GPU", bytes);
}

std::vector<const Buffer*> MappedMemory::buffers() const {
  std::vector<const Buffer*> all;
  for (const auto& part : parts_) all.push_back(part.buffer.get());
  return all;
}

}  // namespace hearth::gpu
