// Chooses the experts of each row: the norm before the experts, the router's scores, the best few and their softmax.
// Then lists the rows by expert, so that each expert's weights are read once.
#include "norm.h"

/// kTaken marks an expert that is already chosen. It is below any score, since scores are at least kLeastScore.
constant constexpr float kTaken = -3.4e38f, kLeastScore = -3.3e38f;

[[max_total_threads_per_threadgroup(256)]]
kernel void router(constant RouterArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                   device const float* norm_weight [[buffer(2)]], device const uchar* weights [[buffer(3)]],
                   device const float* bias [[buffer(4)]], device float* h [[buffer(5)]],
                   device Choice* choices [[buffer(6)]], device const uint* stop [[buffer(30)]],
                   uint row [[threadgroup_position_in_grid]], uint tid [[thread_position_in_threadgroup]],
                   uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float partial[kNormSimdgroups];
  threadgroup float scores[kMaxExperts];
  threadgroup float best[kMaxExpertsUsed];
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;
  const uint n = columns_of(args.columns);
  device float* mine = h + ulong(row) * activation_stride(n);
  rms_norm(x + ulong(row) * activation_stride(n), norm_weight, mine, n, args.epsilon, partial, tid, lane, simdgroup);
  threadgroup_barrier(mem_flags::mem_device);

  const uint x_at[1] = {0u};
  for (uint first = simdgroup * R; first < args.experts; first += kNormSimdgroups * R) {
    uint rows[R];
    float acc[R];
    for (int r = 0; r < R; r++) {
      rows[r] = min(first + uint(r), args.experts - 1u);
      acc[r] = 0.0f;
    }
    accumulate<R, 1>(fc_type, weights, fc_type, weights, rows, mine, x_at, n, lane, acc);
    const float sum = lane_sum<R>(acc, lane);
    const uint expert = first + lane / (32u / R);
    if (lane % (32u / R) == 0u && expert < args.experts) {
      const float score = sum + bias[expert];
      scores[expert] = isnan(score) ? kLeastScore : max(score, kLeastScore);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup != 0u) return;

  device Choice* chosen = choices + ulong(row) * args.used;
  for (uint u = 0; u < args.used; u++) {
    float largest = kTaken;
    uint expert = ~0u;
    for (uint e = lane; e < args.experts; e += kSimdWidth) {
      if (scores[e] > largest) {
        largest = scores[e];
        expert = e;
      }
    }
    const float top = simd_max(largest);
    expert = simd_min(largest == top ? expert : ~0u);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    if (lane == 0u) {
      chosen[u].expert = expert;
      best[u] = top;
      scores[expert] = kTaken;
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
  if (lane == 0u) {
    float total = 0.0f;
    for (uint u = 0; u < args.used; u++) total += exponential(best[u] - best[0]);
    for (uint u = 0; u < args.used; u++) chosen[u].weight = exponential(best[u] - best[0]) / total;
  }
}

kernel void expert_lists(constant ExpertListsArgs& args [[buffer(0)]], device const Choice* choices [[buffer(1)]],
                         device uint* lists [[buffer(2)]], device ExpertTile* tiles [[buffer(3)]],
                         device uint* tile_count [[buffer(4)]], device const uint* stop [[buffer(30)]],
                         uint tid [[thread_position_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                         uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup uint counts[kMaxExperts];
  if (*stop != 0u) return;
  const uint total = args.rows * args.used;
  for (uint e = simdgroup; e < args.experts; e += simdgroups) {
    uint count = 0;
    for (uint first = 0; first < total; first += kSimdWidth) {
      const uint choice = first + lane;
      const uint match = choice < total && choices[choice].expert == e ? 1u : 0u;
      const uint before = simd_prefix_exclusive_sum(match);
      if (match != 0u) lists[e * args.rows + count + before] = choice;
      count += simd_sum(match);
    }
    if (lane == 0u) counts[e] = count;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint e = tid; e < args.experts; e += threads) {
    uint at = 0;
    for (uint i = 0; i < e; i++) at += (counts[i] + args.tile - 1u) / args.tile;
    for (uint first = 0; first < counts[e]; first += args.tile, at++) {
      tiles[at].expert = e;
      tiles[at].first = first;
      tiles[at].count = min(args.tile, counts[e] - first);
    }
    if (e == args.experts - 1u) *tile_count = at;
  }
}
