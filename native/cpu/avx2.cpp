// AVX2 kernels (with FMA and F16C).
//
// Quantised groups: 8 weight rows lie in the 8 lanes of a register, 4 consecutive bytes of a row in each lane. MXFP4 weights
// are the unsigned operand of vpmaddubsw (+ 12 by table, taken back by starting the sum at −12 × Σ activations). Q8_0 weights
// + 128 would overflow its 16-bit sums, so there |w| meets activations that carry w's sign.
#include "vector_kernels.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

#include <immintrin.h>

#define HEARTH_INLINE inline __attribute__((always_inline))

namespace hearth::cpu {
namespace {

struct Avx2 {
  struct F {
    __m256 low, high;
  };
  static constexpr int kDotRows = 2, kDotColumns = 2, kScoreHeads = 2, kValueHeads = 2, kValueVectors = 2;

  static F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static F set1(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
  static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void store(float* p, F v) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
  }
  static F load_f16(const void* p) {
    const auto* halves = static_cast<const __m128i*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
  }
  static F load_bf16(const void* p) {
    const auto* halves = static_cast<const __m128i*>(p);
    const auto widen = [](__m128i v) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
    };
    return {widen(_mm_loadu_si128(halves)), widen(_mm_loadu_si128(halves + 1))};
  }
  static F load_int8(const void* p) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(p));
    const auto widen = [](__m128i v) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)); };
    return {widen(bytes), widen(_mm_srli_si128(bytes, 8))};
  }
  static void store_f16(void* p, F v) {
    auto* halves = static_cast<__m128i*>(p);
    _mm_storeu_si128(halves, _mm256_cvtps_ph(v.low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(v.high, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static F sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static F mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static F div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static F fma(F a, F b, F c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static F min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
  static F max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
  static F abs(F a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
  }
  static F scale_exponent(F v, F n) {
    const auto scale = [](__m256 x, __m256 by) {
      const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(by), 23);
      return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), shifted));
    };
    return {scale(v.low, n.low), scale(v.high, n.high)};
  }
  static F zero_below(F v, F x, float bound) {
    const __m256 b = _mm256_set1_ps(bound);
    return {_mm256_and_ps(_mm256_cmp_ps(x.low, b, _CMP_NLT_UQ), v.low),
            _mm256_and_ps(_mm256_cmp_ps(x.high, b, _CMP_NLT_UQ), v.high)};
  }
  static F keep_lanes(F v, int first, int last, float other) {
    const __m256i before = _mm256_set1_epi32(first), end = _mm256_set1_epi32(last);
    const auto keep = [&](__m256 x, __m256i lane) {
      const __m256i kept = _mm256_andnot_si256(_mm256_cmpgt_epi32(before, lane), _mm256_cmpgt_epi32(end, lane));
      return _mm256_blendv_ps(_mm256_set1_ps(other), x, _mm256_castsi256_ps(kept));
    };
    return {keep(v.low, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            keep(v.high, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
  }
  static float sum(F v) {
    const __m256 a = _mm256_add_ps(v.low, v.high);
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
  }
  static float maximum(F v) {
    const __m256 a = _mm256_max_ps(v.low, v.high);
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
  }
  static void store_int8(int8_t* q, F v) {
    // vpackssdw works within 128-bit halves: the permutation puts the quarters in order.
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high)), 0b11'01'10'00);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
  }
};

constexpr int kLaneRows = 8;
/// Rows ahead that weights are prefetched into L2, linearly.
constexpr size_t kPrefetchRows = 24;

/// The rows in the lanes; those past the group's end repeat its last.
struct Rows {
  const uint8_t* row[kLaneRows];
};

/// Dwords 0..3 of the 16 bytes at `offset` of each row, each in its own vector.
HEARTH_INLINE void load_lanewise(const Rows& rows, size_t offset, __m256i columns[4]) {
  __m256i r[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.row[i] + offset));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.row[i + 4] + offset));
    r[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  }
  const __m256i a = _mm256_unpacklo_epi32(r[0], r[1]), b = _mm256_unpackhi_epi32(r[0], r[1]);
  const __m256i c = _mm256_unpacklo_epi32(r[2], r[3]), d = _mm256_unpackhi_epi32(r[2], r[3]);
  columns[0] = _mm256_unpacklo_epi64(a, c);
  columns[1] = _mm256_unpackhi_epi64(a, c);
  columns[2] = _mm256_unpacklo_epi64(b, d);
  columns[3] = _mm256_unpackhi_epi64(b, d);
}

