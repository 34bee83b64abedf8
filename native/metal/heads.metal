// What happens to q, k and v between qkv and attention where qkv cannot do it: the RMSNorm of each query and key head,
// which needs the whole head, RoPE, and the write into the KV cache.
#include "cache.h"

kernel void heads(constant HeadsArgs& args [[buffer(0)]], device float* q [[buffer(1)]],
                  device const float* kv [[buffer(2)]], device const float* q_norm [[buffer(3)]],
                  device const float* k_norm [[buffer(4)]], device const float2* rope [[buffer(5)]],
                  device const RowInfo* info [[buffer(6)]], device const uint* block_tables [[buffer(7)]],
                  device uchar* cache [[buffer(8)]], device const uint* stop [[buffer(30)]],
                  uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                  uint simdgroup [[simdgroup_index_in_threadgroup]], uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float shared[4 * kMaxHeadLength];
  if (*stop != 0u) return;
  const uint length = head_length_of(args.head_length), pairs = length / 2u, row = group.y;
  const uint counted = group.x * simdgroups + simdgroup;
  if (counted >= args.heads + 2u * args.heads_kv) return;
  const Head head = head_of(counted, args.heads, args.heads_kv);
  threadgroup float* x = shared + simdgroup * kMaxHeadLength;
  device float* own_q = q + ulong(row) * activation_stride(args.heads * length) + head.index * length;
  device const float* from = own_q;
  if (head.matrix != 0u)
    from = kv + ulong(row) * activation_stride(2u * args.heads_kv * length) +
           ((head.matrix == 2u ? args.heads_kv : 0u) + head.index) * length;

  float squares[1] = {0.0f};
  for (uint d = lane; d < length; d += kSimdWidth) {
    x[d] = from[d];
    squares[0] = fma(x[d], x[d], squares[0]);
  }
  if (fc_has_norm && head.matrix != 2u) {
    device const float* weight = head.matrix == 0u ? q_norm : k_norm;
    const float scale = 1.0f / precise::sqrt(lane_sum<1>(squares, lane) / float(length) + args.epsilon);
    for (uint d = lane; d < length; d += kSimdWidth) x[d] = x[d] * scale * weight[d];
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  if (head.matrix != 2u) {
    for (uint i = lane; i < pairs; i += kSimdWidth) {
      const uint first = element_of_pair(i, 0u, pairs), second = element_of_pair(i, 1u, pairs);
      const float2 value = turned(float2(x[first], x[second]), rope[row * pairs + i]);
      x[first] = value.x;
      x[second] = value.y;
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (head.matrix == 0u) {
    for (uint d = lane; d < length; d += kSimdWidth) own_q[d] = x[d];
    return;
  }
  device uchar* block = head_of_block(cache, args.cache, info[row], block_tables, head);
  const uint slot = info[row].position % kPositionsPerBlock;
  if (!fc_q8_cache) {
    for (uint d = lane; d < length; d += kSimdWidth) store_half(x[d], block, head, d, slot, length);
    return;
  }
  const uint scales = (length + 31u) / 32u;
  device half* scale_of = (device half*)(block + length * kPositionsPerBlock);
  for (uint g = 0; g < scales; g++) {
    const uint d = g * 32u + lane;
    float scale;
    const char stored = quantised(d < length ? within_half(x[d]) : 0.0f, scale);
    if (d < length) ((device char*)block)[element_at(head, d, slot, length)] = stored;
    if (lane == 0u) scale_of[head.matrix == 1u ? g * kPositionsPerBlock + slot : slot * scales + g] = half(scale);
  }
}
