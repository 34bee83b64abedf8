// How AVX-512 reads blocks of 16 weight rows, in the file's layout and in the packed one. The kernels of avx512.cpp and
// amx.cpp multiply these blocks.
//
// As in vector_kernels.h, everything has internal linkage. The linker can then never use code compiled for one
// instruction set in another's file.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define HEARTH_INLINE inline __attribute__((always_inline))

namespace hearth::cpu {
namespace {

/// How many blocks ahead each row is prefetched from L2 to L1, where few columns leave no time to hide the access.
constexpr size_t kPrefetchBlocks = 8;
/// Blocks in one turn of a loop. Their exponents are gathered together.
constexpr int kBatch = 4;

// ---- moving 16 rows into 16 lanes -----------------------------------------------------------------------------------

/// Loads 16 bytes of each of 16 rows. Vector i holds rows i, i + 4, i + 8 and i + 12.
HEARTH_INLINE void load_rows(const uint8_t* p, size_t row_bytes, __m512i rows[4]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++, p += row_bytes) {
    const auto* row = reinterpret_cast<const __m128i*>(p);
    const auto* row4 = reinterpret_cast<const __m128i*>(p + 4 * row_bytes);
    const auto* row8 = reinterpret_cast<const __m128i*>(p + 8 * row_bytes);
    const auto* row12 = reinterpret_cast<const __m128i*>(p + 12 * row_bytes);
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128(row));
    v = _mm512_mask_broadcast_i32x4(v, 0x00F0, _mm_loadu_si128(row4));
    v = _mm512_mask_broadcast_i32x4(v, 0x0F00, _mm_loadu_si128(row8));
    rows[i] = _mm512_mask_broadcast_i32x4(v, 0xF000, _mm_loadu_si128(row12));
  }
}

/// Transposes the vectors of load_rows: vector j of the result holds dword j of rows 0..15 in lanes 0..15.
HEARTH_INLINE void transpose(const __m512i rows[4], __m512i columns[4]) {
  const __m512i a = _mm512_unpacklo_epi32(rows[0], rows[1]), b = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i c = _mm512_unpacklo_epi32(rows[2], rows[3]), d = _mm512_unpackhi_epi32(rows[2], rows[3]);
  columns[0] = _mm512_unpacklo_epi64(a, c);
  columns[1] = _mm512_unpackhi_epi64(a, c);
  columns[2] = _mm512_unpacklo_epi64(b, d);
  columns[3] = _mm512_unpackhi_epi64(b, d);
}

// ---- formats --------------------------------------------------------------------------------------------------------
//
// `stored` is a block of 16 rows as avx512.cpp keeps it in the scratch. `bytes` are the block's weights, with elements
// 4j..4j+3 in vector j. `expand` makes them unsigned; `expand_signed` and `load_signed` make them signed. A block's
// scales are 16 dwords. `combine` multiplies them with an activation scale, which gives the factors of a column.
// `multiplier` gives the floats that they stand for.

struct MXFP4 {
  static constexpr TensorType kType = TensorType::MXFP4;
  static constexpr size_t kBlockBytes = unit_of(kType).bytes;
  static constexpr int kStored = 4;
  /// Added to the weights to make them unsigned.
  static constexpr int kOffset = 12;

  /// The exponent bytes of up to 4 blocks. Byte i of a row's lane belongs to block i.
  struct Scales {
    __m512i exponents;
  };

  /// Reads 64 bytes of each row at p and takes the 4 of them that the bytes of `index` name.
  static HEARTH_INLINE Scales gather(const uint8_t* p, size_t row_bytes, uint32_t index) {
    const __m512i at = _mm512_set1_epi32(static_cast<int>(index));
    __m512i x[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
      x[q] = _mm512_maskz_permutexvar_epi8(0xFull << 16 * q, at, _mm512_loadu_si512(p + 4 * q * row_bytes));
#pragma GCC unroll 4
      for (int i = 1; i < 4; i++)
        x[q] = _mm512_mask_permutexvar_epi8(x[q], 0xFull << (16 * q + 4 * i), at,
                                            _mm512_loadu_si512(p + (4 * q + i) * row_bytes));
    }
    const __m512i e = _mm512_or_si512(_mm512_or_si512(x[0], x[1]), _mm512_or_si512(x[2], x[3]));
    return {_mm512_max_epu8(_mm512_min_epu8(e, _mm512_set1_epi8(static_cast<char>(kMaxExponent))),
                            _mm512_set1_epi8(kMinExponent))};
  }
  static HEARTH_INLINE Scales load_scales(const uint8_t* p, size_t row_bytes) {
    return gather(p, row_bytes, 0 | 17 << 8 | 34 << 16 | 51 << 24);
  }
  /// Loads the scales of the row's last `count` < 4 blocks, which begin at p, from the last 64 bytes of each row.
  static HEARTH_INLINE Scales load_last_scales(const uint8_t* p, size_t row_bytes, int count) {
    const uint32_t first = 64u - 17u * static_cast<uint32_t>(count);
    return gather(p + 17 * count - 64, row_bytes, first | (first + 17) << 8 | (first + 34) << 16);
  }
  /// Gives (e − 128) << 23. Adding it to a float's bits multiplies the float by 2^(e − 128).
  static HEARTH_INLINE __m512i scale(const Scales& s, const uint8_t*, size_t, int i) {
    const __m512i shifted = i == 0   ? _mm512_slli_epi32(s.exponents, 23)
                            : i == 1 ? _mm512_slli_epi32(s.exponents, 15)
                            : i == 2 ? _mm512_slli_epi32(s.exponents, 7)
                                     : _mm512_srli_epi32(s.exponents, 1);
    return _mm512_sub_epi32(_mm512_and_si512(shifted, _mm512_set1_epi32(0x7F800000)), _mm512_set1_epi32(128 << 23));
  }
  static HEARTH_INLINE __m512 multiplier(__m512i scale) {
    return _mm512_castsi512_ps(_mm512_add_epi32(scale, _mm512_set1_epi32(127 << 23)));
  }
  static HEARTH_INLINE __m512 combine(__m512i scale, const float* activation_scale) {
    int32_t bits;
    memcpy(&bits, activation_scale, 4);
    return _mm512_castsi512_ps(_mm512_add_epi32(scale, _mm512_set1_epi32(bits)));
  }

