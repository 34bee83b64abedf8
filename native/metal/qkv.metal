// Queries, keys and values of a layer in one launch: three products, biases, RoPE, and the write into the KV cache.
#include "common.h"

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
  const bool is_q = head < args.heads, is_k = !is_q && head < args.heads + args.heads_kv;
  const uint own_head = is_q ? head : is_k ? head - args.heads : head - args.heads - args.heads_kv;
  device const uchar * weights = is_q ? wq : is_k ? wk : wv;
  device const float * bias = is_q ? bq : is_k ? bk : bv;
  const uint type = is_q ? fc_type : is_k ? fc_type_b : fc_type_c;
  uint rows[R], x_at[C];
  for (int r = 0; r < R; r++) rows[r] = own_head * length + pair + uint(r & 1) + (r >= 2 ? pairs : 0u);
  for (int c = 0; c < C; c++) x_at[c] = min(first_column + uint(c), args.rows - 1u) * activation_stride(n);
  float acc[R * C];
  for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
  accumulate<R, C>(type, weights, type, weights, rows, h, x_at, n, lane, acc);
  float value = lane_sum<R * C>(acc, lane);

  constexpr uint kLanes = 32 / (R * C);  // that hold the same sum
  const uint r = lane / kLanes / C, row = first_column + lane / kLanes % C;
  const uint d = pair + (r & 1u) + (r >= 2u ? pairs : 0u);
  value += bias[own_head * length + d];
  // The pair's other half is 16 lanes away.
  const float other = simd_shuffle_xor(value, 16);
  if (lane % kLanes != 0u || row >= args.rows) return;
  if (is_q || is_k) {
    const float2 turn = rope[row * pairs + d % pairs];
    value = fma(value, turn.x, (r >= 2u ? other : -other) * turn.y);
  }
  if (is_q) {
    q[ulong(row) * activation_stride(args.heads * length) + head * length + d] = value;
    return;
  }
  const uint position = info[row].position, slot = position % kPositionsPerBlock;
  device uchar * block = cache + ulong(block_tables[info[row].table + position / kPositionsPerBlock]) * args.cache.block_bytes +
                         own_head * args.cache.head_bytes;
  // F16 ends at 65504; an infinity in the cache would turn whole rows into NaN.
  const half stored = half(clamp(value, -65504.0f, 65504.0f));
  if (is_k) ((device half *)block)[d * kPositionsPerBlock + slot] = stored;
  else ((device half *)(block + args.cache.block_bytes / 2u))[slot * length + d] = stored;
}

typedef decltype(qkv<1>) qkv_kernel;
template [[host_name("qkv_c1")]] kernel qkv_kernel qkv<1>;
template [[host_name("qkv_c2")]] kernel qkv_kernel qkv<2>;
template [[host_name("qkv_c4")]] kernel qkv_kernel qkv<4>;
template [[host_name("qkv_c8")]] kernel qkv_kernel qkv<8>;
