// Arm kernels: NEON with dot products (sdot), and 8-bit matrix products (smmla) where the CPU has them.
//
// Quantised groups take 8 rows at a time. Both operands are signed, so no offset is needed. One column multiplies rows as
// they lie in the file and adds up each row's partial sums; more columns use weights rearranged once for all of them.
#include "vector_kernels.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)

#include <arm_neon.h>

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
    return each([&](int i) {
      return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(bytes + 8 * i)), 16));
    });
  }
  static F load_int8(const void* p) {
    const int8x16_t bytes = vld1q_s8(static_cast<const int8_t*>(p));
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    const auto widen = [](int16x4_t v) { return vcvtq_f32_s32(vmovl_s16(v)); };
    return {{widen(vget_low_s16(low)), widen(vget_high_s16(low)), widen(vget_low_s16(high)),
             widen(vget_high_s16(high))}};
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
/// Rows ahead that weights are prefetched into L2, linearly.
constexpr size_t kPrefetchRows = 24;

/// The rows in the lanes; those past the group's end repeat its last.
struct Rows {
  const uint8_t* row[kLaneRows];
};

/// How 8 rows of 16 bytes are arranged for the multiplication, and the multiplication itself. `weights` are a block's two
/// halves (elements 0..15 and 16..31), 8 registers each; the result is 8 sums, one a row.
struct Sums {
  int32x4_t low, high;
};

/// Rows as they lie: register r is row r. For one column.
struct Rowwise {
  static constexpr int kColumns = 1;

  static HEARTH_INLINE void arrange(const uint8x16_t rows[8], uint8x16_t out[8]) {
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) out[r] = rows[r];
  }
  static HEARTH_INLINE void dot(const int8x16_t weights[16], const int8_t* q, const int8_t*, Sums sums[1]) {
    const int8x16_t q0 = vld1q_s8(q), q1 = vld1q_s8(q + 16);
    const auto row = [&](int r) {
      return vdotq_s32(vdotq_s32(vdupq_n_s32(0), weights[r], q0), weights[r + 8], q1);
    };
    const auto four = [&](int r) {
      return vpaddq_s32(vpaddq_s32(row(r), row(r + 1)), vpaddq_s32(row(r + 2), row(r + 3)));
    };
    sums[0] = {four(0), four(4)};
  }
};

/// Register 4h + j holds dword j of rows 4h..4h+3: sdot by 4 activations of one lane advances 4 rows.
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
  static HEARTH_INLINE void dot(const int8x16_t weights[16], const int8_t* q, const int8_t*, Sums sums[1]) {
    const int8x16_t q0 = vld1q_s8(q), q1 = vld1q_s8(q + 16);
    const auto half = [&](int h) {
      int32x4_t a = vdotq_laneq_s32(vdupq_n_s32(0), weights[h], q0, 0);
      int32x4_t b = vdotq_laneq_s32(vdupq_n_s32(0), weights[h + 8], q1, 0);
      a = vdotq_laneq_s32(a, weights[h + 1], q0, 1);
      b = vdotq_laneq_s32(b, weights[h + 9], q1, 1);
      a = vdotq_laneq_s32(a, weights[h + 2], q0, 2);
      b = vdotq_laneq_s32(b, weights[h + 10], q1, 2);
      a = vdotq_laneq_s32(a, weights[h + 3], q0, 3);
      b = vdotq_laneq_s32(b, weights[h + 11], q1, 3);
      return vaddq_s32(a, b);
    };
    sums[0] = {half(0), half(4)};
  }
};

/// acc (2 × 2) += a (2 rows × 8) · b (2 columns × 8). Inline assembly: the intrinsic would need the whole file compiled
/// for CPUs that have it.
HEARTH_INLINE int32x4_t matrix_multiply(int32x4_t acc, int8x16_t a, int8x16_t b) {
  asm(".arch_extension i8mm\n\tsmmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(a), "w"(b));
  return acc;
}

/// Registers 2p and 2p + 1 hold bytes 0..7 and 8..15 of rows 2p and 2p + 1: smmla multiplies them by two columns.
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
  static HEARTH_INLINE void dot(const int8x16_t weights[16], const int8_t* q, const int8_t* other_q, Sums sums[2]) {
    int8x16_t x[4];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
      const int64x2_t a = vreinterpretq_s64_s8(vld1q_s8(q + 16 * i)), b = vreinterpretq_s64_s8(vld1q_s8(other_q + 16 * i));
      x[2 * i] = vreinterpretq_s8_s64(vtrn1q_s64(a, b));
      x[2 * i + 1] = vreinterpretq_s8_s64(vtrn2q_s64(a, b));
    }
    int32x4_t acc[4];
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
      acc[p] = matrix_multiply(vdupq_n_s32(0), weights[2 * p], x[0]);
      acc[p] = matrix_multiply(acc[p], weights[2 * p + 1], x[1]);
      acc[p] = matrix_multiply(acc[p], weights[2 * p + 8], x[2]);
      acc[p] = matrix_multiply(acc[p], weights[2 * p + 9], x[3]);
    }
    sums[0] = {vuzp1q_s32(acc[0], acc[1]), vuzp1q_s32(acc[2], acc[3])};
    sums[1] = {vuzp2q_s32(acc[0], acc[1]), vuzp2q_s32(acc[2], acc[3])};
  }
};

/// A block of 8 rows: weights[0..7] from elements 0..15 of each row, weights[8..15] from 16..31; scales as 8 dwords.
struct Block {
  int8x16_t weights[16];
  int32x4_t scale[2];
};

struct Mxfp4 {
  static constexpr size_t kBlockBytes = 17;