  static HEARTH_INLINE void load_rowwise(const uint8_t* p, size_t row_bytes, __m512i stored[4]) {
    load_rows(p + 1, row_bytes, stored);
  }
  static HEARTH_INLINE void load_lanewise(const uint8_t* p, size_t row_bytes, __m512i stored[4]) {
    __m512i rows[4];
    load_rows(p + 1, row_bytes, rows);
    transpose(rows, stored);
  }
  static HEARTH_INLINE void load_signed(const uint8_t* p, size_t row_bytes, __m512i bytes[8]) {
    __m512i stored[4];
    load_lanewise(p, row_bytes, stored);
    expand_signed(stored, bytes);
  }
  static HEARTH_INLINE void expand(const __m512i stored[4], __m512i bytes[8]) {
    const __m128i plus_12 = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    look_up(stored, plus_12, bytes);
  }
  static HEARTH_INLINE void expand_signed(const __m512i stored[4], __m512i bytes[8]) {
    look_up(stored, _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12), bytes);
  }
  /// Looks every nibble up in `values`, which holds the values of E2M1, doubled and perhaps offset.
  static HEARTH_INLINE void look_up(const __m512i stored[4], __m128i values, __m512i bytes[8]) {
    // vpermb ignores the index's upper two bits. With four copies of the table, neither nibble needs masking.
    const __m512i table = _mm512_broadcast_i32x4(values);
    // x >> 4 is a high multiply, which does not compete with the byte permutes for ports. The empty asm keeps the
    // compiler from turning it back into a shift.
    __m512i sixteenth = _mm512_set1_epi16(0x1000);
    asm("" : "+v"(sixteenth));
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      bytes[j] = _mm512_permutexvar_epi8(stored[j], table);
      bytes[j + 4] = _mm512_permutexvar_epi8(_mm512_mulhi_epu16(stored[j], sixteenth), table);
    }
  }

  static void prefetch_row(const uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBlocks * kBlockBytes), _MM_HINT_T0);
  }
  /// Stores row r of a block as the scratch keeps it. Ragged groups are unpacked row by row.
  static void store_row(const uint8_t* p, uint8_t* stored, uint8_t* scales, int r) {
    for (int j = 0; j < 4; j++) memcpy(stored + 64 * j + 4 * r, p + 1 + 4 * j, 4);
    const int32_t scale = (clamped_exponent(p) - 128) * (1 << 23);
    memcpy(scales + 4 * r, &scale, 4);
  }
  static int clamped_exponent(const uint8_t* p) {
    return p[0] < kMinExponent ? kMinExponent : p[0] > kMaxExponent ? kMaxExponent : p[0];
  }

  static constexpr size_t kPackedScaleBytes = 16;
  static void pack_scale(const uint8_t* p, uint8_t* scales, int r) {
    scales[r] = static_cast<uint8_t>(clamped_exponent(p));
  }
  static HEARTH_INLINE __m512i load_packed_scale(const uint8_t* scales) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales)));
    return _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(128)), 23);
  }
};

struct Q8_0 {
  static constexpr TensorType kType = TensorType::Q8_0;
  static constexpr size_t kBlockBytes = unit_of(kType).bytes;
  static constexpr int kStored = 8;
  static constexpr int kOffset = 128;

  struct Scales {};

