// Arm kernels: NEON with dot products (sdot), and 8-bit matrix products (smmla) where the CPU has them.
//
// Quantised groups take 8 rows at a time. Both operands are signed, so the weights need no offset. A single column is
// multiplied with rows as they lie in the file, and each row's partial sums are added up. Several columns are
// multiplied with weights that are rearranged once for all of them.
#include "vector_kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include <arm_neon.h>

#include <type_traits>

#define HEARTH_INLINE inline __attribute__((always_inline))

namespace hearth::cpu {
namespace {

struct Neon {
  struct F {
    float32x4_t v[4];
  };
  static constexpr int kDotRows = 2, kDotColumns = 2, kScoreHeads = 2, kValueHeads = 2, kValueVectors = 2;

  template <class Quarter> static HEARTH_INLINE F each(Quarter quarter) {
    return {{quarter(0), quarter(1), quarter(2), quarter(3)}};
  }
  static F zero() { return set1(0.0f); }
  static F set1(float a) {
    return each([&](int) { return vdupq_n_f32(a); });
  }
  static F load(const float* p) {
    return each([&](int i) { return vld1q_f32(p + 4 * i); });
  }
  static void store(float* p, F x) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, x.v[i]);
  }
  static F load_f16(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(bytes + 8 * i))); });
  }
  static F load_bf16(const void* p) {
    const auto* bytes = static_cast<const uint8_t*>(p);
    return each(
        [&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(bytes + 8 * i)), 16)); });
  }
  static F load_int8(const void* p) {
    const int8x16_t bytes = vld1q_s8(static_cast<const int8_t*>(p));
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    const auto widen = [](int16x4_t v) { return vcvtq_f32_s32(vmovl_s16(v)); };
    return {
        {widen(vget_low_s16(low)), widen(vget_high_s16(low)), widen(vget_low_s16(high)), widen(vget_high_s16(high))}};
  }
  static void store_f16(void* p, F x) {
    auto* bytes = static_cast<uint8_t*>(p);
    for (int i = 0; i < 4; i++) vst1_u8(bytes + 8 * i, vreinterpret_u8_f16(vcvt_f16_f32(x.v[i])));
  }
  static F add(F a, F b) {
    return each([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
  }
  static F sub(F a, F b) {
    return each([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
  }
  static F mul(F a, F b) {
    return each([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
  }
  static F div(F a, F b) {
    return each([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
  }
  static F fma(F a, F b, F c) {
    return each([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
  }
  static F min(F a, F b) {
    return each([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
  }
  static F max(F a, F b) {
    return each([&](int i) { return vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
  }
  static F abs(F a) {
    return each([&](int i) { return vabsq_f32(a.v[i]); });
  }
  static F scale_exponent(F x, F n) {
    return each([&](int i) {
      const uint32x4_t shifted = vshlq_n_u32(vreinterpretq_u32_f32(n.v[i]), 23);
      return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x.v[i]), shifted));
    });
  }
  static F zero_below(F y, F x, float bound) {
    return each([&](int i) {
      const uint32x4_t below = vcltq_f32(x.v[i], vdupq_n_f32(bound));
      return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(y.v[i]), below));
    });
  }
  static F keep_lanes(F x, int first, int last, float other) {
    static constexpr int32_t kLane[4] = {0, 1, 2, 3};
    return each([&](int i) {
      const int32x4_t lane = vaddq_s32(vld1q_s32(kLane), vdupq_n_s32(4 * i));
      const uint32x4_t kept = vandq_u32(vcgeq_s32(lane, vdupq_n_s32(first)), vcltq_s32(lane, vdupq_n_s32(last)));
      return vbslq_f32(kept, x.v[i], vdupq_n_f32(other));
    });
  }
  static float sum(F x) {
    const float32x4_t a = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
    const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
  }
  static float maximum(F x) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3]))); }
  static void store_int8(int8_t* q, F x) {
    const auto words = [](float32x4_t a, float32x4_t b) {
      return vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a)), vmovn_s32(vcvtnq_s32_f32(b)));
    };
    vst1q_s8(q, vcombine_s8(vmovn_s16(words(x.v[0], x.v[1])), vmovn_s16(words(x.v[2], x.v[3]))));
  }
};

