// AVX2 kernels (with FMA and F16C).
//
// Quantised groups: 8 weight rows lie in the 8 lanes of a register, 4 consecutive bytes of a row in each lane. Weights
// of few bits, plus an offset that makes them unsigned (MXFP4: 12, added by the table), are the unsigned operand of
// vpmaddubsw. A sum starts at −offset × Σ activations, which takes the offset back. The sum of a block therefore fits
// 16 bits in the end, even if it wraps around on the way. Q8_0 weights + 128 would overflow, so Q8_0 multiplies |w|
// with activations that carry w's sign. So does Q6_K: its scales change after 16 elements, and a tile has no Σ of 16
// activations.
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
    const auto widen = [](__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); };
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
    // vpackssdw works within 128-bit halves. The permutation puts the quarters in order.
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high)), 0b11'01'10'00);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
  }
};

constexpr int kLaneRows = 8;
/// How many rows ahead weights are prefetched into L2, linearly.
constexpr size_t kPrefetchRows = 24;

/// The weight rows in the lanes. Lanes past the group's end repeat its last row.
struct Rows {
  const uint8_t* row[kLaneRows];
};

/// Loads the 16 bytes at `offset` of each row: columns[j] holds dword j of every row.
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

/// Loads the F16 at `offset` of each of the 8 rows, as floats.
HEARTH_INLINE __m256 load_halves(const Rows& rows, size_t offset) {
  const auto half = [&](int r) {
    uint16_t d;
    memcpy(&d, rows.row[r] + offset, 2);
    return static_cast<short>(d);
  };
  return _mm256_cvtph_ps(_mm_setr_epi16(half(0), half(1), half(2), half(3), half(4), half(5), half(6), half(7)));
}
/// Loads the dword at `offset` of each of the 8 rows.
HEARTH_INLINE __m256i load_dwords(const Rows& rows, size_t offset) {
  const auto dword = [&](int r) {
    int32_t d;
    memcpy(&d, rows.row[r] + offset, 4);
    return d;
  };
  return _mm256_setr_epi32(dword(0), dword(1), dword(2), dword(3), dword(4), dword(5), dword(6), dword(7));
}
/// Loads the two F16s at `offset` of each of the 8 rows, as floats.
HEARTH_INLINE void load_half_pairs(const Rows& rows, size_t offset, __m256& first, __m256& second) {
  const __m256i pairs = load_dwords(rows, offset);
  // vpackusdw works within 128-bit halves. The permutation puts the quarters in order.
  const __m256i halves = _mm256_permute4x64_epi64(
      _mm256_packus_epi32(_mm256_and_si256(pairs, _mm256_set1_epi32(0xFFFF)), _mm256_srli_epi32(pairs, 16)),
      0b11'01'10'00);
  first = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
  second = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
}

HEARTH_INLINE __m256i low_nibbles(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
HEARTH_INLINE __m256i high_nibbles(__m256i v) {
  return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

/// A block of 8 rows. weights[j] holds elements 4j..4j+3 in the form that the format multiplies.
struct Block {
  __m256i weights[8];
  __m256 scale;
};
/// A block whose scale is 2^(e − 128), stored as the integer to add to a float's bits.
struct BlockOfExponents {
  __m256i weights[8];
  __m256i scale;
};
struct BlockWithMinimum : Block {
  __m256 minimum;
};
/// A block with two more scales, one for elements 0..15 and one for 16..31, each repeated in 16-bit pairs.
struct BlockWithHalves : Block {
  __m256i halves[2];
};

/// Broadcasts the 4 bytes at p to every lane.
HEARTH_INLINE __m256i dword_at(const uint8_t* p) {
  int32_t bytes;
  memcpy(&bytes, p, 4);
  return _mm256_set1_epi32(bytes);
}
/// Multiplies unsigned weights with signed activations and adds neighbours: sums of two products, in 16 bits.
HEARTH_INLINE __m256i pairs(__m256i w, __m256i q) { return _mm256_maddubs_epi16(w, q); }
/// The same for signed weights: |w| ≤ 128 is an unsigned byte, and the activations, within ±127, take w's sign. A sum
/// of two products fits 16 bits.
HEARTH_INLINE __m256i signed_pairs(__m256i w, __m256i q) {
  return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
}

/// to[c] = add(to[c], j, activations 4j..4j+3 of column c) for j from `begin` to `end` - 1, with N columns beside each
/// other. Add decides whether the sums have 16 bits or 32.
template <int N, class Add>
HEARTH_INLINE void add_dwords(const uint8_t* q, int begin, int end, __m256i to[N], Add add) {
  if constexpr (N == 1) {
    // Two chains of additions hide their latency, since there is no other column to do it.
    __m256i odd = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int j = begin; j < end; j += 2) {
      to[0] = add(to[0], j, dword_at(q + 4 * j));
      asm volatile("" : "+x"(to[0]));
      odd = add(odd, j + 1, dword_at(q + 4 * j + 4));
      asm volatile("" : "+x"(odd));
    }
    to[0] = Add::plus(to[0], odd);
  } else {
#pragma GCC unroll 8
    for (int j = begin; j < end; j++)
#pragma GCC unroll 4
      for (int c = 0; c < N; c++) {
        to[c] = add(to[c], j, dword_at(q + kBlock * c + 4 * j));
        // The asm keeps this order. Otherwise compilers start more products than there are registers for and move
        // weights to the stack (a third slower).
        asm volatile("" : "+x"(to[c]));
      }
  }
}

/// Adds unsigned weights times activations, in sums of 16 bits.
struct AddPairs {
  const __m256i* weights;
  HEARTH_INLINE __m256i operator()(__m256i sum, int j, __m256i q) const { return plus(sum, pairs(weights[j], q)); }
  static HEARTH_INLINE __m256i plus(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
};
/// Adds signed weights times activations, in sums of 16 bits.
struct AddSignedPairs {
  const __m256i* weights;
  HEARTH_INLINE __m256i operator()(__m256i sum, int j, __m256i q) const {
    return plus(sum, signed_pairs(weights[j], q));
  }
  static HEARTH_INLINE __m256i plus(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
};
/// Adds signed weights times activations, four products to a sum of 32 bits.
struct AddSignedQuads {
  const __m256i* weights;
  HEARTH_INLINE __m256i operator()(__m256i sum, int j, __m256i q) const {
    return plus(sum, _mm256_madd_epi16(signed_pairs(weights[j], q), _mm256_set1_epi16(1)));
  }
  static HEARTH_INLINE __m256i plus(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
};

// A format has unpack(rows, offset, use), which calls use(block) for each block of the unit at `offset`, in order. It
// also has dots<N>(block, q, sums, dot), which writes the integer dot products with N columns of 32 activations to dot.
// `sums` are the columns' half sums (see pack_tile_by_halves).

/// The part that formats whose scale is a float have in common.
struct FloatScale {
  static HEARTH_INLINE __m256 combine(__m256 scale, const uint8_t* activation_scale) {
    float s;
    memcpy(&s, activation_scale, 4);
    return _mm256_mul_ps(scale, _mm256_set1_ps(s));
  }
};
/// The dot products of formats with weights 0..kMaximum, from which kOffset is subtracted.
template <int kOffset, int kMaximum> struct Unsigned : FloatScale {
  template <int N, class Block>
  static HEARTH_INLINE void dots(const Block& block, const uint8_t* q, const uint8_t* sums, __m256i dot[N]) {
    const __m256i one = _mm256_set1_epi16(1);
    const AddPairs add{block.weights};
    // Eight pairs of products fit 16 bits where the signed weights are up to 16, as 8 · 2 · 16 · 127 < 2^15. Where they
    // are up to 31, four pairs fit.
    constexpr bool kFits = kOffset <= 16 && kMaximum - kOffset <= 16;
    __m256i pair[N];
    for (int c = 0; c < N; c++)
      pair[c] = kOffset == 0 ? _mm256_setzero_si256()
                             : _mm256_mullo_epi16(dword_at(sums + 4 * c), _mm256_set1_epi16(-kOffset));
    add_dwords<N>(q, 0, kFits ? 8 : 4, pair, add);
    for (int c = 0; c < N; c++) dot[c] = _mm256_madd_epi16(pair[c], one);
    if constexpr (!kFits) {
      for (int c = 0; c < N; c++) pair[c] = _mm256_setzero_si256();
      add_dwords<N>(q, 4, 8, pair, add);
      for (int c = 0; c < N; c++) dot[c] = _mm256_add_epi32(dot[c], _mm256_madd_epi16(pair[c], one));
    }
  }
};

struct MXFP4 : Unsigned<12, 24> {
  using Block = BlockOfExponents;
  static constexpr Unit kUnit = unit_of(TensorType::MXFP4);
  static constexpr int kBeside = 4;
  static constexpr bool kMinimum = false;

  /// Makes a block from nibbles and clamped exponents. packed[j] has elements 4j..4j+3 in the low nibbles and
  /// 16+4j..19+4j in the high ones.
  static HEARTH_INLINE Block expand(const __m256i packed[4], __m256i exponents) {
    // The values of E2M1, doubled, plus 12.
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    Block block;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      block.weights[j] = _mm256_shuffle_epi8(table, low_nibbles(packed[j]));
      block.weights[j + 4] = _mm256_shuffle_epi8(table, high_nibbles(packed[j]));
    }
    block.scale = _mm256_slli_epi32(_mm256_sub_epi32(exponents, _mm256_set1_epi32(128)), 23);
    return block;
  }
  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    __m256i packed[4];
    load_lanewise(rows, offset + 1, packed);
    const auto exponent = [&](int r) { return int{rows.row[r][offset]}; };
    const __m256i e = _mm256_setr_epi32(exponent(0), exponent(1), exponent(2), exponent(3), exponent(4), exponent(5),
                                        exponent(6), exponent(7));
    use(expand(packed, _mm256_min_epi32(_mm256_max_epi32(e, _mm256_set1_epi32(kMinExponent)),
                                        _mm256_set1_epi32(kMaxExponent))));
  }
  static HEARTH_INLINE __m256 combine(__m256i scale, const uint8_t* activation_scale) {
    int32_t bits;
    memcpy(&bits, activation_scale, 4);
    return _mm256_castsi256_ps(_mm256_add_epi32(scale, _mm256_set1_epi32(bits)));
  }
};

struct Q8_0 : FloatScale {
  using Block = cpu::Block;
  static constexpr Unit kUnit = unit_of(TensorType::Q8_0);
  static constexpr int kBeside = 4;
  static constexpr bool kMinimum = false;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    load_lanewise(rows, offset + 2, block.weights);
    load_lanewise(rows, offset + 18, block.weights + 4);
    block.scale = load_halves(rows, offset);
    use(block);
  }
  template <int N> static HEARTH_INLINE void dots(const Block& block, const uint8_t* q, const uint8_t*,
                                                  __m256i dot[N]) {
    for (int c = 0; c < N; c++) dot[c] = _mm256_setzero_si256();
    add_dwords<N>(q, 0, 8, dot, AddSignedQuads{block.weights});
  }
};

struct Q4_0 : Unsigned<8, 15> {
  using Block = cpu::Block;
  static constexpr Unit kUnit = unit_of(TensorType::Q4_0);
  static constexpr int kBeside = 4;
  static constexpr bool kMinimum = false;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    unpack_nibbles(rows, offset + 2, block.weights);
    block.scale = load_halves(rows, offset);
    use(block);
  }
  /// Unpacks the nibbles of 16 bytes. The low ones are elements 0..15.
  static HEARTH_INLINE void unpack_nibbles(const Rows& rows, size_t offset, __m256i weights[8]) {
    __m256i packed[4];
    load_lanewise(rows, offset, packed);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      weights[j] = low_nibbles(packed[j]);
      weights[j + 4] = high_nibbles(packed[j]);
    }
  }
};

