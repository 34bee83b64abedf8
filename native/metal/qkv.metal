// Queries, keys and values of a layer in one launch: three products, biases, RoPE, and the write into the KV cache.
#include "matrix.h"

/// Which of the heads, counted through q, k and v, is what.
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

/// Element d of a row's head: a query goes to memory, a key or value into the cache.
static inline void store(float value, Head head, uint d, uint row, constant QkvArgs & args, device const RowInfo * info, device const uint * block_tables,
                         device float * q, device uchar * cache) {
  if (head.matrix == 0u) {
    q[ulong(row) * activation_stride(args.heads * args.head_length) + head.index * args.head_length + d] = value;
    return;
  }
  const uint position = info[row].position, slot = position % kPositionsPerBlock;
  device uchar * block = cache + ulong(block_tables[info[row].table + position / kPositionsPerBlock]) * args.cache.block_bytes +
                         head.index * args.cache.head_bytes;
  // F16 ends at 65504; an infinity in the cache would turn whole rows into NaN.
  const half stored = half(clamp(value, -65504.0f, 65504.0f));
  if (head.matrix == 1u) ((device half *)block)[d * kPositionsPerBlock + slot] = stored;
  else ((device half *)(block + args.cache.block_bytes / 2u))[slot * args.head_length + d] = stored;
}

template <int C> kernel void qkv(
    constant QkvArgs & args [[buffer(0)]],
    device const uchar * wq [[buffer(1)]],
    device const uchar * wk [[buffer(2)]],
    device const uchar * wv [[buffer(3)]],
    device const float * bq [[buffer(4)]],
    device const float * bk [[buffer(5)]],
    device const float * bv [[buffer(6)]],
    device const float * h [[buffer(7)]],
    device const float2 * rope [[buffer(8)]],
    device const RowInfo * info [[buffer(9)]],
    device const uint * block_tables [[buffer(10)]],
    device float * q [[buffer(11)]],
    device uchar * cache [[buffer(12)]],
    device const uint * stop [[buffer(30)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint2 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]],
    uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;
  const uint n = columns_of(args.columns), length = args.head_length, pairs = length / 2u;
  // A simdgroup computes two pairs (i, i + D/2) of a head; the heads are counted through q, k and v.
  const uint units = (args.heads + 2u * args.heads_kv) * (length / 4u);
  const ProductUnit unit = product_unit((group.y * groups.x + group.x) * simdgroups + simdgroup, units, args.rows, C);
  if (unit.outputs >= units) return;
  const uint head = unit.outputs / (length / 4u), pair = unit.outputs % (length / 4u) * 2u, first_column = unit.tile * C;
  const Head own = head_of(head, args.heads, args.heads_kv);
  device const uchar * weights = own.matrix == 0u ? wq : own.matrix == 1u ? wk : wv;
  device const float * bias = own.matrix == 0u ? bq : own.matrix == 1u ? bk : bv;
  const uint type = own.matrix == 0u ? fc_type : own.matrix == 1u ? fc_type_b : fc_type_c;
  uint rows[R], x_at[C];
  for (int r = 0; r < R; r++) rows[r] = own.index * length + pair + uint(r & 1) + (r >= 2 ? pairs : 0u);
  for (int c = 0; c < C; c++) x_at[c] = min(first_column + uint(c), args.rows - 1u) * activation_stride(n);
  float acc[R * C];
  for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
  accumulate<R, C>(type, weights, type, weights, rows, h, x_at, n, lane, acc);
  float value = lane_sum<R * C>(acc, lane);

  constexpr uint kLanes = 32 / (R * C);  // that hold the same sum
  const uint r = lane / kLanes / C, row = first_column + lane / kLanes % C;
  const uint d = pair + (r & 1u) + (r >= 2u ? pairs : 0u);
  value += bias[own.index * length + d];
  // The pair's other half is 16 lanes away.
  const float other = simd_shuffle_xor(value, 16);
  if (lane % kLanes != 0u || row >= args.rows) return;
  if (own.matrix != 2u) {
    const float2 turn = rope[row * pairs + d % pairs];
    value = fma(value, turn.x, (r >= 2u ? other : -other) * turn.y);
  }
  store(value, own, d, row, args, info, block_tables, q, cache);
}

typedef decltype(qkv<1>) qkv_kernel;
template [[host_name("qkv_c1")]] kernel qkv_kernel qkv<1>;
template [[host_name("qkv_c2")]] kernel qkv_kernel qkv<2>;
template [[host_name("qkv_c4")]] kernel qkv_kernel qkv<4>;
template [[host_name("qkv_c8")]] kernel qkv_kernel qkv<8>;

[[max_total_threads_per_threadgroup(128)]]
kernel void qkv_mm(
    constant QkvArgs & args [[buffer(0)]],
    device const uchar * wq [[buffer(1)]],
    device const uchar * wk [[buffer(2)]],
    device const uchar * wv [[buffer(3)]],
    device const float * bq [[buffer(4)]],
    device const float * bk [[buffer(5)]],
    device const float * bv [[buffer(6)]],
    device const float * h [[buffer(7)]],
    device const float2 * rope [[buffer(8)]],
    device const RowInfo * info [[buffer(9)]],
    device const uint * block_tables [[buffer(10)]],
    device float * q [[buffer(11)]],
    device uchar * cache [[buffer(12)]],
    device const uint * stop [[buffer(30)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint tid [[thread_index_in_threadgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[kMatrixShared];
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns), length = args.head_length, pairs = length / 2u, all_pairs = (args.heads + 2u * args.heads_kv) * pairs;
  // 32 pairs (i, i + D/2): outputs 0 to 31 of the tile are the first elements, 32 to 63 the second ones.
  const uint first_pair = group.x * (kMatrixOutputs / 2), first_column = group.y * kMatrixColumns;
  const uint pair = min(first_pair + tid / 2u % 32u, all_pairs - 1u);
  const Head head = head_of(pair / pairs, args.heads, args.heads_kv);
  MatrixRow own;
  own.type = head.matrix == 0u ? fc_type : head.matrix == 1u ? fc_type_b : fc_type_c;
  own.at = ulong(head.index * length + pair % pairs + (tid >= 64u ? pairs : 0u)) * row_bytes(own.type, n);
  multiply_tile(own, head.matrix == 0u ? wq : head.matrix == 1u ? wk : wv,
                h + ulong(min(first_column + tid / 4u, args.rows - 1u)) * activation_stride(n), n, shared, tid, simdgroup);
  for (uint i = tid; i < kMatrixOutputs / 2 * kMatrixColumns; i += kMatrixThreads) {
    const uint p = first_pair + i % 32u, row = first_column + i / 32u, d = p % pairs;
    if (p >= all_pairs || row >= args.rows) continue;
    const Head to = head_of(p / pairs, args.heads, args.heads_kv);
    device const float * bias = (to.matrix == 0u ? bq : to.matrix == 1u ? bk : bv) + to.index * length;
    float a = shared[i / 32u * kMatrixOutputs + i % 32u] + bias[d], b = shared[i / 32u * kMatrixOutputs + 32u + i % 32u] + bias[d + pairs];
    if (to.matrix != 2u) {
      const float2 turn = rope[row * pairs + d];
      const float turned = fma(a, turn.x, -b * turn.y);
      b = fma(b, turn.x, a * turn.y);
      a = turned;
    }
    store(a, to, d, row, args, info, block_tables, q, cache);
    store(b, to, d + pairs, row, args, info, block_tables, q, cache);
  }
}