constexpr int kLaneRows = 8;
/// How many rows ahead weights are prefetched into L2, linearly.
constexpr size_t kPrefetchRows = 24;

/// The weight rows in the lanes. Lanes past the group's end repeat its last row.
struct Rows {
  const uint8_t* row[kLaneRows];
};

// An arrangement says how 8 rows of 16 bytes lie in registers, and how they are multiplied with kColumns columns: add()
// multiplies 16 elements, finish() gives each column's sums.

/// The sums of 8 rows with one column.
struct Sums {
  int32x4_t low, high;
};

/// The rows as they lie in the file: register r is row r. For a single column.
struct Rowwise {
  static constexpr int kColumns = 1;

  static HEARTH_INLINE void arrange(const uint8x16_t rows[8], uint8x16_t out[8]) {
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) out[r] = rows[r];
  }
  /// Unfinished sums, 4 for each row.
  struct Accumulator {
    int32x4_t rows[8];
  };
  static HEARTH_INLINE void clear(Accumulator& acc) {
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) acc.rows[r] = vdupq_n_s32(0);
  }
  static HEARTH_INLINE void add(const int8x16_t weights[8], const int8_t* q, const int8_t*, Accumulator& acc) {
    const int8x16_t x = vld1q_s8(q);
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) acc.rows[r] = vdotq_s32(acc.rows[r], weights[r], x);
  }
  static HEARTH_INLINE void finish(const Accumulator& acc, Sums sums[1]) {
    const auto four = [&](int r) {
      return vpaddq_s32(vpaddq_s32(acc.rows[r], acc.rows[r + 1]), vpaddq_s32(acc.rows[r + 2], acc.rows[r + 3]));
    };
    sums[0] = {four(0), four(4)};
  }
};

/// Register 4h + j holds dword j of rows 4h..4h+3, so that one sdot with 4 activations of one lane advances 4 rows.
struct Lanewise {
  static constexpr int kColumns = 1;

  static HEARTH_INLINE void arrange(const uint8x16_t rows[8], uint8x16_t out[8]) {
#pragma GCC unroll 2
    for (int h = 0; h < 8; h += 4) {
      const auto r = [&](int i) { return vreinterpretq_u32_u8(rows[h + i]); };
      const uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(r(0), r(1)));
      const uint64x2_t b = vreinterpretq_u64_u32(vtrn2q_u32(r(0), r(1)));
      const uint64x2_t c = vreinterpretq_u64_u32(vtrn1q_u32(r(2), r(3)));
      const uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(r(2), r(3)));
      out[h] = vreinterpretq_u8_u64(vtrn1q_u64(a, c));
      out[h + 1] = vreinterpretq_u8_u64(vtrn1q_u64(b, d));
      out[h + 2] = vreinterpretq_u8_u64(vtrn2q_u64(a, c));
      out[h + 3] = vreinterpretq_u8_u64(vtrn2q_u64(b, d));
    }
  }
  struct Accumulator {
    int32x4_t low, high;
  };
  static HEARTH_INLINE void clear(Accumulator& acc) { acc.low = acc.high = vdupq_n_s32(0); }
  static HEARTH_INLINE void add(const int8x16_t weights[8], const int8_t* q, const int8_t*, Accumulator& acc) {
    const int8x16_t x = vld1q_s8(q);
    acc.low = vdotq_laneq_s32(acc.low, weights[0], x, 0);
    acc.high = vdotq_laneq_s32(acc.high, weights[4], x, 0);
    acc.low = vdotq_laneq_s32(acc.low, weights[1], x, 1);
    acc.high = vdotq_laneq_s32(acc.high, weights[5], x, 1);
    acc.low = vdotq_laneq_s32(acc.low, weights[2], x, 2);
    acc.high = vdotq_laneq_s32(acc.high, weights[6], x, 2);
    acc.low = vdotq_laneq_s32(acc.low, weights[3], x, 3);
    acc.high = vdotq_laneq_s32(acc.high, weights[7], x, 3);
  }
  static HEARTH_INLINE void finish(const Accumulator& acc, Sums sums[1]) { sums[0] = {acc.low, acc.high}; }
};