struct Q4_1 : Unsigned<0, 15> {
  using Block = BlockWithMinimum;
  static constexpr Unit kUnit = unit_of(TensorType::Q4_1);
  static constexpr int kBeside = 1;
  static constexpr bool kMinimum = true;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    Q4_0::unpack_nibbles(rows, offset + 4, block.weights);
    load_half_pairs(rows, offset, block.scale, block.minimum);
    use(block);
  }
};

struct Q5_0 : Unsigned<16, 31> {
  using Block = cpu::Block;
  static constexpr Unit kUnit = unit_of(TensorType::Q5_0);
  static constexpr int kBeside = 4;
  static constexpr bool kMinimum = false;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    Q4_0::unpack_nibbles(rows, offset + 6, block.weights);
    add_fifth_bits(load_dwords(rows, offset + 2), block.weights);
    block.scale = load_halves(rows, offset);
    use(block);
  }
  /// Bit i of a row's dword is the fifth bit of the row's element i.
  static HEARTH_INLINE void add_fifth_bits(__m256i bits, __m256i weights[8]) {
    // All four bytes of a lane get byte j / 2 of its dword. Each of them then tests its own bit.
    const __m256i lanes =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
    const __m256i own[2] = {_mm256_set1_epi32(0x08040201), _mm256_set1_epi32(static_cast<int>(0x80402010))};
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
      const __m256i byte =
          _mm256_shuffle_epi8(bits, _mm256_add_epi8(lanes, _mm256_set1_epi8(static_cast<char>(j / 2))));
      const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(byte, own[j % 2]), own[j % 2]);
      weights[j] = _mm256_or_si256(weights[j], _mm256_and_si256(set, _mm256_set1_epi8(16)));
    }
  }
};

