// Products of one weight matrix with the rows of the step: the attention output with its residual, and the output head.
#include "matrix.h"

template <int C> kernel void linear(constant LinearArgs& args [[buffer(0)]], device const uchar* weights [[buffer(1)]],
                                    device const float* bias [[buffer(2)]], device const float* x [[buffer(3)]],
                                    device float* y [[buffer(4)]], device const uint* stop [[buffer(30)]],
                                    uint2 group [[threadgroup_position_in_grid]],
                                    uint2 groups [[threadgroups_per_grid]], uint lane [[thread_index_in_simdgroup]],
                                    uint simdgroup [[simdgroup_index_in_threadgroup]],
                                    uint simdgroups [[simdgroups_per_threadgroup]]) {
  if (*stop != 0u) return;
  constexpr int R = kOutputsPerSimdgroup;
  const uint n = columns_of(args.columns);
  const uint units = (args.outputs + R - 1u) / R;
  const ProductUnit unit = product_unit((group.y * groups.x + group.x) * simdgroups + simdgroup, units, args.rows, C);
  if (unit.outputs >= units) return;
  const uint first = unit.outputs * R, first_column = unit.tile * C;
  uint rows[R], x_at[C];
  for (int r = 0; r < R; r++) rows[r] = min(first + uint(r), args.outputs - 1u);
  for (int c = 0; c < C; c++) x_at[c] = min(first_column + uint(c), args.rows - 1u) * activation_stride(n);
  float acc[R * C];
  for (int i = 0; i < R * C; i++) acc[i] = 0.0f;
  accumulate<R, C>(fc_type, weights, fc_type, weights, rows, x, x_at, n, lane, acc);
  float value = lane_sum<R * C>(acc, lane);

  constexpr uint kLanes = 32 / (R * C);  // lanes that hold the same sum
  const uint output = first + lane / kLanes / C, column = first_column + lane / kLanes % C;
  if (lane % kLanes == 0u && output < args.outputs && column < args.rows) {
    if (fc_has_bias) value += bias[output];
    device float* to = y + ulong(column) * activation_stride(args.outputs) + output;
    *to = fc_residual ? *to + value : value;
  }
}

typedef decltype(linear<1>) linear_kernel;
template [[host_name("linear_c1")]] kernel linear_kernel linear<1>;
template [[host_name("linear_c2")]] kernel linear_kernel linear<2>;
template [[host_name("linear_c4")]] kernel linear_kernel linear<4>;
template [[host_name("linear_c8")]] kernel linear_kernel linear<8>;

[[max_total_threads_per_threadgroup(128)]]
kernel void linear_mm(constant LinearArgs& args [[buffer(0)]], device const uchar* weights [[buffer(1)]],
                      device const float* bias [[buffer(2)]], device const float* x [[buffer(3)]],
                      device float* y [[buffer(4)]], device const uint* stop [[buffer(30)]],
                      uint2 group [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float shared[kMatrixShared];
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns), first = group.x * kMatrixOutputs, first_column = group.y * kMatrixColumns;
  MatrixRow own;
  own.type = fc_type;
  own.at = ulong(min(first + tid / 2u, args.outputs - 1u)) * row_bytes(fc_type, n);
  multiply_tile(own, weights, x + ulong(min(first_column + tid / 4u, args.rows - 1u)) * activation_stride(n), n, shared,
                tid, simdgroup);
  for (uint i = tid; i < kMatrixOutputs * kMatrixColumns; i += kMatrixThreads) {
    const uint output = first + i % kMatrixOutputs, column = first_column + i / kMatrixOutputs;
    if (output >= args.outputs || column >= args.rows) continue;
    const float value = shared[i] + (fc_has_bias ? bias[output] : 0.0f);
    device float* to = y + ulong(column) * activation_stride(args.outputs) + output;
    *to = fc_residual ? *to + value : value;
  }
}
