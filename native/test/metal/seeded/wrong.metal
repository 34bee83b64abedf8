// Kernels of the addon with one deliberate mistake each. They are linked into the addon on fake Metal, where
// HEARTH_FAKE_METAL=wrong=NAME runs wrong_NAME wherever the host asks for NAME. They are valid MSL without a race, so
// only the self-test can find the mistakes.
#include "../../../metal/norm.h"

/// A norm that takes the rows 0, 1, … even where the host says which rows to take.
[[max_total_threads_per_threadgroup(256)]]
kernel void wrong_norm(constant NormArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                       device const float* weight [[buffer(2)]], device float* y [[buffer(3)]],
                       device const uint* rows [[buffer(4)]], device const uint* stop [[buffer(30)]],
                       uint row [[threadgroup_position_in_grid]], uint tid [[thread_position_in_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float partial[kNormSimdgroups];
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns), stride = activation_stride(n);
  rms_norm(x + ulong(row) * stride, weight, y + ulong(row) * stride, n, args.epsilon, partial, tid, lane, simdgroup);
}

/// An expert_sum that leaves out the last of a row's experts.
kernel void wrong_expert_sum(constant ExpertArgs& args [[buffer(0)]], device const float* out [[buffer(1)]],
                             device const Choice* choices [[buffer(2)]], device float* x [[buffer(3)]],
                             device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                             uint2 position [[thread_position_in_grid]]) {
  if (*stop != 0u || position.x >= args.outputs) return;
  const uint stride = activation_stride(args.outputs);
  device float* to = x + ulong(group.y) * stride + position.x;
  float total = *to;
  for (uint u = 0; u + 1u < args.used; u++) {
    const uint number = group.y * args.used + u;
    total = fma(choices[number].weight, out[ulong(number) * stride + position.x], total);
  }
  *to = total;
}