struct Q5_1 : Unsigned<0, 31> {
  using Block = BlockWithMinimum;
  static constexpr Unit kUnit = unit_of(TensorType::Q5_1);
  static constexpr int kBeside = 1;
  static constexpr bool kMinimum = true;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    Q4_0::unpack_nibbles(rows, offset + 8, block.weights);
    Q5_0::add_fifth_bits(load_dwords(rows, offset + 4), block.weights);
    load_half_pairs(rows, offset, block.scale, block.minimum);
    use(block);
  }
};

/// The scales and minima of a Q4_K or Q5_K super-block of 8 rows. The bytes of a row's dword in scales[i] and minima[i]
/// belong to the sub-blocks 4i..4i+3.
struct ScalesK {
  __m256 d, dmin;
  __m256i scales[2], minima[2];

  HEARTH_INLINE ScalesK(const Rows& rows, size_t offset) {
    load_half_pairs(rows, offset, d, dmin);
    const __m256i a = load_dwords(rows, offset + 4), b = load_dwords(rows, offset + 8),
                  c = load_dwords(rows, offset + 12);
    const __m256i six = _mm256_set1_epi8(63), two = _mm256_set1_epi8(3 << 4);
    scales[0] = _mm256_and_si256(a, six);
    minima[0] = _mm256_and_si256(b, six);
    scales[1] = _mm256_or_si256(low_nibbles(c), _mm256_and_si256(_mm256_srli_epi16(a, 2), two));
    minima[1] = _mm256_or_si256(high_nibbles(c), _mm256_and_si256(_mm256_srli_epi16(b, 2), two));
  }
  static HEARTH_INLINE __m256 take(const __m256i bytes[2], int s) {
    const __m256i one = _mm256_and_si256(_mm256_srli_epi32(bytes[s / 4], 8 * (s % 4)), _mm256_set1_epi32(255));
    return _mm256_cvtepi32_ps(one);
  }
  HEARTH_INLINE void of(int s, BlockWithMinimum& block) const {
    block.scale = _mm256_mul_ps(d, take(scales, s));
    block.minimum = _mm256_xor_ps(_mm256_mul_ps(dmin, take(minima, s)), _mm256_set1_ps(-0.0f));
  }
};

