// The first operation of a step reads rows of the embedding matrix as floats.
#include "common.h"

kernel void embed(constant EmbedArgs& args [[buffer(0)]], device const uchar* table [[buffer(1)]],
                  device const uint* tokens [[buffer(2)]], device float* x [[buffer(3)]],
                  device const uint* stop [[buffer(30)]], uint row [[threadgroup_position_in_grid]],
                  uint tid [[thread_position_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  if (*stop != 0u) return;
  const uint n = columns_of(args.columns);
  const ulong at = ulong(tokens[row]) * row_bytes(fc_type, n);
  device float* out = x + ulong(row) * activation_stride(n);
  for (uint i = tid; i < (n + 31u) / 32u * 2u; i += threads) {
    const HalfBlock stored = load_half_block(fc_type, table, at, i);
    for (uint q = 0; q < 4u; q++) {
      const uint k = (i >> 1) * 32u + (i & 1u) * 8u + quarter_offset(q);
      if (k + 4u <= n) {
        *(device float4*)(out + k) = quarter(fc_type, stored, table, at, k, q);
      } else {
        for (uint j = k; j < n; j++) out[j] = scalar(fc_type, table, at, j);
      }
    }
  }
}
