// Attention over a paged KV cache, with sliding window and sinks. K and V of a position are read once for the (up to 8)
// query heads that share them. A simdgroup works on one row. Each lane computes the scores of one key, and then a pair
// of dimensions of the output.
//
// The order of the arithmetic is fixed by position (kernel_args.h), so that splitting the keys over threadgroups
// (attention and attention_merge, for few rows) and walking them in one (attention_rows, for prefill) give the same
// bits.
#include <metal_simdgroup_matrix>

#include "common.h"

/// How many query heads a simdgroup works on together, and how many pairs of dimensions a lane holds at most.
constant constexpr uint kHeads = 8, kPairs = kMaxHeadLength / 64;

/// The softmax state of up to 8 heads: the running maximum, this lane's part of the sum, and this lane's dimensions
/// 2·lane + 64·t and 2·lane + 64·t + 1 of the output.
struct Heads {
  float largest[kHeads];
  float sum[kHeads];
  float2 out[kHeads][kPairs];
};

static inline void clear(thread Heads& state, uint heads, uint pairs) {
  for (uint g = 0; g < heads; g++) {
    state.largest[g] = -MAXFLOAT;
    state.sum[g] = 0.0f;
    for (uint t = 0; t < pairs; t++) state.out[g][t] = float2(0.0f);
  }
}

/// A head's keys and values in a block of the cache. They are F16, or int8 times a scale, whose product is exact in
/// float.
template <typename H, typename H2, typename C, typename C2> struct Block {
  H keys;
  H2 values;
  C key_codes;
  C2 value_codes;
  H key_scales, value_scales;
};
typedef Block<device const half*, device const half2*, device const char*, device const char2*> DeviceBlock;
typedef Block<threadgroup const half*, threadgroup const half2*, threadgroup const char*, threadgroup const char2*>
    SharedBlock;

/// Dimensions d .. d + 3 of the lane's key.
template <typename B> static float4 key_of(thread const B& block, uint d, uint lane) {
  const uint at = d * 32u + lane;
  if (!fc_q8_cache) return float4(block.keys[at], block.keys[at + 32u], block.keys[at + 64u], block.keys[at + 96u]);
  return float4(block.key_codes[at], block.key_codes[at + 32u], block.key_codes[at + 64u], block.key_codes[at + 96u]) *
         float(block.key_scales[d / 32u * 32u + lane]);
}
/// Dimensions d and d + 1 of value j.
template <typename B> static float2 value_of(thread const B& block, uint d, uint j, uint length) {
  const uint at = (j * length + d) / 2u;
  if (!fc_q8_cache) return float2(block.values[at]);
  return float2(block.value_codes[at]) * float(block.value_scales[j * ((length + 31u) / 32u) + d / 32u]);
}