/// acc (2 × 2) += a (2 rows × 8) · b (2 columns × 8). This is inline assembly because the intrinsic would need the
/// whole file compiled for CPUs with i8mm.
HEARTH_INLINE int32x4_t matrix_multiply(int32x4_t acc, int8x16_t a, int8x16_t b) {
  asm(".arch_extension i8mm\n\tsmmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(a), "w"(b));
  return acc;
}

/// Registers 2p and 2p + 1 hold bytes 0..7 and 8..15 of rows 2p and 2p + 1, so that one smmla multiplies two rows with
/// two columns.
struct Pairwise {
  static constexpr int kColumns = 2;

  static HEARTH_INLINE void arrange(const uint8x16_t rows[8], uint8x16_t out[8]) {
#pragma GCC unroll 4
    for (int p = 0; p < 8; p += 2) {
      const uint64x2_t a = vreinterpretq_u64_u8(rows[p]), b = vreinterpretq_u64_u8(rows[p + 1]);
      out[p] = vreinterpretq_u8_u64(vtrn1q_u64(a, b));
      out[p + 1] = vreinterpretq_u8_u64(vtrn2q_u64(a, b));
    }
  }
  /// Each register has the sums of 2 rows with 2 columns.
  struct Accumulator {
    int32x4_t pairs[4];
  };
  static HEARTH_INLINE void clear(Accumulator& acc) {
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) acc.pairs[p] = vdupq_n_s32(0);
  }
  static HEARTH_INLINE void add(const int8x16_t weights[8], const int8_t* q, const int8_t* other_q, Accumulator& acc) {
    const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(q)), b = vreinterpretq_s64_s8(vld1q_s8(other_q));
    const int8x16_t first = vreinterpretq_s8_s64(vtrn1q_s64(a, b)), second = vreinterpretq_s8_s64(vtrn2q_s64(a, b));
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
      acc.pairs[p] = matrix_multiply(acc.pairs[p], weights[2 * p], first);
      acc.pairs[p] = matrix_multiply(acc.pairs[p], weights[2 * p + 1], second);
    }
  }
  static HEARTH_INLINE void finish(const Accumulator& acc, Sums sums[2]) {
    sums[0] = {vuzp1q_s32(acc.pairs[0], acc.pairs[1]), vuzp1q_s32(acc.pairs[2], acc.pairs[3])};
    sums[1] = {vuzp2q_s32(acc.pairs[0], acc.pairs[1]), vuzp2q_s32(acc.pairs[2], acc.pairs[3])};
  }
};

/// Loads the F16 at `offset` of each of the 8 rows, as floats.
HEARTH_INLINE void load_halves(const Rows& rows, size_t offset, float32x4_t out[2]) {
  uint16_t halves[8];
  for (int r = 0; r < 8; r++) memcpy(&halves[r], rows.row[r] + offset, 2);
  const float16x8_t d = vreinterpretq_f16_u16(vld1q_u16(halves));
  out[0] = vcvt_f32_f16(vget_low_f16(d));
  out[1] = vcvt_f32_f16(vget_high_f16(d));
}

/// Loads the 16 bytes at `offset` of each of the 8 rows and arranges them.
template <class Arrangement> HEARTH_INLINE void load_arranged(const Rows& rows, size_t offset, uint8x16_t out[8]) {
  uint8x16_t raw[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++) raw[r] = vld1q_u8(rows.row[r] + offset);
  Arrangement::arrange(raw, out);
}

/// A block of 8 rows. weights[0..7] hold elements 0..15 of each row, weights[8..15] hold elements 16..31. They are
/// signed and have no offset.
struct Block {
  int8x16_t weights[16];
  float32x4_t scale[2];
};
/// A block whose scales are (e − 128) << 23. Adding this to a float's bits multiplies the float by 2^(e − 128).
struct BlockOfExponents {
  int8x16_t weights[16];
  int32x4_t scale[2];
};
struct BlockWithMinimum : Block {
  float32x4_t minimum[2];
};
/// A block with two more scales, one for elements 0..15 and one for 16..31.
struct BlockWithHalves : Block {
  int32x4_t halves[2][2];
};