struct Q4_K : Unsigned<0, 15> {
  using Block = BlockWithMinimum;
  static constexpr Unit kUnit = unit_of(TensorType::Q4_K);
  static constexpr int kBeside = 1;
  static constexpr bool kMinimum = true;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    const ScalesK scales(rows, offset);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; pair++) {
      __m256i packed[8];
      load_lanewise(rows, offset + 16 + 32 * pair, packed);
      load_lanewise(rows, offset + 32 + 32 * pair, packed + 4);
      Block block;
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++) block.weights[j] = low_nibbles(packed[j]);
      scales.of(2 * pair, block);
      use(block);
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++) block.weights[j] = high_nibbles(packed[j]);
      scales.of(2 * pair + 1, block);
      use(block);
    }
  }
};

struct Q5_K : Unsigned<0, 31> {
  using Block = BlockWithMinimum;
  static constexpr Unit kUnit = unit_of(TensorType::Q5_K);
  static constexpr int kBeside = 1;
  static constexpr bool kMinimum = true;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    const ScalesK scales(rows, offset);
    __m256i fifth[8];
    load_lanewise(rows, offset + 16, fifth);
    load_lanewise(rows, offset + 32, fifth + 4);
    const __m256i sixteen = _mm256_set1_epi8(16);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; pair++) {
      __m256i packed[8];
      load_lanewise(rows, offset + 48 + 32 * pair, packed);
      load_lanewise(rows, offset + 64 + 32 * pair, packed + 4);
      Block block;
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++)
        block.weights[j] =
            _mm256_or_si256(low_nibbles(packed[j]), _mm256_and_si256(_mm256_slli_epi16(fifth[j], 4), sixteen));
      scales.of(2 * pair, block);
      use(block);
