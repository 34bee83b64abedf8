// RMSNorm of one row by a threadgroup of 256 threads, for the kernels that begin with it.
#pragma once
#include "common.h"

constant constexpr uint kNormThreads = 256, kNormSimdgroups = kNormThreads / 32;

/// y = x · w / sqrt(mean(x²) + epsilon). Thread t chains x² over the quads t, t + 256, … in order. Then lanes and after
/// them simdgroups are added as a tree. `partial` has kNormSimdgroups floats. y is visible to the threadgroup after its
/// next barrier.
static inline void rms_norm(device const float* x, device const float* w, device float* y, uint n, float epsilon,
                            threadgroup float* partial, uint tid, uint lane, uint simdgroup) {
  float sum[1] = {0.0f};
  for (uint k = tid * 4u; k < n; k += kNormThreads * 4u) {
    if (k + 4u <= n) {
      const float4 v = *(device const float4*)(x + k);
      sum[0] = fma(v.w, v.w, fma(v.z, v.z, fma(v.y, v.y, fma(v.x, v.x, sum[0]))));
    } else {
      for (uint j = k; j < n; j++) sum[0] = fma(x[j], x[j], sum[0]);
    }
  }
  const float mine = lane_sum<1>(sum, lane);
  if (lane == 0u) partial[simdgroup] = mine;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float all[1] = {lane < kNormSimdgroups ? partial[lane] : 0.0f};
  const float scale = 1.0f / precise::sqrt(lane_sum<1>(all, lane) / float(n) + epsilon);
  for (uint k = tid; k < n; k += kNormThreads) y[k] = x[k] * scale * w[k];
}