// A format has unpack<Arrangement>(rows, offset, use), which calls use(block) for each block of the unit at `offset`,
// in order.

struct MXFP4 {
  using Block = BlockOfExponents;
  static constexpr Unit kUnit = unit_of(TensorType::MXFP4);

  template <class Arrangement, class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    /// The values of E2M1, doubled.
    static constexpr int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const int8x16_t table = vld1q_s8(kValues);
    uint8x16_t packed[8];
    load_arranged<Arrangement>(rows, offset + 1, packed);
    Block block;
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      block.weights[i] = vqtbl1q_s8(table, vandq_u8(packed[i], vdupq_n_u8(15)));
      block.weights[i + 8] = vqtbl1q_s8(table, vshrq_n_u8(packed[i], 4));
    }
    uint8_t bytes[8];
    for (int r = 0; r < 8; r++) bytes[r] = rows.row[r][offset];
    const uint8x8_t e = vmin_u8(vmax_u8(vld1_u8(bytes), vdup_n_u8(kMinExponent)), vdup_n_u8(kMaxExponent));
    const int16x8_t power = vsubq_s16(vreinterpretq_s16_u16(vmovl_u8(e)), vdupq_n_s16(128));
    block.scale[0] = vshlq_n_s32(vmovl_s16(vget_low_s16(power)), 23);
    block.scale[1] = vshlq_n_s32(vmovl_s16(vget_high_s16(power)), 23);
    use(block);
  }
  static HEARTH_INLINE float32x4_t combine(int32x4_t scale, float activation_scale) {
    return vreinterpretq_f32_s32(vaddq_s32(scale, vreinterpretq_s32_f32(vdupq_n_f32(activation_scale))));
  }
};

/// The part that formats whose scale is a float have in common.
struct FloatScale {
  static HEARTH_INLINE float32x4_t combine(float32x4_t scale, float activation_scale) {
    return vmulq_f32(scale, vdupq_n_f32(activation_scale));
  }
};

struct Q8_0 : FloatScale {
  using Block = cpu::Block;
  static constexpr Unit kUnit = unit_of(TensorType::Q8_0);

  template <class Arrangement, class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      uint8x16_t arranged[8];
      load_arranged<Arrangement>(rows, offset + 2 + 16 * half, arranged);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) block.weights[8 * half + i] = vreinterpretq_s8_u8(arranged[i]);
    }
    load_halves(rows, offset, block.scale);
    use(block);
  }
};

template <TensorType type, bool Minimum, bool Fifth> struct Nibbles : FloatScale {
  using Block = std::conditional_t<Minimum, BlockWithMinimum, cpu::Block>;
  static constexpr Unit kUnit = unit_of(type);

  template <class Arrangement, class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    constexpr size_t kFifth = Minimum ? 4 : 2, kNibbles = kFifth + (Fifth ? 4 : 0);
    constexpr int8_t kOffset = Minimum ? 0 : Fifth ? 16 : 8;
    uint8x16_t raw[2][8], packed[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
      packed[r] = vld1q_u8(rows.row[r] + offset + kNibbles);
      raw[0][r] = vandq_u8(packed[r], vdupq_n_u8(15));
      raw[1][r] = vshrq_n_u8(packed[r], 4);
      if constexpr (Fifth)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++)
          raw[half][r] = vorrq_u8(raw[half][r], fifth_bits(rows.row[r] + offset + kFifth + 2 * half));
    }
    Block block;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      Arrangement::arrange(raw[half], packed);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++)
        block.weights[8 * half + i] = vsubq_s8(vreinterpretq_s8_u8(packed[i]), vdupq_n_s8(kOffset));
    }
    load_halves(rows, offset, block.scale);
    if constexpr (Minimum) load_halves(rows, offset + 2, block.minimum);
    use(block);
  }
  /// Gives 16 for each bit of two bytes that is set, and 0 for each that is not.
  static HEARTH_INLINE uint8x16_t fifth_bits(const uint8_t* bytes) {
    static constexpr uint8_t kBits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t both = vcombine_u8(vdup_n_u8(bytes[0]), vdup_n_u8(bytes[1]));
    return vandq_u8(vtstq_u8(both, vld1q_u8(kBits)), vdupq_n_u8(16));
  }
};

