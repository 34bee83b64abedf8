// The experts: gate and up with SwiGLU, down, and the weighted sum into the residual. Rows that go to the same expert
// form a tile, and the expert's weights are read once for a tile.
#include "matrix.h"

/// gpt-oss's clamped SwiGLU (openai/gpt-oss, gpt_oss/torch/model.py), or the plain one.
static inline float swiglu(float gate, float up, constant ExpertArgs& args) {
  return swish(min(gate, args.limit), args.alpha) * (clamp(up, -args.limit, args.limit) + args.offset);
}

template <int C> kernel void gate_up(
    constant ExpertArgs& args [[buffer(0)]], device const uchar* gate_weights [[buffer(1)]],
    device const uchar* up_weights [[buffer(2)]], device const float* gate_bias [[buffer(3)]],
    device const float* up_bias [[buffer(4)]], device const float* h [[buffer(5)]],
    device const Choice* choices [[buffer(6)]], device const uint* lists [[buffer(7)]],
    device const ExpertTile* tiles [[buffer(8)]], device const uint* tile_count [[buffer(9)]],
    device float* act [[buffer(10)]], device const uint* stop [[buffer(30)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]], uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;  // two outputs of gate and two of up
  const uint n = columns_of(args.columns);
  const uint first = (group.x * simdgroups + simdgroup) * 2u;
  if (first >= args.outputs) return;
  uint expert, count = 1, list = 0;
  if (fc_direct) {
    if (group.y >= args.rows * args.used) return;
    expert = choices[group.y].expert;
  } else {
    if (group.y >= *tile_count) return;
    device const ExpertTile& tile = tiles[group.y];
    expert = tile.expert;
    count = tile.count;
    list = expert * args.rows + tile.first;
  }
  uint rows[R];
  for (int r = 0; r < R; r++) rows[r] = expert * args.outputs + min(first + uint(r & 1), args.outputs - 1u);
  constexpr uint kLanes = 32 / (R * C);  // lanes that hold the same sum
  const uint r = lane / kLanes / C, output = first + (r & 1u);
  const float bias = (r < 2u ? gate_bias : up_bias)[expert * args.outputs + min(output, args.outputs - 1u)];
  for (uint begin = 0; begin < count; begin += C) {
    uint numbers[C], x_at[C];
    for (int c = 0; c < C; c++) {
      numbers[c] = fc_direct ? group.y : lists[list + min(begin + uint(c), count - 1u)];
      x_at[c] = numbers[c] / args.used * activation_stride(n);
    }
    float acc[R * C];
    for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
    accumulate<R, C>(fc_type, gate_weights, fc_type_b, up_weights, rows, h, x_at, n, lane, acc);
    const float value = lane_sum<R * C>(acc, lane) + bias;
    const float up = simd_shuffle_xor(value, 16);  // gate and up of an output are 16 lanes apart
    const uint column = lane / kLanes % C;
    uint number = numbers[0];
    for (int c = 1; c < C; c++) number = column == uint(c) ? numbers[c] : number;
    if (lane % kLanes == 0u && r < 2u && output < args.outputs && begin + column < count)
      act[ulong(number) * activation_stride(args.outputs) + output] = swiglu(value, up, args);
  }
}

typedef decltype(gate_up<1>) gate_up_kernel;
template [[host_name("gate_up_c1")]] kernel gate_up_kernel gate_up<1>;
template [[host_name("gate_up_c2")]] kernel gate_up_kernel gate_up<2>;
template [[host_name("gate_up_c4")]] kernel gate_up_kernel gate_up<4>;
template [[host_name("gate_up_c8")]] kernel gate_up_kernel gate_up<8>;

