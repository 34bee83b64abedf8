// RMSNorm of rows, which runs before attention, before a dense feed-forward and before the output head. latch_stop,
// which ends a run, is here too.
#include "norm.h"

[[max_total_threads_per_threadgroup(256)]]
kernel void norm(constant NormArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                 device const float* weight [[buffer(2)]], device float* y [[buffer(3)]],
                 device const uint* rows [[buffer(4)]], device const uint* stop [[buffer(30)]],
                 uint row [[threadgroup_position_in_grid]], uint tid [[thread_position_in_threadgroup]],
                 uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float partial[kNormSimdgroups];
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns);
  const uint from = fc_gather ? rows[row] : row;
  rms_norm(x + ulong(from) * activation_stride(n), weight, y + ulong(row) * activation_stride(n), n, args.epsilon,
           partial, tid, lane, simdgroup);
}

/// Copies the host's request into the stop word. So every thread of a later kernel reads the same word, whenever the
/// host writes its request.
[[max_total_threads_per_threadgroup(32)]]
kernel void latch_stop(constant LatchArgs& args [[buffer(0)]], device const uint* request [[buffer(1)]],
                       device const uint* tokens [[buffer(2)]], device const uint* stop_ids [[buffer(3)]],
                       device uint* ended [[buffer(4)]], device uint* stop [[buffer(30)]],
                       uint lane [[thread_index_in_simdgroup]]) {
  bool open = args.rows == 0u;
  for (uint r = lane; r < args.rows; r += kSimdWidth) {
    bool met = ended[r] != 0u;
    for (uint i = stop_ids[r]; i < stop_ids[r + 1u] && !met; i++) met = stop_ids[i] == tokens[r];
    if (met) ended[r] = 1u;
    open = open || !met;
  }
  open = simd_any(open);
  if (lane == 0u && (!open || *request >= args.number)) *stop = 1u;
}