#pragma GCC unroll 8
      for (int j = 0; j < 8; j++) {
        block.weights[j] =
            _mm256_or_si256(high_nibbles(packed[j]), _mm256_and_si256(_mm256_slli_epi16(fifth[j], 3), sixteen));
        fifth[j] = _mm256_srli_epi16(fifth[j], 2);
      }
      scales.of(2 * pair + 1, block);
      use(block);
    }
  }
};

struct Q6_K : FloatScale {
  using Block = BlockWithHalves;
  static constexpr Unit kUnit = unit_of(TensorType::Q6_K);
  static constexpr int kBeside = 1;
  static constexpr bool kMinimum = false;

  template <class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    block.scale = load_halves(rows, offset + 208);
#pragma GCC unroll 2
    for (int part = 0; part < 2; part++) {
      const size_t low_at = offset + 64 * part, high_at = offset + 128 + 32 * part;
      __m256i low[16], high[8];
      load_lanewise(rows, low_at, low);
      load_lanewise(rows, low_at + 16, low + 4);
      load_lanewise(rows, low_at + 32, low + 8);
      load_lanewise(rows, low_at + 48, low + 12);
      load_lanewise(rows, high_at, high);
      load_lanewise(rows, high_at + 16, high + 4);
      __m256i scales[2] = {load_dwords(rows, offset + 192 + 8 * part), load_dwords(rows, offset + 196 + 8 * part)};
#pragma GCC unroll 4
      for (int quarter = 0; quarter < 4; quarter++) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
          const __m256i packed = low[8 * (quarter % 2) + j];
          const __m256i nibbles = quarter < 2 ? low_nibbles(packed) : high_nibbles(packed);
          const __m256i pair = _mm256_slli_epi16(_mm256_and_si256(high[j], _mm256_set1_epi8(3)), 4);
          block.weights[j] = _mm256_sub_epi8(_mm256_or_si256(nibbles, pair), _mm256_set1_epi8(32));
          high[j] = _mm256_srli_epi16(high[j], 2);
        }
        const __m256i bytes = scales[quarter / 2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
          const int at = 2 * (quarter % 2) + half;
          const __m256i scale = _mm256_srai_epi32(_mm256_slli_epi32(bytes, 24 - 8 * at), 24);
          block.halves[half] = _mm256_blend_epi16(scale, _mm256_slli_epi32(scale, 16), 0b10101010);
        }
        use(block);
      }
    }
  }
  /// As |w| ≤ 32, four pairs of products fit 16 bits. Times a scale they fit 32 bits.
  template <int N> static HEARTH_INLINE void dots(const Block& block, const uint8_t* q, const uint8_t*,
                                                  __m256i dot[N]) {
    for (int half = 0; half < 2; half++) {
      __m256i pair[N];
      for (int c = 0; c < N; c++) pair[c] = _mm256_setzero_si256();
      add_dwords<N>(q, 4 * half, 4 * half + 4, pair, AddSignedPairs{block.weights});
      for (int c = 0; c < N; c++) {
        const __m256i scaled = _mm256_madd_epi16(pair[c], block.halves[half]);
        dot[c] = half == 0 ? scaled : _mm256_add_epi32(dot[c], scaled);
      }
    }
  }
};