/// Adds one block of 32 keys, of which `first` .. `last` are visible, to the state. Scores are FMA chains over the
/// dimensions. Then the maximum grows, and values are added by an FMA chain over the keys. Hidden keys and values may
/// hold anything. `shared` is the simdgroup's own memory, 32 × 8 floats.
template <typename Q, typename B>
static void attend(thread Heads& state, Q q, thread const B& block, uint heads, uint length, uint first, uint last,
                   float scale, threadgroup float* shared, uint lane) {
  const bool visible = lane >= first && lane <= last;
  float score[kHeads];
  for (uint g = 0; g < heads; g++) score[g] = 0.0f;
  for (uint d = 0; d < length; d += 4u) {
    const float4 k = key_of(block, d, lane);
    for (uint g = 0; g < heads; g++) {
      const float4 v = q[(g * length + d) / 4u];
      score[g] = fma(v.w, k.w, fma(v.z, k.z, fma(v.y, k.y, fma(v.x, k.x, score[g]))));
    }
  }
  float shrink[kHeads];
  for (uint g = 0; g < heads; g++) {
    const float s = visible ? score[g] * scale : -MAXFLOAT;
    const float largest = max(state.largest[g], simd_max(s));
    shrink[g] = exponential(state.largest[g] - largest);
    const float p = visible ? exponential(s - largest) : 0.0f;
    state.largest[g] = largest;
    state.sum[g] = fma(state.sum[g], shrink[g], p);
    shared[lane * kHeads + g] = p;
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  for (uint t = 0; t * 64u < length; t++) {
    const uint d = t * 64u + lane * 2u;
    if (d >= length) break;
    for (uint g = 0; g < heads; g++) state.out[g][t] *= shrink[g];
    for (uint j = first; j <= last; j++) {
      const float2 v = value_of(block, d, j, length);
      for (uint g = 0; g < heads; g++) state.out[g][t] = fma(float2(shared[j * kHeads + g]), v, state.out[g][t]);
    }
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}

/// Gives the visible keys of a block as lanes first .. last. Returns false where there are none.
static inline bool visible_keys(uint block, uint position, uint window, thread uint& first, thread uint& last) {
  const uint begin = block * kPositionsPerBlock,
             least = window != 0u && position >= window ? position - window + 1u : 0u;
  if (position < begin || least >= begin + kPositionsPerBlock) return false;
  first = least > begin ? least - begin : 0u;
  last = min(position - begin, kPositionsPerBlock - 1u);
  return true;
}

/// Adds a chunk's maximum m and sum l to a state that begins with the sink. Returns the factors of the state's output
/// and of the chunk's output.
static inline float2 merge(thread float& largest, thread float& sum, float m, float l) {
  const float top = max(largest, m);
  const float2 share = float2(exponential(largest - top), exponential(m - top));
  largest = top;
  sum = fma(sum, share.x, l * share.y);
  return share;
}

/// Adds up a chunk's sums over the lanes. Every lane gets the sums of all heads.
static inline void sum_lanes(thread Heads& state, uint heads, thread float* sums, uint lane) {
  float parts[kHeads];
  for (uint g = 0; g < kHeads; g++) parts[g] = g < heads ? state.sum[g] : 0.0f;
  const float own = lane_sum<int(kHeads)>(parts, lane);
  for (uint g = 0; g < heads; g++) sums[g] = simd_shuffle(own, ushort(g * (32u / kHeads)));
}

static inline uint group_of(uint heads, uint heads_kv) {
  return is_function_constant_defined(fc_group) ? fc_group : heads / heads_kv;
}

kernel void attention(constant AttentionArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                      device const uchar* cache [[buffer(2)]], device const RowInfo* info [[buffer(3)]],
                      device const uint* block_tables [[buffer(4)]], device float* part_out [[buffer(5)]],
                      device float2* part_state [[buffer(6)]], device const uint* stop [[buffer(30)]],
                      uint3 group [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],
                      uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                      uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float4 shared_q[kHeads * kMaxHeadLength / 4];
  threadgroup float shared[4 * 32 * kHeads];
  if (*stop != 0u) return;
  const uint length = head_length_of(args.head_length), per_group = group_of(args.heads, args.heads_kv);
  const uint slices = (per_group + kHeads - 1u) / kHeads, head_kv = group.y / slices, slice = group.y % slices;
  const uint first_head = head_kv * per_group + slice * kHeads, heads = min(kHeads, per_group - slice * kHeads);
  const uint row = args.first_row + group.z, position = info[row].position, table = info[row].table;
  device const float4* own_q =
      (device const float4*)(q + ulong(row) * activation_stride(args.heads * length) + first_head * length);
  for (uint i = tid; i < heads * length / 4u; i += simdgroups * kSimdWidth) shared_q[i] = own_q[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const uint slot = group.x * simdgroups + simdgroup;
  if (slot >= chunk_slots(position, args.window)) return;
  const uint first_block = (first_chunk(position, args.window) + slot) * (kAttentionChunk / kPositionsPerBlock);
  const uint pairs = (length + 63u) / 64u;
  Heads state;
  clear(state, heads, pairs);
  for (uint b = first_block; b < first_block + kAttentionChunk / kPositionsPerBlock; b++) {
    uint first, last;
    if (!visible_keys(b, position, args.window, first, last)) continue;
    device const uchar* block =
        cache + ulong(block_tables[table + b]) * args.cache.block_bytes + head_kv * args.cache.head_bytes;
    device const uchar* values = block + args.cache.block_bytes / 2u;
    const DeviceBlock own = {(device const half*)block,
                             (device const half2*)values,
                             (device const char*)block,
                             (device const char2*)values,
                             (device const half*)(block + length * 32u),
                             (device const half*)(values + length * 32u)};
    attend(state, (threadgroup const float4*)shared_q, own, heads, length, first, last, args.scale,
           shared + simdgroup * 32u * kHeads, lane);
  }
  float sums[kHeads];
  sum_lanes(state, heads, sums, lane);
  const ulong at = (ulong(group.z) * args.slots + slot) * args.heads + first_head;
  for (uint g = 0; g < heads; g++) {
    for (uint t = 0; t < pairs; t++) {
      const uint d = t * 64u + lane * 2u;
      if (d < length) *(device float2*)(part_out + (at + g) * length + d) = state.out[g][t];
    }
    if (lane == g) part_state[at + g] = float2(state.largest[g], sums[g]);
  }
}

kernel void attention_merge(constant AttentionArgs& args [[buffer(0)]], device const float* part_out [[buffer(1)]],
                            device const float2* part_state [[buffer(2)]], device const RowInfo* info [[buffer(3)]],
                            device const float* sinks [[buffer(4)]], device float* a [[buffer(5)]],
                            device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                            uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                            uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  const uint head = group.x * simdgroups + simdgroup, length = head_length_of(args.head_length),
             pairs = (length + 63u) / 64u;
  if (head >= args.heads) return;
  const uint row = args.first_row + group.y, slots = chunk_slots(info[row].position, args.window);
  float largest = sinks[head], sum = 1.0f;
  float2 out[kPairs];
  for (uint t = 0; t < pairs; t++) out[t] = float2(0.0f);
  for (uint slot = 0; slot < slots; slot++) {
    const ulong at = (ulong(group.y) * args.slots + slot) * args.heads + head;
    const float2 part = part_state[at], share = merge(largest, sum, part.x, part.y);
    for (uint t = 0; t < pairs; t++) {
      const uint d = t * 64u + lane * 2u;
      if (d < length)
        out[t] = fma(out[t], float2(share.x), *(device const float2*)(part_out + at * length + d) * share.y);
    }
  }
  device float* to = a + ulong(row) * activation_stride(args.heads * length) + head * length;
  for (uint t = 0; t < pairs; t++) {
    const uint d = t * 64u + lane * 2u;
    if (d < length) *(device float2*)(to + d) = out[t] / sum;
  }
}

/// `Length` is the longest head that the kernel takes. It sizes the threadgroup's copy of a block.
template <uint Length>
[[max_total_threads_per_threadgroup(256)]]
kernel void attention_rows(constant AttentionArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                           device const uchar* cache [[buffer(2)]], device const RowInfo* info [[buffer(3)]],
                           device const uint* block_tables [[buffer(4)]], device const float* sinks [[buffer(5)]],
                           device float* a [[buffer(6)]], device const RowTile* tiles [[buffer(7)]],
                           device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                           uint tid [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 shared_keys[Length * 4];
  threadgroup uint4 shared_values[Length * 4];
  threadgroup float shared[kAttentionRowTile * 32 * kHeads];
  if (*stop != 0u) return;
  const uint length = head_length_of(args.head_length), per_group = group_of(args.heads, args.heads_kv),
             pairs = (length + 63u) / 64u;
  const uint slices = (per_group + kHeads - 1u) / kHeads, head_kv = group.y / slices, slice = group.y % slices;
  const uint first_head = head_kv * per_group + slice * kHeads, heads = min(kHeads, per_group - slice * kHeads);
  device const RowTile& tile = tiles[group.x];
  const uint first_row = tile.first_row, rows = tile.rows, first_position = info[first_row].position,
             table = info[first_row].table;
  const uint last_position = first_position + rows - 1u;
  const bool has_row = simdgroup < rows;
  const uint row = first_row + simdgroup, position = first_position + simdgroup,
             stride = activation_stride(args.heads * length);
  device const float4* own_q = (device const float4*)(q + ulong(row) * stride + first_head * length);

  float largest[kHeads], sum[kHeads];
  float2 out[kHeads][kPairs];
  for (uint g = 0; g < heads; g++) {
    largest[g] = sinks[first_head + g];
    sum[g] = 1.0f;
    for (uint t = 0; t < pairs; t++) out[g][t] = float2(0.0f);
  }
  for (uint chunk = first_chunk(first_position, args.window); chunk <= last_position / kAttentionChunk; chunk++) {
    Heads state;
    clear(state, heads, pairs);
    bool any_visible = false;
    const uint first_block = chunk * (kAttentionChunk / kPositionsPerBlock);
    for (uint b = first_block; b < first_block + kAttentionChunk / kPositionsPerBlock; b++) {
      // All threads of the tile read the same blocks, so all of them meet the barriers below.
      uint first, last;
      if (b * kPositionsPerBlock > last_position) break;
      if (args.window != 0u && (b + 1u) * kPositionsPerBlock + args.window <= first_position + 1u) continue;
      device const uchar* block =
          cache + ulong(block_tables[table + b]) * args.cache.block_bytes + head_kv * args.cache.head_bytes;
      device const uint4* keys = (device const uint4*)block;
      device const uint4* values = (device const uint4*)(block + args.cache.block_bytes / 2u);
      for (uint i = tid; i < (fc_q8_cache ? args.cache.head_bytes / 16u : length * 4u);
           i += kAttentionRowTile * kSimdWidth) {
        shared_keys[i] = keys[i];
        shared_values[i] = values[i];
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (has_row && visible_keys(b, position, args.window, first, last)) {
        any_visible = true;
        const SharedBlock own = {(threadgroup const half*)shared_keys,
                                 (threadgroup const half2*)shared_values,
                                 (threadgroup const char*)shared_keys,
                                 (threadgroup const char2*)shared_values,
                                 (threadgroup const half*)(shared_keys + length * 2u),
                                 (threadgroup const half*)(shared_values + length * 2u)};
        attend(state, own_q, own, heads, length, first, last, args.scale, shared + simdgroup * 32u * kHeads, lane);
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (!any_visible) continue;
    float sums[kHeads];
    sum_lanes(state, heads, sums, lane);
    for (uint g = 0; g < heads; g++) {
      const float2 share = merge(largest[g], sum[g], state.largest[g], sums[g]);
      for (uint t = 0; t < pairs; t++) out[g][t] = fma(out[g][t], float2(share.x), state.out[g][t] * share.y);
    }
  }
  if (!has_row) return;
  device float* to = a + ulong(row) * stride + first_head * length;
  for (uint g = 0; g < heads; g++)
    for (uint t = 0; t < pairs; t++) {
      const uint d = t * 64u + lane * 2u;
      if (d < length) *(device float2*)(to + g * length + d) = out[g][t] / sum[g];
    }
}

typedef decltype(attention_rows<64>) attention_rows_kernel;
template [[host_name("attention_rows_d64")]] kernel attention_rows_kernel attention_rows<64>;
template [[host_name("attention_rows_d128")]] kernel attention_rows_kernel attention_rows<128>;

/// attention_rows for groups of 8 heads, on simdgroup matrices. The rows of a matrix are the 8 heads of one position.
/// The hardware chooses the order of the sums.
template <uint Length>
[[max_total_threads_per_threadgroup(256)]]
kernel void attention_mm(constant AttentionArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                         device const uchar* cache [[buffer(2)]], device const RowInfo* info [[buffer(3)]],
                         device const uint* block_tables [[buffer(4)]], device const float* sinks [[buffer(5)]],
                         device float* a [[buffer(6)]], device const RowTile* tiles [[buffer(7)]],
                         device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                         uint tid [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 shared_keys[Length * 4];
  threadgroup uint4 shared_values[Length * 4];
  threadgroup float shared[kAttentionRowTile * 32 * kHeads];
  if (*stop != 0u) return;
  constexpr uint kBlocks = Length / 8;
  const uint length = head_length_of(args.head_length), per_group = group_of(args.heads, args.heads_kv),
             blocks = length / 8u;
  const uint slices = per_group / kHeads, head_kv = group.y / slices,
             first_head = head_kv * per_group + group.y % slices * kHeads;
  device const RowTile& tile = tiles[group.x];
  const uint first_row = tile.first_row, rows = tile.rows, first_position = info[first_row].position,
             table = info[first_row].table;
  const uint last_position = first_position + rows - 1u;
  const uint least_key = args.window != 0u && first_position >= args.window ? first_position - args.window + 1u : 0u;
  const bool has_row = simdgroup < rows;
  const uint row = first_row + min(simdgroup, rows - 1u), position = first_position + simdgroup,
             stride = activation_stride(args.heads * length);
  device const float* own_q = q + ulong(row) * stride + first_head * length;
  threadgroup float* own = shared + simdgroup * 32u * kHeads;
  threadgroup const half* keys = (threadgroup const half*)shared_keys;
  threadgroup const half* values = (threadgroup const half*)shared_values;

  simdgroup_float8x8 query[kBlocks], out[kBlocks];
  for (uint d = 0; d < blocks; d++) {
    simdgroup_load(query[d], own_q + d * 8u, length);
    out[d] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  float largest[kHeads], sum[kHeads];
  for (uint g = 0; g < kHeads; g++) {
    largest[g] = sinks[first_head + g];
    sum[g] = lane == 0u ? 1.0f : 0.0f;
  }
  for (uint b = least_key / kPositionsPerBlock; b <= last_position / kPositionsPerBlock; b++) {
    device const uchar* block =
        cache + ulong(block_tables[table + b]) * args.cache.block_bytes + head_kv * args.cache.head_bytes;
    device const uint4* from_keys = (device const uint4*)block;
    device const uint4* from_values = (device const uint4*)(block + args.cache.block_bytes / 2u);
    for (uint i = tid; i < length * 4u; i += kAttentionRowTile * kSimdWidth) {
      shared_keys[i] = from_keys[i];
      // Values that no row sees may be NaN, and 0 · NaN is NaN, so they are replaced by 0.
      const uint key = b * kPositionsPerBlock + i * 8u / length;
      uint4 value = uint4(0u);
      if (key >= least_key && key <= last_position) value = from_values[i];
      shared_values[i] = value;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint first = 0, last = 0;
    if (has_row && visible_keys(b, position, args.window, first, last)) {
      for (uint k = 0; k < 4u; k++) {
        simdgroup_float8x8 score = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        for (uint d = 0; d < blocks; d++) {
          simdgroup_half8x8 key;
          simdgroup_load(key, keys + d * 8u * 32u + k * 8u, 32);
          simdgroup_multiply_accumulate(score, query[d], key, score);
        }
        simdgroup_store(score, own + k * 8u, 32);
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);
      const bool visible = lane >= first && lane <= last;
      float shrink[kHeads];
      bool shrinks = false;
      for (uint g = 0; g < kHeads; g++) {
        const float s = visible ? own[g * 32u + lane] * args.scale : -MAXFLOAT;
        const float top = max(largest[g], simd_max(s));
        shrink[g] = exponential(largest[g] - top);
        shrinks = shrinks || top != largest[g];
        largest[g] = top;
        const float p = visible ? exponential(s - top) : 0.0f;
        sum[g] = fma(sum[g], shrink[g], p);
        own[g * 32u + lane] = p;
      }
      simdgroup_barrier(mem_flags::mem_threadgroup);
      simdgroup_float8x8 share[4];
      for (uint k = 0; k < 4u; k++) simdgroup_load(share[k], own + k * 8u, 32);
      simdgroup_barrier(mem_flags::mem_threadgroup);
      if (shrinks) {
        for (uint i = lane; i < 64u; i += 32u) own[i] = 0.0f;
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (uint g = 0; g < kHeads; g++)
          if (lane == g) own[g * 9u] = shrink[g];
        simdgroup_barrier(mem_flags::mem_threadgroup);
        simdgroup_float8x8 factor;
        simdgroup_load(factor, own, 8);
        for (uint d = 0; d < blocks; d++) simdgroup_multiply(out[d], factor, out[d]);
      }
      for (uint d = 0; d < blocks; d++)
        for (uint k = 0; k < 4u; k++) {
          simdgroup_half8x8 value;
          simdgroup_load(value, values + k * 8u * length + d * 8u, length);
          simdgroup_multiply_accumulate(out[d], share[k], value, out[d]);
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (!has_row) return;
  Heads state;
  for (uint g = 0; g < kHeads; g++) state.sum[g] = sum[g];
  float sums[kHeads];
  sum_lanes(state, kHeads, sums, lane);
  device float* to = a + ulong(row) * stride + first_head * length;
  for (uint d = 0; d < blocks; d++) {
    simdgroup_store(out[d], own, 8);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint g = 0; g < kHeads; g++)
      if (lane < 8u) to[g * length + d * 8u + lane] = own[g * 8u + lane] / sums[g];
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

typedef decltype(attention_mm<64>) attention_mm_kernel;
template [[host_name("attention_mm_d64")]] kernel attention_mm_kernel attention_mm<64>;
template [[host_name("attention_mm_d128")]] kernel attention_mm_kernel attention_mm<128>;
