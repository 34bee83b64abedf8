// The KV cache: keys and values of every layer in blocks of kCacheBlock positions. Which sequence owns which block is the
// caller's business; a sequence is a list of block numbers.
//
// Block layout, one layer: the keys of each of the K heads, then the values of each head.
//   F16, F32: keys [D][kCacheBlock] (transposed: a lane a key), values [kCacheBlock][D].
//   Q8_0: int8 in the same order, each times a scale that it shares with the other dimensions of its 32 of the same position;
//   F16 scales follow a head's keys as [ceil(D/32)][kCacheBlock], its values as [kCacheBlock][ceil(D/32)].
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "model.h"

namespace hearth {

constexpr int kCacheBlock = 32;

enum class CacheType { f16, f32, q8_0 };

class KvCache {
 public:
  /// Reserves `blocks` blocks; memory is used as blocks are first written. Throws Error where it cannot be had.
  KvCache(const Config& config, int blocks, CacheType type);
  virtual ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  static size_t block_bytes(const Config& config, CacheType type);

  int blocks() const { return blocks_; }
  CacheType type() const { return type_; }
  size_t bytes() const { return bytes_ + (companion_ ? companion_->bytes() : 0); }
  int layers() const { return layers_; }
  /// All layers' memory, `bytes()` long, at a multiple of kMapAlignment (but on Windows); a layer takes layer_bytes() of it.
  uint8_t* memory() const { return base_; }
  size_t layer_bytes() const { return layer_bytes_ * static_cast<size_t>(blocks_); }

  /// Start of one KV head's keys or values in a block of a layer.
  uint8_t* keys(int layer, int block, int head) const {
    return base_ +
           (static_cast<size_t>(layer) * static_cast<size_t>(blocks_) + static_cast<size_t>(block)) * layer_bytes_ +
           static_cast<size_t>(head) * head_bytes_;
  }
  uint8_t* values(int layer, int block, int head) const { return keys(layer, block, head) + layer_bytes_ / 2; }

  /// A cache of another model whose blocks have the same numbers and fate: a draft head's. nullptr: none.
  KvCache* companion() const { return companion_.get(); }
  void set_companion(std::shared_ptr<KvCache> companion) { companion_ = std::move(companion); }

  /// Copies the first `tokens` positions of a block into another, all layers, the companion's too.
  void copy_block(int from, int to, int tokens);

  /// Dimensions that share a scale in a Q8_0 cache.
  static constexpr int kScaled = 32;
  /// Scales of one head's position in a Q8_0 cache.
  static constexpr int scale_groups(int head_length) { return (head_length + kScaled - 1) / kScaled; }

 private:
  int layers_, heads_, head_length_, blocks_;
  CacheType type_;
  size_t element_, head_bytes_, layer_bytes_, bytes_;
  uint8_t* base_ = nullptr;
  std::shared_ptr<KvCache> companion_;
};

}  // namespace hearth
