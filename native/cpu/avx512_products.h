// Products of AVX-512 VNNI: 16 weight rows in lanes times up to 16 columns of a tile, for avx512.cpp and amx.cpp.
//
// As in vector_kernels.h, everything has internal linkage. The linker can then never use code compiled for one
// instruction set in another's file.
#pragma once

#include "avx512_formats.h"

namespace hearth::cpu {
namespace {

/// acc += weights · 4 activation bytes, in every lane. Inline assembly folds the broadcast into the instruction with
/// every compiler. With the intrinsic g++ 12 does not, which costs a quarter of the throughput.
HEARTH_INLINE __m512i dot4(__m512i acc, __m512i weights, const uint8_t* activations) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(weights), "m"(*reinterpret_cast<const int32_t*>(activations)));
  return acc;
}

template <int N> HEARTH_INLINE void clear(__m512 (&y)[N]) {
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) y[c] = _mm512_setzero_ps();
}
template <int N> HEARTH_INLINE void store_columns(const __m512 (&acc)[N], __mmask16 rows, float* y, size_t ldy) {
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) _mm512_mask_storeu_ps(y + c * ldy, rows, acc[c]);
}

/// Multiplies one block of 16 rows in lanes with N columns of a tile and adds the products to y. A single column has
/// two sums, because each addition to one sum would wait for the one before. before(c, end) is called before the
/// columns c..end-1.
template <class Format, int N, class Before>
HEARTH_INLINE void add_block(const __m512i (&bytes)[8], __m512i scale, const uint8_t* tile, __m512 (&y)[N],
                             Before before) {
  constexpr int kTogether = 4;  // hides vpdpbusd's latency within the 32 registers
  const auto* scales = reinterpret_cast<const float*>(tile + kBlock * N);
  constexpr __mmask16 kColumns = static_cast<__mmask16>((1u << N) - 1);
  alignas(64) int32_t start[kTileRows];
  // Adds both halves of each sum and multiplies them by −offset, in one instruction.
  _mm512_store_si512(start, _mm512_madd_epi16(_mm512_maskz_loadu_epi32(kColumns, tile + (kBlock + 4) * N),
                                              _mm512_set1_epi16(-Format::kOffset)));
  asm("" : "+m"(start));  // keeps g++ from extracting lanes by shuffles: broadcasts from memory need no vector port
#pragma GCC unroll 16
  for (int c0 = 0; c0 < N; c0 += kTogether) {
    before(c0, c0 + kTogether < N ? c0 + kTogether : N);
    __m512i acc[kTogether];
#pragma GCC unroll 4
    for (int c = 0; c < kTogether; c++)
      if (c0 + c < N) acc[c] = _mm512_set1_epi32(start[c0 + c]);
    if constexpr (N == 1) acc[1] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
#pragma GCC unroll 4
      for (int c = 0; c < kTogether; c++)
        if (c0 + c < N)
          acc[N == 1 ? j % 2 : c] = dot4(acc[N == 1 ? j % 2 : c], bytes[j], tile + (c0 + c) * kBlock + j * 4);
    if constexpr (N == 1) acc[0] = _mm512_add_epi32(acc[0], acc[1]);
#pragma GCC unroll 4
    for (int c = 0; c < kTogether; c++)
      if (c0 + c < N)
        y[c0 + c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[c]), Format::combine(scale, scales + c0 + c), y[c0 + c]);
  }
}

template <class Format, int N>
HEARTH_INLINE void add_block(const __m512i (&bytes)[8], __m512i scale, const uint8_t* tile, __m512 (&y)[N]) {
  add_block<Format, N>(bytes, scale, tile, y, [](int, int) __attribute__((always_inline)) {});
}

}  // namespace
}  // namespace hearth::cpu