/// Multiplies scales with the sums of activations, given as half sums.
HEARTH_INLINE __m256 weighted(__m256 scales, __m256i halves) {
  return _mm256_mul_ps(scales, _mm256_cvtepi32_ps(_mm256_madd_epi16(halves, _mm256_set1_epi16(1))));
}

/// Adds the scaled dot products of one block with N columns of a tile to y. The weights stay in registers. A column's
/// sum stays in memory, which costs one access for eight multiplications.
template <class Format, int N>
HEARTH_INLINE void add_columns(const typename Format::Block& block, const uint8_t* q, const uint8_t* scales,
                               const uint8_t* sums, __m256* y) {
  __m256i dot[N];
  Format::template dots<N>(block, q, sums, dot);
  for (int c = 0; c < N; c++)
    y[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), Format::combine(block.scale, scales + 4 * c), y[c]);
}

/// Multiplies one block with a tile's columns, kBeside of them beside each other. Four beside each other are a fifth
/// faster than one by one where the weights are simple. They are slower where they would make the code for a unit's
/// many blocks too long.
template <class Format>
HEARTH_INLINE void add_block(const typename Format::Block& block, const uint8_t* tile, int columns, __m256* y) {
  const uint8_t* scales = tile + kBlock * columns;
  const uint8_t* sums = scales + 4 * columns;
  int c = 0;
  if constexpr (Format::kMinimum) {
    static_assert(Format::kBeside == 1);
#pragma GCC unroll 1
    for (; c + 8 <= columns; c += 8) {
      alignas(32) float of_sums[8];
      const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums + 4 * c));
      _mm256_store_ps(of_sums, weighted(_mm256_loadu_ps(reinterpret_cast<const float*>(scales + 4 * c)), halves));
#pragma GCC unroll 1
      for (int i = 0; i < 8; i++) {
        add_columns<Format, 1>(block, tile + kBlock * (c + i), scales + 4 * (c + i), sums + 4 * (c + i), y + c + i);
        y[c + i] = _mm256_fmadd_ps(block.minimum, _mm256_set1_ps(of_sums[i]), y[c + i]);
      }
    }
  } else if constexpr (Format::kBeside > 1) {
#pragma GCC unroll 1
    for (; c + Format::kBeside <= columns; c += Format::kBeside)
      add_columns<Format, Format::kBeside>(block, tile + kBlock * c, scales + 4 * c, sums + 4 * c, y + c);
  }
#pragma GCC unroll 1
  for (; c < columns; c++) {
    add_columns<Format, 1>(block, tile + kBlock * c, scales + 4 * c, sums + 4 * c, y + c);
    if constexpr (Format::kMinimum) {
      const __m256 scale = _mm256_castsi256_ps(dword_at(scales + 4 * c));
      y[c] = _mm256_fmadd_ps(block.minimum, weighted(scale, dword_at(sums + 4 * c)), y[c]);
    }
  }
}

