#include "kv_blocks.h"

#include <cstring>

#include "error.h"
#include "mapped_file.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace hearth {

namespace {
size_t element_bytes(CacheType type) { return type == CacheType::q8_0 ? 1 : type == CacheType::f16 ? 2 : 4; }

/// Bytes of the scales that one head's keys, or values, of one position have.
size_t scale_bytes(int head_length, CacheType type) {
  return type == CacheType::q8_0 ? static_cast<size_t>(KvBlocks::scale_groups(head_length)) * 2 : 0;
}

/// Bytes of one head's keys, or values, of one position.
size_t position_bytes(int head_length, CacheType type) {
  return static_cast<size_t>(head_length) * element_bytes(type) + scale_bytes(head_length, type);
}
}  // namespace

size_t KvBlocks::block_bytes(const Config& config, CacheType type) {
  return static_cast<size_t>(config.layers) * static_cast<size_t>(config.heads_kv) * 2 * kCacheBlock *
         position_bytes(config.head_length, type);
}

KvBlocks::KvBlocks(const Config& config, int blocks, CacheType type)
    : layers_(config.layers),
      heads_(config.heads_kv),
      head_length_(config.head_length),
      blocks_(blocks),
      type_(type),
      element_(element_bytes(type)) {
  head_bytes_ = kCacheBlock * position_bytes(head_length_, type);
  layer_bytes_ = 2 * head_bytes_ * static_cast<size_t>(heads_);
  bytes_ = block_bytes(config, type) * static_cast<size_t>(blocks);
#ifdef _WIN32
  void* memory = VirtualAlloc(nullptr, bytes_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
#else
  void* memory = reserve_aligned(bytes_);
  if (memory && mprotect(memory, bytes_, PROT_READ | PROT_WRITE) != 0) {
    free_aligned(memory, bytes_);
    memory = nullptr;
  }
#endif
  if (!memory) fail("no memory for a KV cache of %zu MB; choose a smaller context", bytes_ >> 20);
  base_ = static_cast<uint8_t*>(memory);
}

KvBlocks::~KvBlocks() {
#ifdef _WIN32
  VirtualFree(base_, 0, MEM_RELEASE);
#else
  free_aligned(base_, bytes_);
#endif
}

void KvBlocks::copy_block(int from, int to, int tokens) {
  if (companion_) companion_->copy_block(from, to, tokens);
  const size_t run = static_cast<size_t>(tokens) * element_,
               elements = kCacheBlock * static_cast<size_t>(head_length_) * element_;
  const size_t scales = scale_bytes(head_length_, type_);
  for (int layer = 0; layer < layers_; layer++)
    for (int head = 0; head < heads_; head++) {
      // Keys are transposed: each of the D rows holds `tokens` positions to copy.
      const uint8_t* key = keys(layer, from, head);
      uint8_t* key_to = keys(layer, to, head);
      for (int d = 0; d < head_length_; d++) {
        size_t row = static_cast<size_t>(d) * kCacheBlock * element_;
        std::memcpy(key_to + row, key + row, run);
      }
      for (size_t row = elements; row < elements + scales * kCacheBlock; row += 2 * kCacheBlock)
        std::memcpy(key_to + row, key + row, static_cast<size_t>(tokens) * 2);
      const uint8_t* value = values(layer, from, head);
      uint8_t* value_to = values(layer, to, head);
      std::memcpy(value_to, value, run * static_cast<size_t>(head_length_));
      std::memcpy(value_to + elements, value + elements, static_cast<size_t>(tokens) * scales);
    }
}

}  // namespace hearth