  template <class Arrangement> static HEARTH_INLINE Block unpack(const Rows& rows, size_t offset) {
    /// The values of E2M1, doubled.
    static constexpr int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const int8x16_t table = vld1q_s8(kValues);
    uint8x16_t raw[8], packed[8];
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) raw[r] = vld1q_u8(rows.row[r] + offset + 1);
    Arrangement::arrange(raw, packed);
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
    return block;
  }
  /// Adding (e − 128) << 23 to a float's bits multiplies it by 2^(e − 128).
  static HEARTH_INLINE float32x4_t combine(int32x4_t scale, float activation_scale) {
    return vreinterpretq_f32_s32(vaddq_s32(scale, vreinterpretq_s32_f32(vdupq_n_f32(activation_scale))));
  }
};

struct Q8_0 {
  static constexpr size_t kBlockBytes = 34;

  template <class Arrangement> static HEARTH_INLINE Block unpack(const Rows& rows, size_t offset) {
    uint8x16_t raw[8], arranged[8];
    Block block;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
#pragma GCC unroll 8
      for (int r = 0; r < 8; r++) raw[r] = vld1q_u8(rows.row[r] + offset + 2 + 16 * half);
      Arrangement::arrange(raw, arranged);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) block.weights[8 * half + i] = vreinterpretq_s8_u8(arranged[i]);
    }
    uint16_t halves[8];
    for (int r = 0; r < 8; r++) memcpy(&halves[r], rows.row[r] + offset, 2);
    const float16x8_t d = vreinterpretq_f16_u16(vld1q_u16(halves));
    block.scale[0] = vreinterpretq_s32_f32(vcvt_f32_f16(vget_low_f16(d)));
    block.scale[1] = vreinterpretq_s32_f32(vcvt_f32_f16(vget_high_f16(d)));
    return block;
  }
  static HEARTH_INLINE float32x4_t combine(int32x4_t scale, float activation_scale) {
    return vmulq_f32(vreinterpretq_f32_s32(scale), vdupq_n_f32(activation_scale));
  }
};

/// One block times a tile's columns. The weights stay in registers; the sums of 8 rows stay in memory.
template <class Format, class Arrangement>
HEARTH_INLINE void add_block(const Block& block, const uint8_t* tile, int columns, float (*y)[kLaneRows]) {
  const auto* q = reinterpret_cast<const int8_t*>(tile);
  const uint8_t* scales = tile + kBlock * columns;
  constexpr int kTogether = Arrangement::kColumns;
#pragma GCC unroll 1
  for (int c = 0; c < columns; c += kTogether) {
    const int other = c + kTogether - 1 < columns ? c + kTogether - 1 : c;
    Sums sums[kTogether];
    Arrangement::dot(block.weights, q + kBlock * c, q + kBlock * other, sums);
#pragma GCC unroll 2
    for (int i = 0; i < kTogether; i++) {
      if (i > 0 && other == c) break;  // the last column of an odd number went with itself
      float scale;
      memcpy(&scale, scales + 4 * (c + i), 4);
      float* to = y[c + i];
      const float32x4_t low = vcvtq_f32_s32(sums[i].low), high = vcvtq_f32_s32(sums[i].high);
      vst1q_f32(to, vfmaq_f32(vld1q_f32(to), low, Format::combine(block.scale[0], scale)));
      vst1q_f32(to + 4, vfmaq_f32(vld1q_f32(to + 4), high, Format::combine(block.scale[1], scale)));
    }
  }
}

/// 8 rows or fewer times all columns.
template <class Format, class Arrangement>
void group_lanes(const QuantGroup& g, const uint8_t* weights, int rows, float* to) {
  Rows lanes;
  for (int r = 0; r < kLaneRows; r++) lanes.row[r] = weights + static_cast<size_t>(r < rows ? r : rows - 1) * g.row_bytes;
  const uint8_t* next = weights + kPrefetchRows * g.row_bytes;
  auto* unpacked = reinterpret_cast<Block*>(g.scratch);
  const bool save = g.columns > kTileRows;
  for (int c = 0; c < g.columns; c += kTileRows) {
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    const size_t tile_block = kPackedBlockBytes * static_cast<size_t>(columns);
    float y[kTileRows][kLaneRows] = {};
    if (c == 0) {
      for (int b = 0; b < g.blocks; b++, tile += tile_block) {
        for (size_t i = 0; i < kLaneRows * Format::kBlockBytes; i += 64) __builtin_prefetch(next + i, 0, 2);
        next += kLaneRows * Format::kBlockBytes;
        const Block block = Format::template unpack<Arrangement>(lanes, static_cast<size_t>(b) * Format::kBlockBytes);
        if (save) unpacked[b] = block;
        add_block<Format, Arrangement>(block, tile, columns, y);
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
    lanes(g, g.weights + static_cast<size_t>(r) * g.row_bytes, g.rows - r < kLaneRows ? g.rows - r : kLaneRows, g.y + r);
}

bool has_i8mm() {
  for (const char* const* feature = cpu_features(); *feature; feature++)
    if (strcmp(*feature, "i8mm") == 0) return true;
  return false;
}

}  // namespace

const Kernels* neon_kernels() {
  static constexpr Kernels plain =
      make_kernels<Neon>("neon", group_quantised<Mxfp4, Lanewise>, group_quantised<Q8_0, Lanewise>);
  static constexpr Kernels with_i8mm =
      make_kernels<Neon>("neon", group_quantised<Mxfp4, Pairwise>, group_quantised<Q8_0, Pairwise>);
  return has_i8mm() ? &with_i8mm : &plain;
}

}  // namespace hearth::cpu

#else

namespace hearth::cpu {
const Kernels* neon_kernels() { return nullptr; }
}  // namespace hearth::cpu

#endif