/// Multiplies 8 rows or fewer with all columns. On the first pass over the blocks, first(b, use) unpacks the blocks of
/// the unit that begins with block b and prefetches the weights that follow. On the other passes, again(b, use) gives
/// block b alone.
template <class Format, class First, class Again>
HEARTH_INLINE void group_lanes(const QuantGroup& g, int rows, float* to, First first, Again again) {
  for (int c = 0; c < g.columns; c += kTileRows) {
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    __m256 y[kTileRows];
    for (int i = 0; i < columns; i++) y[i] = _mm256_setzero_ps();
    const size_t step = kPackedBlockBytes * static_cast<size_t>(columns);
    const auto add = [&](const typename Format::Block& block) __attribute__((always_inline)) {
      add_block<Format>(block, tile, columns, y);
      tile += step;
    };
    if (c == 0)
      for (int b = 0; b < g.blocks; b += Format::kUnit.blocks) first(b, add);
    else
      for (int b = 0; b < g.blocks; b++) again(b, add);
    for (int i = 0; i < columns; i++) {
      alignas(32) float lane[kLaneRows];
      _mm256_store_ps(lane, y[i]);
      memcpy(to + (c + i) * g.ldy, lane, sizeof(float) * static_cast<size_t>(rows));
    }
  }
}

template <class Format> void group_quantised(const QuantGroup& g) {
  auto* unpacked = reinterpret_cast<typename Format::Block*>(g.scratch);
  const bool save = g.columns > kTileRows;
  for (int r = 0; r < g.rows; r += kLaneRows) {
    const int rows = g.rows - r < kLaneRows ? g.rows - r : kLaneRows;
    const uint8_t* weights = g.weights + static_cast<size_t>(r) * g.row_bytes;
    const uint8_t* next = weights + kPrefetchRows * g.row_bytes;
    Rows lanes;
    for (int i = 0; i < kLaneRows; i++)
      lanes.row[i] = weights + static_cast<size_t>(i < rows ? i : rows - 1) * g.row_bytes;
    const auto first = [&](int b, auto use) __attribute__((always_inline)) {
      constexpr Unit kUnit = Format::kUnit;
      for (size_t i = 0; i < kLaneRows * kUnit.bytes; i += 64)
        _mm_prefetch(reinterpret_cast<const char*>(next + i), _MM_HINT_T1);
      next += kLaneRows * kUnit.bytes;
      Format::unpack(lanes, static_cast<size_t>(b / kUnit.blocks) * kUnit.bytes,
                     [&](const typename Format::Block& block) __attribute__((always_inline)) {
                       if (save) unpacked[b++] = block;
                       use(block);
                     });
    };
    group_lanes<Format>(g, rows, g.y + r, first,
                        [&](int b, auto use) __attribute__((always_inline)) { use(unpacked[b]); });
  }
}

// ---- MXFP4 repacked -------------------------------------------------------------------------------------------------
//
// A group of 16 rows is stored as two halves of 8. First come the nibbles: for each half, and for each block, 4 vectors
// with dword j of row r in lane r of vector j. Then come the clamped exponent bytes: for each half, and for each block,
// one byte a row.

/// Bytes of 8 rows' nibbles in a block, and bytes of their exponents.
constexpr size_t kPackedNibbles = 128, kPackedExponents = 8;

void pack_group(const uint8_t* weights, size_t row_bytes, int rows, int blocks, uint8_t* packed) {
  const size_t count = static_cast<size_t>(blocks);
  memset(packed, 0, packed_group_bytes(TensorType::MXFP4, blocks));
  for (int row = 0; row < rows; row++) {
    const size_t half = static_cast<size_t>(row / kLaneRows), lane = static_cast<size_t>(row % kLaneRows);
    uint8_t* nibbles = packed + half * kPackedNibbles * count + 4 * lane;
    uint8_t* exponents = packed + (2 * kPackedNibbles + half * kPackedExponents) * count + lane;
    for (size_t b = 0; b < count; b++) {
      const uint8_t* p = weights + static_cast<size_t>(row) * row_bytes + b * MXFP4::kUnit.bytes;
      for (size_t j = 0; j < 4; j++) memcpy(nibbles + b * kPackedNibbles + 32 * j, p + 1 + 4 * j, 4);
      exponents[b * kPackedExponents] = p[0] < kMinExponent ? kMinExponent : p[0] > kMaxExponent ? kMaxExponent : p[0];
    }
  }
}