/// A block of 8 rows: elements 4j..4j+3 in weights[j], as the format multiplies them, and scales as 8 dwords.
struct Block {
  __m256i weights[8];
  __m256i scale;
};

struct Mxfp4 {
  static constexpr size_t kBlockBytes = 17;
  static constexpr int kOffset = 12;

  /// From nibbles lane by lane, elements 4j..4j+3 and 16+4j..19+4j in packed[j], and exponents within the clamp.
  static HEARTH_INLINE Block expand(const __m256i packed[4], __m256i exponents) {
    // The values of E2M1, doubled, + 12.
    const __m256i table = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i nibble = _mm256_set1_epi8(15);
    Block block;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      block.weights[j] = _mm256_shuffle_epi8(table, _mm256_and_si256(packed[j], nibble));
      block.weights[j + 4] =
          _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(packed[j], 4), nibble));
    }
    block.scale = _mm256_slli_epi32(_mm256_sub_epi32(exponents, _mm256_set1_epi32(128)), 23);
    return block;
  }
  static HEARTH_INLINE Block unpack(const Rows& rows, size_t offset) {
    __m256i packed[4];
    load_lanewise(rows, offset + 1, packed);
    const auto exponent = [&](int r) { return int{rows.row[r][offset]}; };
    const __m256i e = _mm256_setr_epi32(exponent(0), exponent(1), exponent(2), exponent(3), exponent(4), exponent(5),
                                        exponent(6), exponent(7));
    return expand(packed, _mm256_min_epi32(_mm256_max_epi32(e, _mm256_set1_epi32(kMinExponent)),
                                           _mm256_set1_epi32(kMaxExponent)));
  }
  static HEARTH_INLINE __m256 combine(__m256i scale, const uint8_t* activation_scale) {
    int32_t bits;
    memcpy(&bits, activation_scale, 4);
    return _mm256_castsi256_ps(_mm256_add_epi32(scale, _mm256_set1_epi32(bits)));
  }
  /// Products of up to 24 × 127: four pairs of them fit 16 bits.
  static HEARTH_INLINE __m256i dot(const __m256i weights[8], const uint8_t* q) {
    const auto pairs = [&](int j) {
      int32_t bytes;
      memcpy(&bytes, q + 4 * j, 4);
      return _mm256_maddubs_epi16(weights[j], _mm256_set1_epi32(bytes));
    };
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i a = _mm256_add_epi16(_mm256_add_epi16(pairs(0), pairs(1)), _mm256_add_epi16(pairs(2), pairs(3)));
    const __m256i b = _mm256_add_epi16(_mm256_add_epi16(pairs(4), pairs(5)), _mm256_add_epi16(pairs(6), pairs(7)));
    return _mm256_add_epi32(_mm256_madd_epi16(a, one), _mm256_madd_epi16(b, one));
  }
};

struct Q8_0 {
  static constexpr size_t kBlockBytes = 34;
  static constexpr int kOffset = 0;