using Q4_0 = Nibbles<TensorType::Q4_0, false, false>;
using Q4_1 = Nibbles<TensorType::Q4_1, true, false>;
using Q5_0 = Nibbles<TensorType::Q5_0, false, true>;
using Q5_1 = Nibbles<TensorType::Q5_1, true, true>;

template <TensorType type, bool Fifth> struct NibblesK : FloatScale {
  using Block = BlockWithMinimum;
  static constexpr Unit kUnit = unit_of(type);

  template <class Arrangement, class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    float32x4_t d[2], dmin[2];
    load_halves(rows, offset, d);
    load_halves(rows, offset + 2, dmin);
    uint8_t scales[8][kLaneRows], minima[8][kLaneRows];  // [sub-block][row]
#pragma GCC unroll 1
    for (int r = 0; r < kLaneRows; r++) {
      const uint8_t* packed = rows.row[r] + offset + 4;
      for (int s = 0; s < 4; s++) {
        scales[s][r] = packed[s] & 63;
        minima[s][r] = packed[s + 4] & 63;
        scales[s + 4][r] = static_cast<uint8_t>((packed[s + 8] & 15) | (packed[s] >> 6) << 4);
        minima[s + 4][r] = static_cast<uint8_t>(packed[s + 8] >> 4 | (packed[s + 4] >> 6) << 4);
      }
    }
    uint8x16_t fifth[2][8];
    if constexpr (Fifth) {
      load_arranged<Arrangement>(rows, offset + 16, fifth[0]);
      load_arranged<Arrangement>(rows, offset + 32, fifth[1]);
    }
#pragma GCC unroll 1
    for (int s = 0; s < 8; s++) {
      Block block;
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        uint8x16_t packed[8];
        load_arranged<Arrangement>(rows, offset + (Fifth ? 48 : 16) + static_cast<size_t>(s / 2 * 32 + 16 * half),
                                   packed);
        const int8x16_t down = vdupq_n_s8(static_cast<int8_t>(s % 2 ? -4 : 0));
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
          uint8x16_t w = vandq_u8(vshlq_u8(packed[i], down), vdupq_n_u8(15));
          if constexpr (Fifth) {
            w = vorrq_u8(w, vshlq_n_u8(vandq_u8(fifth[half][i], vdupq_n_u8(1)), 4));
            fifth[half][i] = vshrq_n_u8(fifth[half][i], 1);
          }
          block.weights[8 * half + i] = vreinterpretq_s8_u8(w);
        }
      }
      float32x4_t scale[2], minimum[2];
      widen(scales[s], scale);
      widen(minima[s], minimum);
#pragma GCC unroll 2
      for (int i = 0; i < 2; i++) {
        block.scale[i] = vmulq_f32(d[i], scale[i]);
        block.minimum[i] = vnegq_f32(vmulq_f32(dmin[i], minimum[i]));
      }
      use(block);
    }
  }
  static HEARTH_INLINE void widen(const uint8_t bytes[8], float32x4_t out[2]) {
    const uint16x8_t words = vmovl_u8(vld1_u8(bytes));
    out[0] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(words)));
    out[1] = vcvtq_f32_u32(vmovl_u16(vget_high_u16(words)));
  }
};

using Q4_K = NibblesK<TensorType::Q4_K, false>;
using Q5_K = NibblesK<TensorType::Q5_K, true>;

struct Q6_K : FloatScale {
  using Block = BlockWithHalves;
  static constexpr Unit kUnit = unit_of(TensorType::Q6_K);

