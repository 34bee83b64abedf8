// The memory of a KV cache: keys and values of every layer in blocks of kCacheBlock positions. A sequence is a list of
// block numbers. Which sequence owns which block is decided in JavaScript (engine/runtime/kv-cache.ts).
//
// A block of one layer holds the keys of each of the K heads and then the values of each head.
//   F16, F32: keys [D][kCacheBlock], transposed so that each lane has a key of its own; values [kCacheBlock][D].
//   Q8_0: int8 in the same order. 32 dimensions of a position share an F16 scale. The scales follow a head's keys as
//   [ceil(D/32)][kCacheBlock] and its values as [kCacheBlock][ceil(D/32)].
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "model.h"

namespace hearth {

constexpr int kCacheBlock = 32;

enum class CacheType { f16, f32, q8_0 };

class KvBlocks {
 public:
  /// Reserves `blocks` blocks. A block takes memory once it is written. Throws Error where the memory cannot be had.
  KvBlocks(const Config& config, int blocks, CacheType type);
  virtual ~KvBlocks();
  KvBlocks(const KvBlocks&) = delete;
  KvBlocks& operator=(const KvBlocks&) = delete;

  static size_t block_bytes(const Config& config, CacheType type);

  int blocks() const { return blocks_; }
  CacheType type() const { return type_; }
  size_t bytes() const { return bytes_ + (companion_ ? companion_->bytes() : 0); }
  int layers() const { return layers_; }
  /// The memory of all layers, layer_bytes() each. It begins at a multiple of kMapAlignment, except on Windows.
  uint8_t* memory() const { return base_; }
  size_t layer_bytes() const { return layer_bytes_ * static_cast<size_t>(blocks_); }

  /// Where one KV head's keys or values begin in a block of a layer.
  uint8_t* keys(int layer, int block, int head) const {
    return base_ +
           (static_cast<size_t>(layer) * static_cast<size_t>(blocks_) + static_cast<size_t>(block)) * layer_bytes_ +
           static_cast<size_t>(head) * head_bytes_;
  }
  uint8_t* values(int layer, int block, int head) const { return keys(layer, block, head) + layer_bytes_ / 2; }

  /// The blocks of a draft head, which have the same numbers and the same fate. nullptr: there is no head.
  KvBlocks* companion() const { return companion_.get(); }
  void set_companion(std::shared_ptr<KvBlocks> companion) { companion_ = std::move(companion); }

  /// Copies the first `tokens` positions of a block into another, in all layers and in the companion.
  void copy_block(int from, int to, int tokens);

  /// How many dimensions share a scale in a Q8_0 cache.
  static constexpr int kScaled = 32;
  /// How many scales a head has for one position in a Q8_0 cache.
  static constexpr int scale_groups(int head_length) { return (head_length + kScaled - 1) / kScaled; }

 private:
  int layers_, heads_, head_length_, blocks_;
  CacheType type_;
  size_t element_, head_bytes_, layer_bytes_, bytes_;
  uint8_t* base_ = nullptr;
  std::shared_ptr<KvBlocks> companion_;
};

}  // namespace hearth
