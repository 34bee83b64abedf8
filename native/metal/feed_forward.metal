// The dense feed-forward up to its down product: gate and up with SwiGLU, in one launch.
#include "matrix.h"

template <int C> kernel void ffn(constant LinearArgs& args [[buffer(0)]],
                                 device const uchar* gate_weights [[buffer(1)]],
                                 device const uchar* up_weights [[buffer(2)]],
                                 device const float* gate_bias [[buffer(3)]], device const float* up_bias [[buffer(4)]],
                                 device const float* h [[buffer(5)]], device float* act [[buffer(6)]],
                                 device const uint* stop [[buffer(30)]], uint2 group [[threadgroup_position_in_grid]],
                                 uint2 groups [[threadgroups_per_grid]], uint lane [[thread_index_in_simdgroup]],
                                 uint simdgroup [[simdgroup_index_in_threadgroup]],
                                 uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;  // two outputs of gate and two of up
  const uint n = columns_of(args.columns), units = (args.outputs + 1u) / 2u;
  const ProductUnit unit = product_unit((group.y * groups.x + group.x) * simdgroups + simdgroup, units, args.rows, C);
  if (unit.outputs >= units) return;
  const uint first = unit.outputs * 2u, first_column = unit.tile * C;
  uint rows[R], x_at[C];
  for (int r = 0; r < R; r++) rows[r] = min(first + uint(r & 1), args.outputs - 1u);
  for (int c = 0; c < C; c++) x_at[c] = min(first_column + uint(c), args.rows - 1u) * activation_stride(n);
  float acc[R * C];
  for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
  accumulate<R, C>(fc_type, gate_weights, fc_type_b, up_weights, rows, h, x_at, n, lane, acc);
  float value = lane_sum<R * C>(acc, lane);

  constexpr uint kLanes = 32 / (R * C);  // lanes that hold the same sum
  const uint r = lane / kLanes / C, output = first + (r & 1u), column = first_column + lane / kLanes % C;
  if (fc_has_bias) value += (r < 2u ? gate_bias : up_bias)[min(output, args.outputs - 1u)];
  const float up = simd_shuffle_xor(value, 16);  // gate and up of an output are 16 lanes apart
  if (lane % kLanes == 0u && r < 2u && output < args.outputs && column < args.rows)
    act[ulong(column) * activation_stride(args.outputs) + output] = swish(value, 1.0f) * up;
}

typedef decltype(ffn<1>) ffn_kernel;
template [[host_name("ffn_c1")]] kernel ffn_kernel ffn<1>;
template [[host_name("ffn_c2")]] kernel ffn_kernel ffn<2>;
template [[host_name("ffn_c4")]] kernel ffn_kernel ffn<4>;
template [[host_name("ffn_c8")]] kernel ffn_kernel ffn<8>;

[[max_total_threads_per_threadgroup(128)]]
kernel void ffn_mm(constant LinearArgs& args [[buffer(0)]], device const uchar* gate_weights [[buffer(1)]],
                   device const uchar* up_weights [[buffer(2)]], device const float* gate_bias [[buffer(3)]],
                   device const float* up_bias [[buffer(4)]], device const float* h [[buffer(5)]],
                   device float* act [[buffer(6)]], device const uint* stop [[buffer(30)]],
                   uint2 group [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[kMatrixShared];
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns), first = group.x * (kMatrixOutputs / 2),
             first_column = group.y * kMatrixColumns;
  // Outputs 0 to 31 of the tile belong to gate, outputs 32 to 63 to up.
  const bool is_up = tid >= 64u;
  MatrixRow own;
  own.type = is_up ? fc_type_b : fc_type;
  own.at = ulong(min(first + tid / 2u % 32u, args.outputs - 1u)) * row_bytes(own.type, n);
  multiply_tile(own, is_up ? up_weights : gate_weights,
                h + ulong(min(first_column + tid / 4u, args.rows - 1u)) * activation_stride(n), n, shared, tid,
                simdgroup);
  for (uint i = tid; i < kMatrixOutputs / 2 * kMatrixColumns; i += kMatrixThreads) {
    const uint output = first + i % 32u, column = i / 32u, row = first_column + column;
    if (output >= args.outputs || row >= args.rows) continue;
    float gate = shared[column * kMatrixOutputs + i % 32u], up = shared[column * kMatrixOutputs + 32u + i % 32u];
    if (fc_has_bias) {
      gate += gate_bias[output];
      up += up_bias[output];
    }
    act[ulong(row) * activation_stride(args.outputs) + output] = swish(gate, 1.0f) * up;
  }
}
