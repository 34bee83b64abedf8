// Kernels that measure what this GPU can do at most: reading memory, and multiply-adds out of registers.
#include "common.h"

kernel void ceiling_read(constant CeilingArgs& args [[buffer(0)]], device const uint4* data [[buffer(1)]],
                         device uint* sums [[buffer(2)]], device const uint* stop [[buffer(30)]],
                         uint thread_index [[thread_position_in_grid]], uint threads [[threads_per_grid]],
                         uint lane [[thread_index_in_simdgroup]]) {
  if (*stop != 0u) return;
  uint4 sum[kCeilingChains];
  for (uint c = 0; c < kCeilingChains; c++) sum[c] = uint4(0u);
  // Neighbouring threads read neighbouring words. Each thread has several chains, which keep several reads under way.
  for (uint i = thread_index; i < args.count; i += kCeilingChains * threads) {
    for (uint c = 0; c < kCeilingChains; c++)
      if (i + c * threads < args.count) sum[c] += data[i + c * threads];
  }
  uint4 all = sum[0];
  for (uint c = 1; c < kCeilingChains; c++) all += sum[c];
  const uint total = simd_sum(all.x + all.y + all.z + all.w);
  if (lane == 0u) sums[thread_index / kSimdWidth] = total;
}

kernel void ceiling_multiply_add(constant CeilingArgs& args [[buffer(0)]], device float* sums [[buffer(1)]],
                                 device const uint* stop [[buffer(30)]], uint thread_index [[thread_position_in_grid]],
                                 uint lane [[thread_index_in_simdgroup]]) {
  if (*stop != 0u) return;
  float4 value[kCeilingChains];
  for (uint c = 0; c < kCeilingChains; c++) value[c] = float4(float(lane), float(c), 1.0f, 0.0f);
  for (uint turn = 0; turn < args.count; turn++)
    for (uint c = 0; c < kCeilingChains; c++) value[c] = fma(value[c], float4(args.factor), float4(args.addend));
  float4 all = value[0];
  for (uint c = 1; c < kCeilingChains; c++) all += value[c];
  const float total = simd_sum(all.x + all.y + all.z + all.w);
  if (lane == 0u) sums[thread_index / kSimdWidth] = total;
}