  static HEARTH_INLINE Scales load_scales(const uint8_t*, size_t) { return {}; }
  static HEARTH_INLINE Scales load_last_scales(const uint8_t*, size_t, int) { return {}; }
  static HEARTH_INLINE __m512i scale(const Scales&, const uint8_t* p, size_t row_bytes, int) {
    const auto half = [&](int r) {
      uint16_t d;
      memcpy(&d, p + r * row_bytes, 2);
      return static_cast<short>(d);
    };
    const __m256i halves =
        _mm256_setr_epi16(half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7), half(8), half(9),
                          half(10), half(11), half(12), half(13), half(14), half(15));
    return _mm512_castps_si512(_mm512_cvtph_ps(halves));
  }
  static HEARTH_INLINE __m512 multiplier(__m512i scale) { return _mm512_castsi512_ps(scale); }
  static HEARTH_INLINE __m512 combine(__m512i scale, const float* activation_scale) {
    return _mm512_mul_ps(_mm512_castsi512_ps(scale), _mm512_set1_ps(*activation_scale));
  }

  static HEARTH_INLINE void load_rowwise(const uint8_t* p, size_t row_bytes, __m512i stored[8]) {
    load_rows(p + 2, row_bytes, stored);
    load_rows(p + 18, row_bytes, stored + 4);
    flip_signs(stored);
  }
  static HEARTH_INLINE void load_lanewise(const uint8_t* p, size_t row_bytes, __m512i stored[8]) {
    load_signed(p, row_bytes, stored);
    flip_signs(stored);
  }
  static HEARTH_INLINE void load_signed(const uint8_t* p, size_t row_bytes, __m512i bytes[8]) {
    __m512i rows[8];
    load_rows(p + 2, row_bytes, rows);
    load_rows(p + 18, row_bytes, rows + 4);
    transpose(rows, bytes);
    transpose(rows + 4, bytes + 4);
  }
  /// Turns each w into w + 128, and each w + 128 into w.
  static HEARTH_INLINE void flip_signs(__m512i stored[8]) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) stored[j] = _mm512_xor_si512(stored[j], _mm512_set1_epi8(static_cast<char>(0x80)));
  }
  static HEARTH_INLINE void expand(const __m512i stored[8], __m512i bytes[8]) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) bytes[j] = stored[j];
  }
  static HEARTH_INLINE void expand_signed(const __m512i stored[8], __m512i bytes[8]) {
    expand(stored, bytes);
    flip_signs(bytes);
  }

  static void prefetch_row(const uint8_t* p) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBlocks * kBlockBytes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBlocks * kBlockBytes + 64), _MM_HINT_T0);
  }
  static void store_row(const uint8_t* p, uint8_t* stored, uint8_t* scales, int r) {
    for (int j = 0; j < 8; j++)
      for (int i = 0; i < 4; i++) stored[64 * j + 4 * r + i] = p[2 + 4 * j + i] ^ 0x80;
    uint16_t d;
    memcpy(&d, p, 2);
    const float scale = _cvtsh_ss(d);
    memcpy(scales + 4 * r, &scale, 4);
  }

  static constexpr size_t kPackedScaleBytes = 32;
  static void pack_scale(const uint8_t* p, uint8_t* scales, int r) { memcpy(scales + 2 * r, p, 2); }
  static HEARTH_INLINE __m512i load_packed_scale(const uint8_t* scales) {
    return _mm512_castps_si512(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales))));
  }
};

// ---- the packed layout ----------------------------------------------------------------------------------------------
//
// A group of 16 rows is stored as the `stored` vectors of all blocks, and then the scales of the 16 rows for all
// blocks. The scales are those of the file, but MXFP4's are clamped. The rows are transposed once, when they are
// packed, and not on every pass as in the file's layout.

template <class Format> HEARTH_INLINE size_t packed_scales_at(int blocks) {
  return static_cast<size_t>(blocks) * Format::kStored * 64;
}

/// Loads a block's `stored` vectors from a packed group or the scratch.
template <class Format> HEARTH_INLINE void load_stored(const uint8_t* block, __m512i stored[Format::kStored]) {
#pragma GCC unroll 8
  for (int j = 0; j < Format::kStored; j++) stored[j] = _mm512_load_si512(block + 64 * j);
}
/// Whether a cache line of scales begins with those of this block.
template <class Format> HEARTH_INLINE bool begins_scales(int block) {
  return block % (64 / static_cast<int>(Format::kPackedScaleBytes)) == 0;
}

/// Prefetches a line to L2. Called for the lines of 8 KB in their order, it takes the lines of their two pages in turn.
/// A hardware prefetcher follows the accesses in a page and stays a bounded number of lines ahead in each. With two
/// pages at a time it hides twice the latency (Granite Rapids: reading with arithmetic in between at 33 instead of 30
/// GB/s).
HEARTH_INLINE void prefetch_paired(const uint8_t* p) {
  const auto a = reinterpret_cast<uintptr_t>(p);
  _mm_prefetch(reinterpret_cast<const char*>((a & ~uintptr_t{8191}) | (a >> 6 & 1) << 12 | (a >> 7 & 63) << 6),
               _MM_HINT_T1);
}

}  // namespace
}  // namespace hearth::cpu
