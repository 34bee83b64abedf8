// Queries, keys and values of a layer in one launch: three products, biases, RoPE, and the write into the KV cache.
#include "cache.h"
#include "matrix.h"

/// Stores element d of a row's head. A query goes to memory, a key or value into the cache.
static inline void store(float value, Head head, uint d, uint row, constant QkvArgs& args, device const RowInfo* info,
                         device const uint* block_tables, device float* q, device uchar* cache) {
  if (head.matrix == 0u) {
    q[ulong(row) * activation_stride(args.heads * args.head_length) + head.index * args.head_length + d] = value;
  } else if (fc_raw) {
    const uint length = args.heads_kv * args.head_length;
    ((device float*)cache)[ulong(row) * activation_stride(2u * length) + (head.matrix == 2u ? length : 0u) +
                           head.index * args.head_length + d] = value;
  } else {
    const uint slot = info[row].position % kPositionsPerBlock;
    store_half(value, head_of_block(cache, args.cache, info[row], block_tables, head), head, d, slot, args.head_length);
  }
}

template <int C> kernel void qkv(constant QkvArgs& args [[buffer(0)]], device const uchar* wq [[buffer(1)]],
                                 device const uchar* wk [[buffer(2)]], device const uchar* wv [[buffer(3)]],
                                 device const float* bq [[buffer(4)]], device const float* bk [[buffer(5)]],
                                 device const float* bv [[buffer(6)]], device const float* h [[buffer(7)]],
                                 device const float2* rope [[buffer(8)]], device const RowInfo* info [[buffer(9)]],
                                 device const uint* block_tables [[buffer(10)]], device float* q [[buffer(11)]],
                                 device uchar* cache [[buffer(12)]], device const uint* stop [[buffer(30)]],
                                 uint2 group [[threadgroup_position_in_grid]], uint2 groups [[threadgroups_per_grid]],
                                 uint lane [[thread_index_in_simdgroup]],
                                 uint simdgroup [[simdgroup_index_in_threadgroup]],
                                 uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;
  const uint n = columns_of(args.columns), length = args.head_length, pairs = length / 2u;
  // A simdgroup computes two of the pairs that RoPE turns, both of one head. The heads are counted through q, k and v.
  const uint units = (args.heads + 2u * args.heads_kv) * (length / 4u);
  const ProductUnit unit = product_unit((group.y * groups.x + group.x) * simdgroups + simdgroup, units, args.rows, C);
  if (unit.outputs >= units) return;
  const uint head = unit.outputs / (length / 4u), pair = unit.outputs % (length / 4u) * 2u,
             first_column = unit.tile * C;
  const Head own = head_of(head, args.heads, args.heads_kv);
  device const uchar* weights = own.matrix == 0u ? wq : own.matrix == 1u ? wk : wv;
  device const float* bias = own.matrix == 0u ? bq : own.matrix == 1u ? bk : bv;
  const uint type = own.matrix == 0u ? fc_type : own.matrix == 1u ? fc_type_b : fc_type_c;
  uint rows[R], x_at[C];
  for (int r = 0; r < R; r++)
    rows[r] = own.index * length + element_of_pair(pair + uint(r & 1), r >= 2 ? 1u : 0u, pairs);
  for (int c = 0; c < C; c++) x_at[c] = min(first_column + uint(c), args.rows - 1u) * activation_stride(n);
  float acc[R * C];
  for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
  accumulate<R, C>(type, weights, type, weights, rows, h, x_at, n, lane, acc);
  float value = lane_sum<R * C>(acc, lane);

  constexpr uint kLanes = 32 / (R * C);  // lanes that hold the same sum
  const uint r = lane / kLanes / C, row = first_column + lane / kLanes % C;
  const uint d = element_of_pair(pair + (r & 1u), r / 2u, pairs);
  if (fc_has_bias) value += bias[own.index * length + d];
  // The pair's other half is 16 lanes away.
  const float other = simd_shuffle_xor(value, 16);
  if (lane % kLanes != 0u || row >= args.rows) return;
  if (own.matrix != 2u && !fc_raw) {
    const float2 turn = rope[row * pairs + pair + (r & 1u)];
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
kernel void qkv_mm(constant QkvArgs& args [[buffer(0)]], device const uchar* wq [[buffer(1)]],
                   device const uchar* wk [[buffer(2)]], device const uchar* wv [[buffer(3)]],
                   device const float* bq [[buffer(4)]], device const float* bk [[buffer(5)]],
                   device const float* bv [[buffer(6)]], device const float* h [[buffer(7)]],
                   device const float2* rope [[buffer(8)]], device const RowInfo* info [[buffer(9)]],
                   device const uint* block_tables [[buffer(10)]], device float* q [[buffer(11)]],
                   device uchar* cache [[buffer(12)]], device const uint* stop [[buffer(30)]],
                   uint2 group [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[kMatrixShared];
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns), length = args.head_length, pairs = length / 2u,
             all_pairs = (args.heads + 2u * args.heads_kv) * pairs;
  // A tile has 32 pairs. Its outputs 0 to 31 are their first elements, outputs 32 to 63 their second ones.
  const uint first_pair = group.x * (kMatrixOutputs / 2), first_column = group.y * kMatrixColumns;
  const uint pair = min(first_pair + tid / 2u % 32u, all_pairs - 1u);
  const Head head = head_of(pair / pairs, args.heads, args.heads_kv);
  MatrixRow own;
  own.type = head.matrix == 0u ? fc_type : head.matrix == 1u ? fc_type_b : fc_type_c;
  own.at = ulong(head.index * length + element_of_pair(pair % pairs, tid / 64u, pairs)) * row_bytes(own.type, n);
  multiply_tile(own,
                head.matrix == 0u   ? wq
                : head.matrix == 1u ? wk
                                    : wv,
                h + ulong(min(first_column + tid / 4u, args.rows - 1u)) * activation_stride(n), n, shared, tid,
                simdgroup);
  for (uint i = tid; i < kMatrixOutputs / 2 * kMatrixColumns; i += kMatrixThreads) {
    const uint p = first_pair + i % 32u, row = first_column + i / 32u;
    if (p >= all_pairs || row >= args.rows) continue;
    const Head to = head_of(p / pairs, args.heads, args.heads_kv);
    const uint first = element_of_pair(p % pairs, 0u, pairs), second = element_of_pair(p % pairs, 1u, pairs);
    float2 pair_values =
        float2(shared[i / 32u * kMatrixOutputs + i % 32u], shared[i / 32u * kMatrixOutputs + 32u + i % 32u]);
    if (fc_has_bias) {
      device const float* bias = (to.matrix == 0u ? bq : to.matrix == 1u ? bk : bv) + to.index * length;
      pair_values += float2(bias[first], bias[second]);
    }
    if (to.matrix != 2u && !fc_raw) pair_values = turned(pair_values, rope[row * pairs + p % pairs]);
    store(pair_values.x, to, first, row, args, info, block_tables, q, cache);
    store(pair_values.y, to, second, row, args, info, block_tables, q, cache);
  }
}