  template <class Arrangement, class Use> static HEARTH_INLINE void unpack(const Rows& rows, size_t offset, Use use) {
    Block block;
    load_halves(rows, offset + 208, block.scale);
#pragma GCC unroll 1
    for (int s = 0; s < 8; s++) {
      const int part = s / 4, quarter = s % 4;
      const int8x16_t low_shift = vdupq_n_s8(static_cast<int8_t>(quarter < 2 ? 0 : -4));
      const int8x16_t high_shift = vdupq_n_s8(static_cast<int8_t>(-2 * quarter));
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        const size_t at = static_cast<size_t>(16 * half);
        uint8x16_t low[8], high[8];
        load_arranged<Arrangement>(rows, offset + static_cast<size_t>(64 * part + 32 * (quarter % 2)) + at, low);
        load_arranged<Arrangement>(rows, offset + static_cast<size_t>(128 + 32 * part) + at, high);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
          const uint8x16_t nibbles = vandq_u8(vshlq_u8(low[i], low_shift), vdupq_n_u8(15));
          const uint8x16_t pair = vshlq_n_u8(vandq_u8(vshlq_u8(high[i], high_shift), vdupq_n_u8(3)), 4);
          block.weights[8 * half + i] = vsubq_s8(vreinterpretq_s8_u8(vorrq_u8(nibbles, pair)), vdupq_n_s8(32));
        }
        int8_t scales[8];
        for (int r = 0; r < 8; r++)
          scales[r] = static_cast<int8_t>(rows.row[r][offset + static_cast<size_t>(192 + 2 * s + half)]);
        const int16x8_t words = vmovl_s8(vld1_s8(scales));
        block.halves[half][0] = vmovl_s16(vget_low_s16(words));
        block.halves[half][1] = vmovl_s16(vget_high_s16(words));
      }
      use(block);
    }
  }
};

/// Computes the integer dot products of a block with kColumns columns.
template <class Arrangement, class AnyBlock>
HEARTH_INLINE void dot(const AnyBlock& block, const int8_t* q, const int8_t* other_q, Sums* sums) {
  typename Arrangement::Accumulator acc;
  Arrangement::clear(acc);
  Arrangement::add(block.weights, q, other_q, acc);
  if constexpr (requires { block.halves; }) {
    Sums halves[2][Arrangement::kColumns];
    Arrangement::finish(acc, halves[0]);
    Arrangement::clear(acc);
    Arrangement::add(block.weights + 8, q + 16, other_q + 16, acc);
    Arrangement::finish(acc, halves[1]);
#pragma GCC unroll 2
    for (int i = 0; i < Arrangement::kColumns; i++)
      sums[i] = {vmlaq_s32(vmulq_s32(halves[0][i].low, block.halves[0][0]), halves[1][i].low, block.halves[1][0]),
                 vmlaq_s32(vmulq_s32(halves[0][i].high, block.halves[0][1]), halves[1][i].high, block.halves[1][1])};
  } else {
    Arrangement::add(block.weights + 8, q + 16, other_q + 16, acc);
    Arrangement::finish(acc, sums);
  }
}

/// Multiplies one block with a tile's columns. The weights stay in registers; the sums of 8 rows stay in memory.
template <class Format, class Arrangement>
HEARTH_INLINE void add_block(const typename Format::Block& block, const uint8_t* tile, int columns,
                             float (*y)[kLaneRows]) {
  const auto* q = reinterpret_cast<const int8_t*>(tile);
  const uint8_t* scales = tile + kBlock * columns;
  constexpr int kTogether = Arrangement::kColumns;
#pragma GCC unroll 1
  for (int c = 0; c < columns; c += kTogether) {
    const int other = c + kTogether - 1 < columns ? c + kTogether - 1 : c;
    Sums sums[kTogether];
    dot<Arrangement>(block, q + kBlock * c, q + kBlock * other, sums);
#pragma GCC unroll 2
    for (int i = 0; i < kTogether; i++) {
      if (i > 0 && other == c) break;  // a last column without a neighbour was paired with itself
      float scale;
      memcpy(&scale, scales + 4 * (c + i), 4);
      const float32x4_t low = vcvtq_f32_s32(sums[i].low), high = vcvtq_f32_s32(sums[i].high);
      float32x4_t y0 = vfmaq_f32(vld1q_f32(y[c + i]), low, Format::combine(block.scale[0], scale));
      float32x4_t y1 = vfmaq_f32(vld1q_f32(y[c + i] + 4), high, Format::combine(block.scale[1], scale));
      if constexpr (requires { block.minimum; }) {
        int32_t sum;
        memcpy(&sum, scales + 4 * (columns + c + i), 4);
        const float32x4_t weighted = vdupq_n_f32(scale * static_cast<float>(sum));
        y0 = vfmaq_f32(y0, block.minimum[0], weighted);
        y1 = vfmaq_f32(y1, block.minimum[1], weighted);
      }
      vst1q_f32(y[c + i], y0);
      vst1q_f32(y[c + i] + 4, y1);
    }
  }
}