template <int C> kernel void down(constant ExpertArgs& args [[buffer(0)]], device const uchar* weights [[buffer(1)]],
                                  device const float* bias [[buffer(2)]], device const float* act [[buffer(3)]],
                                  device const uint* lists [[buffer(4)]], device const ExpertTile* tiles [[buffer(5)]],
                                  device const uint* tile_count [[buffer(6)]], device float* out [[buffer(7)]],
                                  device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                                  uint lane [[thread_index_in_simdgroup]],
                                  uint simdgroup [[simdgroup_index_in_threadgroup]],
                                  uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;
  const uint n = columns_of(args.columns);
  const uint first = (group.x * simdgroups + simdgroup) * R;
  if (first >= args.outputs || group.y >= *tile_count) return;
  device const ExpertTile& tile = tiles[group.y];
  const uint expert = tile.expert, count = tile.count, list = expert * args.rows + tile.first;
  uint rows[R];
  for (int r = 0; r < R; r++) rows[r] = expert * args.outputs + min(first + uint(r), args.outputs - 1u);
  constexpr uint kLanes = 32 / (R * C);  // lanes that hold the same sum
  const uint output = first + lane / kLanes / C, column = lane / kLanes % C;
  for (uint begin = 0; begin < count; begin += C) {
    uint numbers[C], x_at[C];
    for (int c = 0; c < C; c++) {
      numbers[c] = lists[list + min(begin + uint(c), count - 1u)];
      x_at[c] = numbers[c] * activation_stride(n);
    }
    float acc[R * C];
    for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
    accumulate<R, C>(fc_type, weights, fc_type, weights, rows, act, x_at, n, lane, acc);
    const float sum = lane_sum<R * C>(acc, lane);
    uint number = numbers[0];
    for (int c = 1; c < C; c++) number = column == uint(c) ? numbers[c] : number;
    if (lane % kLanes == 0u && output < args.outputs && begin + column < count)
      out[ulong(number) * activation_stride(args.outputs) + output] = sum + bias[expert * args.outputs + output];
  }
}

typedef decltype(down<1>) down_kernel;
template [[host_name("down_c1")]] kernel down_kernel down<1>;
template [[host_name("down_c2")]] kernel down_kernel down<2>;
template [[host_name("down_c4")]] kernel down_kernel down<4>;
template [[host_name("down_c8")]] kernel down_kernel down<8>;

