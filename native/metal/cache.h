// The heads of a row on their way into the KV cache: which matrix a head belongs to, the pairs that RoPE turns, and
// where an element lies.
#pragma once
#include "common.h"

/// A head of q, k or v. head_of() finds it by its number when the heads are counted through q, k and v.
struct Head {
  uint matrix;  ///< 0 q, 1 k, 2 v
  uint index;
};
static inline Head head_of(uint counted, uint heads, uint heads_kv) {
  Head head;
  head.matrix = counted < heads ? 0u : counted < heads + heads_kv ? 1u : 2u;
  head.index = counted - (head.matrix == 0u ? 0u : head.matrix == 1u ? heads : heads + heads_kv);
  return head;
}

/// The element of a head that is the first (`which` = 0) or second (1) of a pair that RoPE turns.
static inline uint element_of_pair(uint pair, uint which, uint pairs) {
  return fc_interleaved ? 2u * pair + which : pair + which * pairs;
}

/// A pair turned by (cos, sin).
static inline float2 turned(float2 pair, float2 turn) {
  return float2(fma(pair.x, turn.x, -pair.y * turn.y), fma(pair.y, turn.x, pair.x * turn.y));
}

/// The keys, or values, of a head in the block that a row's position lies in.
static inline device uchar* head_of_block(device uchar* cache, constant CacheInfo& layout, RowInfo row,
                                          device const uint* block_tables, Head head) {
  return cache + ulong(block_tables[row.table + row.position / kPositionsPerBlock]) * layout.block_bytes +
         head.index * layout.head_bytes + (head.matrix == 2u ? layout.block_bytes / 2u : 0u);
}

/// The largest F16 is 65504. An infinity in the cache would turn whole rows into NaN.
static inline float within_half(float value) { return clamp(value, -65504.0f, 65504.0f); }

/// The place of element d of position `slot` in a block. Keys lie transposed.
static inline uint element_at(Head head, uint d, uint slot, uint length) {
  return head.matrix == 1u ? d * kPositionsPerBlock + slot : slot * length + d;
}

/// What a Q8_0 cache keeps of 32 values of a head's position: an int8 for each lane's value, and their scale, as the
/// CPU's quantize_row makes them.
constant constexpr float kLeastScale = 9.094947017729282e-13f, kLargestScale = 1152921504606846976.0f;  // 2^-40, 2^60
static inline char quantised(float value, thread float& scale) {
  scale = min(max(simd_max(abs(value)) / 127.0f, kLeastScale), kLargestScale);
  return char(rint(min(max(value * (1.0f / scale), -127.0f), 127.0f)));
}

static inline void store_half(float value, device uchar* block, Head head, uint d, uint slot, uint length) {
  ((device half*)block)[element_at(head, d, slot, length)] = half(within_half(value));
}