/// Multiplies 8 rows or fewer with all columns.
template <class Format, class Arrangement>
void group_lanes(const QuantGroup& g, const uint8_t* weights, int rows, float* to) {
  Rows lanes;
  for (int r = 0; r < kLaneRows; r++)
    lanes.row[r] = weights + static_cast<size_t>(r < rows ? r : rows - 1) * g.row_bytes;
  const uint8_t* next = weights + kPrefetchRows * g.row_bytes;
  auto* unpacked = reinterpret_cast<typename Format::Block*>(g.scratch);
  const bool save = g.columns > kTileRows;
  constexpr Unit kUnit = Format::kUnit;
  for (int c = 0; c < g.columns; c += kTileRows) {
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    const size_t tile_block = kPackedBlockBytes * static_cast<size_t>(columns);
    float y[kTileRows][kLaneRows] = {};
    if (c == 0) {
      for (int b = 0; b < g.blocks;) {
        for (size_t i = 0; i < kLaneRows * kUnit.bytes; i += 64) __builtin_prefetch(next + i, 0, 2);
        next += kLaneRows * kUnit.bytes;
        Format::template unpack<Arrangement>(lanes, static_cast<size_t>(b / kUnit.blocks) * kUnit.bytes,
                                             [&](const typename Format::Block& block) __attribute__((always_inline)) {
                                               if (save) unpacked[b] = block;
                                               add_block<Format, Arrangement>(block, tile, columns, y);
                                               b++;
                                               tile += tile_block;
                                             });
      }
    } else {
      for (int b = 0; b < g.blocks; b++, tile += tile_block)
        add_block<Format, Arrangement>(unpacked[b], tile, columns, y);
    }
    for (int i = 0; i < columns; i++) memcpy(to + (c + i) * g.ldy, y[i], sizeof(float) * static_cast<size_t>(rows));
  }
}

template <class Format, class Arrangement> void group_quantised(const QuantGroup& g) {
  const auto lanes = g.columns == 1 ? group_lanes<Format, Rowwise> : group_lanes<Format, Arrangement>;
  for (int r = 0; r < g.rows; r += kLaneRows)
    lanes(g, g.weights + static_cast<size_t>(r) * g.row_bytes, g.rows - r < kLaneRows ? g.rows - r : kLaneRows,
          g.y + r);
}

template <class Arrangement> constexpr QuantGroups quant_groups() {
  QuantGroups groups{};
#define HEARTH_GROUP(name, id, ...) groups.of[id] = group_quantised<name, Arrangement>;
  HEARTH_QUANTISED_TYPES(HEARTH_GROUP)
#undef HEARTH_GROUP
  return groups;
}

bool has_i8mm() {
  for (const char* const* feature = cpu_features(); *feature; feature++)
    if (strcmp(*feature, "i8mm") == 0) return true;
  return false;
}

}  // namespace

const Kernels* neon_kernels() {
  static constexpr Kernels plain = make_kernels<Neon>("neon", quant_groups<Lanewise>());
  static constexpr Kernels with_i8mm = make_kernels<Neon>("neon", quant_groups<Pairwise>());
  return has_i8mm() ? &with_i8mm : &plain;
}

}  // namespace hearth::cpu

#else

namespace hearth::cpu {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace hearth::cpu

#endif
