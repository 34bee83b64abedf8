// Products of many rows on simdgroup matrices. A threadgroup of 128 threads computes a tile of 64 outputs × 32 columns.
// The hardware chooses the order of the sums, so these kernels do not give the bits of common.h, and the user has to
// ask for them.
#pragma once
#include <metal_simdgroup_matrix>

#include "common.h"

constant constexpr uint kMatrixThreads = 128;
/// Floats of threadgroup memory: first a slab of 32 elements of both operands, in blocks of 8 × 8, then the results
/// [column][output].
constant constexpr uint kMatrixShared = kMatrixOutputs * 32 + kMatrixColumns * 32;

/// The row of weights that a thread loads. Thread t loads the row of output t / 2 of the tile.
struct MatrixRow {
  uint type;
  ulong at;
};

/// Computes shared[c * 64 + o] = W[o]·x[c]. `x` is the row of the thread's own column, tid / 4. All threads of the
/// threadgroup call it, and see all results when it returns.
static inline void multiply_tile(MatrixRow own, device const uchar* weights, device const float* x, uint n,
                                 threadgroup float* shared, uint tid, uint simdgroup) {
  threadgroup float* shared_x = shared + kMatrixOutputs * 32;
  // Each simdgroup computes 16 columns × 32 outputs.
  const uint first_column_block = simdgroup / 2u * 2u, first_output_block = simdgroup % 2u * 4u;
  simdgroup_float8x8 acc[8];
  for (uint i = 0; i < 8u; i++) acc[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  const uint output = tid / 2u, h = tid % 2u, column = tid / 4u, part = tid % 4u;
  for (uint k0 = 0; k0 < n; k0 += 32u) {
    const HalfBlock stored = load_half_block(own.type, weights, own.at, k0 / 16u + h);
    for (uint q = 0; q < 4u; q++) {
      const uint k = h * 8u + quarter_offset(q);
      float4 w = float4(0.0f);
      if (k0 + k + 4u <= n) w = quarter(own.type, stored, weights, own.at, k0 + k, q);
      else
        for (uint j = 0; j < 4u && k0 + k + j < n; j++) w[j] = scalar(own.type, weights, own.at, k0 + k + j);
      threadgroup float* to = shared + (output / 8u * 4u + k / 8u) * 64u + k % 8u * 8u + output % 8u;
      for (uint j = 0; j < 4u; j++) to[j * 8u] = w[j];
    }
    for (uint piece = 0; piece < 2u; piece++) {
      const uint k = k0 + part * 8u + piece * 4u;
      float4 v = float4(0.0f);
      if (k + 4u <= n) v = *(device const float4*)(x + k);
      else
        for (uint j = 0; j < 4u && k + j < n; j++) v[j] = x[k + j];
      threadgroup float* to = shared_x + (column / 8u * 4u + part) * 64u + column % 8u * 8u + piece * 4u;
      for (uint j = 0; j < 4u; j++) to[j] = v[j];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < 4u; k++) {
      simdgroup_float8x8 a[2], b[4];
      for (uint i = 0; i < 2u; i++) simdgroup_load(a[i], shared_x + ((first_column_block + i) * 4u + k) * 64u, 8);
      for (uint j = 0; j < 4u; j++) simdgroup_load(b[j], shared + ((first_output_block + j) * 4u + k) * 64u, 8);
      for (uint i = 0; i < 2u; i++)
        for (uint j = 0; j < 4u; j++) simdgroup_multiply_accumulate(acc[i * 4u + j], a[i], b[j], acc[i * 4u + j]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint i = 0; i < 2u; i++)
    for (uint j = 0; j < 4u; j++)
      simdgroup_store(acc[i * 4u + j],
                      shared + (first_column_block + i) * 8u * kMatrixOutputs + (first_output_block + j) * 8u,
                      kMatrixOutputs);
  threadgroup_barrier(mem_flags::mem_threadgroup);
}