[[max_total_threads_per_threadgroup(128)]]
kernel void gate_up_mm(constant ExpertArgs& args [[buffer(0)]], device const uchar* gate_weights [[buffer(1)]],
                       device const uchar* up_weights [[buffer(2)]], device const float* gate_bias [[buffer(3)]],
                       device const float* up_bias [[buffer(4)]], device const float* h [[buffer(5)]],
                       device const uint* lists [[buffer(7)]], device const ExpertTile* tiles [[buffer(8)]],
                       device const uint* tile_count [[buffer(9)]], device float* act [[buffer(10)]],
                       device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                       uint tid [[thread_index_in_threadgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[kMatrixShared];
  if (*stop != 0u || group.y >= *tile_count) return;
  const uint n = columns_of(args.columns), first = group.x * (kMatrixOutputs / 2);
  device const ExpertTile& tile = tiles[group.y];
  const uint expert = tile.expert, count = tile.count;
  device const uint* list = lists + expert * args.rows + tile.first;
  // Outputs 0 to 31 of the tile belong to gate, outputs 32 to 63 to up.
  const bool is_up = tid >= 64u;
  MatrixRow own;
  own.type = is_up ? fc_type_b : fc_type;
  own.at = ulong(expert * args.outputs + min(first + tid / 2u % 32u, args.outputs - 1u)) * row_bytes(own.type, n);
  multiply_tile(own, is_up ? up_weights : gate_weights,
                h + ulong(list[min(tid / 4u, count - 1u)] / args.used) * activation_stride(n), n, shared, tid,
                simdgroup);
  for (uint i = tid; i < kMatrixOutputs / 2 * kMatrixColumns; i += kMatrixThreads) {
    const uint output = first + i % 32u, column = i / 32u;
    if (output >= args.outputs || column >= count) continue;
    const float gate = shared[column * kMatrixOutputs + i % 32u] + gate_bias[expert * args.outputs + output];
    const float up = shared[column * kMatrixOutputs + 32u + i % 32u] + up_bias[expert * args.outputs + output];
    act[ulong(list[column]) * activation_stride(args.outputs) + output] = swiglu(gate, up, args);
  }
}

[[max_total_threads_per_threadgroup(128)]]
kernel void down_mm(constant ExpertArgs& args [[buffer(0)]], device const uchar* weights [[buffer(1)]],
                    device const float* bias [[buffer(2)]], device const float* act [[buffer(3)]],
                    device const uint* lists [[buffer(4)]], device const ExpertTile* tiles [[buffer(5)]],
                    device const uint* tile_count [[buffer(6)]], device float* out [[buffer(7)]],
                    device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                    uint tid [[thread_index_in_threadgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[kMatrixShared];
  if (*stop != 0u || group.y >= *tile_count) return;
  const uint n = columns_of(args.columns), first = group.x * kMatrixOutputs;
  device const ExpertTile& tile = tiles[group.y];
  const uint expert = tile.expert, count = tile.count;
  device const uint* list = lists + expert * args.rows + tile.first;
  MatrixRow own;
  own.type = fc_type;
  own.at = ulong(expert * args.outputs + min(first + tid / 2u, args.outputs - 1u)) * row_bytes(fc_type, n);
  multiply_tile(own, weights, act + ulong(list[min(tid / 4u, count - 1u)]) * activation_stride(n), n, shared, tid,
                simdgroup);
  for (uint i = tid; i < kMatrixOutputs * kMatrixColumns; i += kMatrixThreads) {
    const uint output = first + i % kMatrixOutputs, column = i / kMatrixOutputs;
    if (output >= args.outputs || column >= count) continue;
    out[ulong(list[column]) * activation_stride(args.outputs) + output] =
        shared[i] + bias[expert * args.outputs + output];
  }
}

kernel void down_sum(constant ExpertArgs& args [[buffer(0)]], device const uchar* weights [[buffer(1)]],
                     device const float* bias [[buffer(2)]], device const float* act [[buffer(3)]],
                     device const Choice* choices [[buffer(4)]], device float* x [[buffer(5)]],
                     device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                     uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;
  const uint n = columns_of(args.columns);
  const uint first = (group.x * simdgroups + simdgroup) * R;
  if (first >= args.outputs) return;
  const uint output = min(first + lane / (32u / R), args.outputs - 1u);
  const bool writes = lane % (32u / R) == 0u && first + lane / (32u / R) < args.outputs;
  device float* to = x + ulong(group.y) * activation_stride(args.outputs) + output;
  float total = writes ? *to : 0.0f;
  for (uint u = 0; u < args.used; u++) {
    const uint number = group.y * args.used + u, expert = choices[number].expert;
    uint rows[R];
    float acc[R];
    for (int r = 0; r < R; r++) {
      rows[r] = expert * args.outputs + min(first + uint(r), args.outputs - 1u);
      acc[r] = 0.0f;
    }
    const uint x_at[1] = {number * activation_stride(n)};
    accumulate<R, 1>(fc_type, weights, fc_type, weights, rows, act, x_at, n, lane, acc);
    total = fma(choices[number].weight, lane_sum<R>(acc, lane) + bias[expert * args.outputs + output], total);
  }
  if (writes) *to = total;
}

kernel void expert_sum(constant ExpertArgs& args [[buffer(0)]], device const float* out [[buffer(1)]],
                       device const Choice* choices [[buffer(2)]], device float* x [[buffer(3)]],
                       device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                       uint2 position [[thread_position_in_grid]]) {
  if (*stop != 0u) return;
  const uint output = position.x;
  if (output >= args.outputs) return;
  const uint stride = activation_stride(args.outputs);
  device float* to = x + ulong(group.y) * stride + output;
  float total = *to;
  for (uint u = 0; u < args.used; u++) {
    const uint number = group.y * args.used + u;
    total = fma(choices[number].weight, out[ulong(number) * stride + output], total);
  }
  *to = total;
}