  static HEARTH_INLINE Block unpack(const Rows& rows, size_t offset) {
    Block block;
    load_lanewise(rows, offset + 2, block.weights);
    load_lanewise(rows, offset + 18, block.weights + 4);
    const auto half = [&](int r) {
      uint16_t d;
      memcpy(&d, rows.row[r] + offset, 2);
      return static_cast<short>(d);
    };
    block.scale = _mm256_castps_si256(
        _mm256_cvtph_ps(_mm_setr_epi16(half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7))));
    return block;
  }
  static HEARTH_INLINE __m256 combine(__m256i scale, const uint8_t* activation_scale) {
    float s;
    memcpy(&s, activation_scale, 4);
    return _mm256_mul_ps(_mm256_castsi256_ps(scale), _mm256_set1_ps(s));
  }
  /// |w| ≤ 128 as an unsigned byte, and activations within ±127: a pair of products fits 16 bits.
  static HEARTH_INLINE __m256i dot(const __m256i weights[8], const uint8_t* q) {
    const __m256i one = _mm256_set1_epi16(1);
    const auto quads = [&](int j) {
      int32_t bytes;
      memcpy(&bytes, q + 4 * j, 4);
      const __m256i w = weights[j];
      const __m256i signed_q = _mm256_sign_epi8(_mm256_set1_epi32(bytes), w);
      return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), signed_q), one);
    };
    const __m256i a = _mm256_add_epi32(_mm256_add_epi32(quads(0), quads(1)), _mm256_add_epi32(quads(2), quads(3)));
    const __m256i b = _mm256_add_epi32(_mm256_add_epi32(quads(4), quads(5)), _mm256_add_epi32(quads(6), quads(7)));
    return _mm256_add_epi32(a, b);
  }
};

/// One block times a tile's columns. The weights stay in registers, which leaves room for one column at a time; its sum
/// stays in memory, one access for eight multiplications.
template <class Format>
HEARTH_INLINE void add_block(const Block& block, const uint8_t* tile, int columns, __m256* y) {
  const uint8_t* scales = tile + kBlock * columns;
  const uint8_t* sums = scales + 4 * columns;
  int32_t start[kTileRows];
  for (int c = 0; Format::kOffset != 0 && c < columns; c++) {
    int32_t sum;
    memcpy(&sum, sums + 4 * c, 4);
    start[c] = sum * -Format::kOffset;
  }
#pragma GCC unroll 1
  for (int c = 0; c < columns; c++) {
    __m256i dot = Format::dot(block.weights, tile + kBlock * c);
    if constexpr (Format::kOffset != 0) dot = _mm256_add_epi32(dot, _mm256_set1_epi32(start[c]));
    y[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), Format::combine(block.scale, scales + 4 * c), y[c]);
  }
}

/// 8 rows or fewer times all columns. first(b) unpacks block b of the rows on the first pass over them, which brings what
/// follows into the cache; again(b) does on the others.
template <class Format, class First, class Again>
HEARTH_INLINE void group_lanes(const QuantGroup& g, int rows, float* to, First first, Again again) {
  for (int c = 0; c < g.columns; c += kTileRows) {
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    __m256 y[kTileRows];
    for (int i = 0; i < columns; i++) y[i] = _mm256_setzero_ps();
    const size_t step = kPackedBlockBytes * static_cast<size_t>(columns);
    if (c == 0)
      for (int b = 0; b < g.blocks; b++, tile += step) add_block<Format>(first(b), tile, columns, y);
    else
      for (int b = 0; b < g.blocks; b++, tile += step) add_block<Format>(again(b), tile, columns, y);
    for (int i = 0; i < columns; i++) {
      alignas(32) float lane[kLaneRows];
      _mm256_store_ps(lane, y[i]);
      memcpy(to + (c + i) * g.ldy, lane, sizeof(float) * static_cast<size_t>(rows));
    }
  }
}

template <class Format> void group_quantised(const QuantGroup& g) {
  auto* unpacked = reinterpret_cast<Block*>(g.scratch);
  const bool save = g.columns > kTileRows;
  for (int r = 0; r < g.rows; r += kLaneRows) {
    const int rows = g.rows - r < kLaneRows ? g.rows - r : kLaneRows;
    const uint8_t* weights = g.weights + static_cast<size_t>(r) * g.row_bytes;
    const uint8_t* next = weights + kPrefetchRows * g.row_bytes;
    Rows lanes;
    for (int i = 0; i < kLaneRows; i++)
      lanes.row[i] = weights + static_cast<size_t>(i < rows ? i : rows - 1) * g.row_bytes;
    const auto first = [&](int b) __attribute__((always_inline)) {
      for (size_t i = 0; i < kLaneRows * Format::kBlockBytes; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(next + i), _MM_HINT_T1);
      next += kLaneRows * Format::kBlockBytes;
      const Block block = Format::unpack(lanes, static_cast<size_t>(b) * Format::kBlockBytes);
      if (save) unpacked[b] = block;
      return block;
    };
    group_lanes<Format>(g, rows, g.y + r, first, [&](int b) { return unpacked[b]; });
  }
}