void one_group_packed(const QuantGroup& g) {
  const size_t count = static_cast<size_t>(g.blocks);
  const size_t ahead = count * MXFP4::kUnit.bytes * kPrefetchRows;
  for (int r = 0; r < g.rows; r += kLaneRows) {
    const size_t half = static_cast<size_t>(r / kLaneRows);
    const uint8_t* nibbles = g.weights + half * kPackedNibbles * count;
    const uint8_t* exponents = g.weights + (2 * kPackedNibbles + half * kPackedExponents) * count;
    const auto load = [&](int block, auto use) __attribute__((always_inline)) {
      const size_t b = static_cast<size_t>(block);
      __m256i stored[4];
#pragma GCC unroll 4
      for (size_t j = 0; j < 4; j++)
        stored[j] = _mm256_load_si256(reinterpret_cast<const __m256i*>(nibbles + b * kPackedNibbles + 32 * j));
      const auto* e = reinterpret_cast<const __m128i*>(exponents + b * kPackedExponents);
      use(MXFP4::expand(stored, _mm256_cvtepu8_epi32(_mm_loadl_epi64(e))));
    };
    const auto first = [&](int block, auto use) __attribute__((always_inline)) {
      const size_t b = static_cast<size_t>(block);
      _mm_prefetch(reinterpret_cast<const char*>(nibbles + ahead + b * kPackedNibbles), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(nibbles + ahead + b * kPackedNibbles + 64), _MM_HINT_T1);
      if (b % 8 == 0)
        _mm_prefetch(reinterpret_cast<const char*>(exponents + ahead + b * kPackedExponents), _MM_HINT_T1);
      load(block, use);
    };
    group_lanes<MXFP4>(g, g.rows - r < kLaneRows ? g.rows - r : kLaneRows, g.y + r, first, load);
  }
}

void group_packed(const QuantGroup& g) { each_packed_group(g, one_group_packed); }

/// Packs tiles with half sums: for each block, one int16 sum of the elements ≡ 0 and 1 (mod 4) and one of the elements
/// ≡ 2 and 3. So they lie as vpmaddubsw's sums do in a dword.
void pack_tile_by_halves(const int8_t* q, const float* scales, const int32_t* sums, int k, const int32_t* rows,
                         int columns, uint8_t* tile) {
  pack_tile<Avx2>(q, scales, sums, k, rows, columns, tile, [](const int8_t* block, int32_t) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
    const __m256i of_pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), v);
    __m128i sum = _mm_add_epi16(_mm256_castsi256_si128(of_pairs), _mm256_extracti128_si256(of_pairs, 1));
    sum = _mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0b01'00'11'10));
    return _mm_cvtsi128_si32(_mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0b10'11'00'01)));
  });
}

constexpr QuantGroups quant_groups() {
  QuantGroups groups{};
#define HEARTH_GROUP(name, id, ...) groups.of[id] = group_quantised<name>;
  HEARTH_QUANTISED_TYPES(HEARTH_GROUP)
#undef HEARTH_GROUP
  return groups;
}

}  // namespace

const Kernels* avx2_kernels() {
  static constexpr Kernels kernels = [] {
    Kernels set = make_kernels<Avx2>("avx2", quant_groups());
    set.packed_layouts.of[static_cast<size_t>(TensorType::MXFP4)] = {pack_group, group_packed};
    set.pack_tile = pack_tile_by_halves;
    return set;
  }();
  return &kernels;
}

}  // namespace hearth::cpu

#else

namespace hearth::cpu {
const Kernels* avx2_kernels() { return nullptr; }
}  // namespace hearth::cpu

#endif