// ---- MXFP4 repacked -------------------------------------------------------------------------------------------------
//
// A group of 16 rows, 8 and 8: for each 8, per block 4 vectors of nibbles, dword j of row r in lane r of vector j; then for
// each 8, per block their exponent bytes, clamped.

/// Bytes of 8 rows' nibbles, and of their exponents, in a block.
constexpr size_t kPackedNibbles = 128, kPackedExponents = 8;

void pack_group(const uint8_t* weights, size_t row_bytes, int rows, int blocks, uint8_t* packed) {
  const size_t count = static_cast<size_t>(blocks);
  memset(packed, 0, packed_group_bytes(blocks));
  for (int row = 0; row < rows; row++) {
    const size_t half = static_cast<size_t>(row / kLaneRows), lane = static_cast<size_t>(row % kLaneRows);
    uint8_t* nibbles = packed + half * kPackedNibbles * count + 4 * lane;
    uint8_t* exponents = packed + (2 * kPackedNibbles + half * kPackedExponents) * count + lane;
    for (size_t b = 0; b < count; b++) {
      const uint8_t* p = weights + static_cast<size_t>(row) * row_bytes + b * Mxfp4::kBlockBytes;
      for (size_t j = 0; j < 4; j++) memcpy(nibbles + b * kPackedNibbles + 32 * j, p + 1 + 4 * j, 4);
      exponents[b * kPackedExponents] = p[0] < kMinExponent   ? kMinExponent
                                        : p[0] > kMaxExponent ? kMaxExponent
                                                              : p[0];
    }
  }
}

void group_packed(const QuantGroup& g) {
  const size_t count = static_cast<size_t>(g.blocks);
  const size_t ahead = count * Mxfp4::kBlockBytes * kPrefetchRows;
  for (int r = 0; r < g.rows; r += kLaneRows) {
    const size_t half = static_cast<size_t>(r / kLaneRows);
    const uint8_t* nibbles = g.weights + half * kPackedNibbles * count;
    const uint8_t* exponents = g.weights + (2 * kPackedNibbles + half * kPackedExponents) * count;
    const auto load = [&](int block) __attribute__((always_inline)) {
      const size_t b = static_cast<size_t>(block);
      __m256i stored[4];
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; j++)
        stored[j] = _mm256_load_si256(reinterpret_cast<const __m256i*>(nibbles + b * kPackedNibbles + 32 * j));
      const auto* e = reinterpret_cast<const __m128i*>(exponents + b * kPackedExponents);
      return Mxfp4::expand(stored, _mm256_cvtepu8_epi32(_mm_loadl_epi64(e)));
    };
    const auto first = [&](int block) __attribute__((always_inline)) {
      const size_t b = static_cast<size_t>(block);
      _mm_prefetch(reinterpret_cast<const char*>(nibbles + ahead + b * kPackedNibbles), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(nibbles + ahead + b * kPackedNibbles + 64), _MM_HINT_T1);
      if (b % 8 == 0)
        _mm_prefetch(reinterpret_cast<const char*>(exponents + ahead + b * kPackedExponents), _MM_HINT_T1);
      return load(block);
    };
    group_lanes<Mxfp4>(g, g.rows - r < kLaneRows ? g.rows - r : kLaneRows, g.y + r, first, load);
  }
}

}  // namespace

const Kernels* avx2_kernels() {
  static constexpr Kernels kernels =
      make_kernels<Avx2>("avx2", group_quantised<Mxfp4>, group_quantised<Q8_0>, pack_group, group_packed);
  return &kernels;
}

}  // namespace hearth::cpu

#else

namespace hearth::cpu {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace hearth::cpu

#endif
