// Kernels in plain C++ for any CPU. They state what the other kernel sets must compute, bit for bit.
#include "../core/floats.h"
#include "vector_kernels.h"

namespace hearth::cpu {
namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

uint16_t float_to_half(float x) {
  const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the half is denormal. Adding 0.5 leaves the number of its steps of 2^-24, rounded, in the low bits.
    return static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3F000000u));
  }
  const uint32_t odd = magnitude >> 13 & 1u;
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000u + 0xFFFu + odd) >> 13);
}

/// The vector type of vector_kernels.h as a plain array. exp_f32 uses it with one lane.
template <int Lanes> struct Array {
  struct F {
    float lane[Lanes];
  };
  static constexpr int kDotRows = 1, kDotColumns = 1, kScoreHeads = 1, kValueHeads = 1, kValueVectors = 1;

  template <class Lane> static F each(Lane lane) {
    F v;
    for (int i = 0; i < Lanes; i++) v.lane[i] = lane(i);
    return v;
  }
  static F zero() { return set1(0.0f); }
  static F set1(float a) {
    return each([&](int) { return a; });
  }
  static F load(const float* p) {
    F v;
    memcpy(v.lane, p, sizeof v.lane);
    return v;
  }
  static void store(float* p, F v) { memcpy(p, v.lane, sizeof v.lane); }
  static F load_f16(const void* p) {
    uint16_t halves[Lanes];
    memcpy(halves, p, sizeof halves);
    return each([&](int i) { return half_to_float(halves[i]); });
  }
  static F load_bf16(const void* p) {
    uint16_t halves[Lanes];
    memcpy(halves, p, sizeof halves);
    return each([&](int i) { return bfloat_to_float(halves[i]); });
  }
  static F load_int8(const void* p) {
    int8_t bytes[Lanes];
    memcpy(bytes, p, sizeof bytes);
    return each([&](int i) { return static_cast<float>(bytes[i]); });
  }
  static void store_f16(void* p, F v) {
    uint16_t halves[Lanes];
    for (int i = 0; i < Lanes; i++) halves[i] = float_to_half(v.lane[i]);
    memcpy(p, halves, sizeof halves);
  }
  static F add(F a, F b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static F sub(F a, F b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static F mul(F a, F b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  static F div(F a, F b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  static F fma(F a, F b, F c) {
    return each([&](int i) { return fmaf(a.lane[i], b.lane[i], c.lane[i]); });
  }
  static F min(F a, F b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static F max(F a, F b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static F abs(F a) {
    return each([&](int i) { return fabsf(a.lane[i]); });
  }
  static F scale_exponent(F v, F n) {
    return each([&](int i) { return float_of(bits_of(v.lane[i]) + (bits_of(n.lane[i]) << 23)); });
  }
  static F zero_below(F v, F x, float bound) {
    return each([&](int i) { return x.lane[i] < bound ? 0.0f : v.lane[i]; });
  }
  static F keep_lanes(F v, int first, int last, float other) {
    return each([&](int i) { return i >= first && i < last ? v.lane[i] : other; });
  }
  static float sum(F v) {
    for (int half = Lanes / 2; half > 0; half /= 2)
      for (int i = 0; i < half; i++) v.lane[i] += v.lane[i + half];
    return v.lane[0];
  }
  static float maximum(F v) {
    float m = v.lane[0];
    for (int i = 1; i < Lanes; i++) m = v.lane[i] > m ? v.lane[i] : m;
    return m;
  }
  static void store_int8(int8_t* q, F v) {
    for (int i = 0; i < Lanes; i++) q[i] = static_cast<int8_t>(v.lane[i]);
  }
};

/// A block of weights as the contract of QuantGroup describes it.
struct Block {
  int16_t integers[kBlock];
  float scale;    ///< D_b
  float minimum;  ///< M_b, in formats with kMinimum only
};

uint16_t load16(const uint8_t* p) {
  uint16_t value;
  memcpy(&value, p, 2);
  return value;
}

// The formats. Each quantised type has a struct of its name, whose unpack(unit, i, block) gives block i of a unit.

struct MXFP4 {
  static constexpr Unit kUnit = unit_of(TensorType::MXFP4);
  static constexpr bool kMinimum = false;
  /// Twice the values of E2M1.
  static constexpr int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  static void unpack(const uint8_t* unit, int, Block& block) {
    for (int i = 0; i < 16; i++) {
      block.integers[i] = kValues[unit[1 + i] & 15];
      block.integers[i + 16] = kValues[unit[1 + i] >> 4];
    }
    int e = unit[0];
    e = e < kMinExponent ? kMinExponent : e > kMaxExponent ? kMaxExponent : e;
    block.scale = float_of(static_cast<uint32_t>(e - 128 + 127) << 23);
  }
};
struct Q8_0 {
  static constexpr Unit kUnit = unit_of(TensorType::Q8_0);
  static constexpr bool kMinimum = false;
  static void unpack(const uint8_t* unit, int, Block& block) {
    for (int i = 0; i < kBlock; i++) block.integers[i] = static_cast<int8_t>(unit[2 + i]);
    block.scale = half_to_float(load16(unit));
  }
};

template <TensorType type, bool Minimum, bool Fifth> struct Nibbles {
  static constexpr Unit kUnit = unit_of(type);
  static constexpr bool kMinimum = Minimum;
  static void unpack(const uint8_t* unit, int, Block& block) {
    block.scale = half_to_float(load16(unit));
    block.minimum = Minimum ? half_to_float(load16(unit + 2)) : 0.0f;
    const uint8_t* fifth = unit + (Minimum ? 4 : 2);
    const uint8_t* nibbles = fifth + (Fifth ? 4 : 0);
    constexpr int kOffset = Minimum ? 0 : Fifth ? 16 : 8;
    for (int i = 0; i < kBlock; i++) {
      int q = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
      if (Fifth) q |= (fifth[i / 8] >> i % 8 & 1) << 4;
      block.integers[i] = static_cast<int16_t>(q - kOffset);
    }
  }
};

using Q4_0 = Nibbles<TensorType::Q4_0, false, false>;
using Q4_1 = Nibbles<TensorType::Q4_1, true, false>;
using Q5_0 = Nibbles<TensorType::Q5_0, false, true>;
using Q5_1 = Nibbles<TensorType::Q5_1, true, true>;

template <TensorType type, bool Fifth> struct NibblesK {
  static constexpr Unit kUnit = unit_of(type);
  static constexpr bool kMinimum = true;
  static void unpack(const uint8_t* unit, int s, Block& block) {
    const uint8_t* packed = unit + 4;
    const int scale = s < 4 ? packed[s] & 63 : (packed[s + 4] & 15) | (packed[s - 4] >> 6) << 4;
    const int minimum = s < 4 ? packed[s + 4] & 63 : packed[s + 4] >> 4 | (packed[s] >> 6) << 4;
    block.scale = half_to_float(load16(unit)) * static_cast<float>(scale);
    block.minimum = -(half_to_float(load16(unit + 2)) * static_cast<float>(minimum));
    const uint8_t* fifth = unit + 16;
    const uint8_t* nibbles = unit + (Fifth ? 48 : 16) + s / 2 * 32;
    for (int i = 0; i < kBlock; i++) {
      int q = s % 2 ? nibbles[i] >> 4 : nibbles[i] & 15;
      if (Fifth) q |= (fifth[i] >> s & 1) << 4;
      block.integers[i] = static_cast<int16_t>(q);
    }
  }
};

using Q4_K = NibblesK<TensorType::Q4_K, false>;
using Q5_K = NibblesK<TensorType::Q5_K, true>;

struct Q6_K {
  static constexpr Unit kUnit = unit_of(TensorType::Q6_K);
  static constexpr bool kMinimum = false;
  static void unpack(const uint8_t* unit, int s, Block& block) {
    const uint8_t *low = unit + s / 4 * 64 + s % 2 * 32, *high = unit + 128 + s / 4 * 32;
    const int quarter = s % 4;
    for (int i = 0; i < kBlock; i++) {
      const int q = (quarter < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> 2 * quarter & 3) << 4;
      block.integers[i] = static_cast<int16_t>(static_cast<int8_t>(unit[192 + 2 * s + i / 16]) * (q - 32));
    }
    block.scale = half_to_float(load16(unit + 208));
  }
};

/// Multiplies one weight row with one tile of up to 16 columns.
template <class Format>
void row_times_tile(const uint8_t* row, int blocks, const uint8_t* tile, int columns, float* y, size_t ldy) {
  float acc[kTileRows] = {};
  for (int b = 0; b < blocks; b++, tile += kPackedBlockBytes * columns) {
    Block block;
    Format::unpack(row + static_cast<size_t>(b / Format::kUnit.blocks) * Format::kUnit.bytes, b % Format::kUnit.blocks,
                   block);
    for (int c = 0; c < columns; c++) {
      int8_t q[kBlock];
      float scale;
      int32_t sum;
      memcpy(q, tile + c * kBlock, kBlock);
      memcpy(&scale, tile + columns * kBlock + c * 4, 4);
      memcpy(&sum, tile + columns * (kBlock + 4) + c * 4, 4);
      int32_t dot = 0;
      for (int i = 0; i < kBlock; i++) dot += int32_t{block.integers[i]} * int32_t{q[i]};
      acc[c] = fmaf(static_cast<float>(dot), block.scale * scale, acc[c]);
      if (Format::kMinimum) acc[c] = fmaf(block.minimum, scale * static_cast<float>(sum), acc[c]);
    }
  }
  for (int c = 0; c < columns; c++) y[c * ldy] = acc[c];
}

template <class Format> void group_quantised(const QuantGroup& g) {
  for (int c = 0; c < g.columns; c += kTileRows) {
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    for (int r = 0; r < g.rows; r++)
      row_times_tile<Format>(g.weights + r * g.row_bytes, g.blocks, tile, columns, g.y + c * g.ldy + r, g.ldy);
  }
}

constexpr QuantGroups quant_groups() {
  QuantGroups groups{};
#define HEARTH_GROUP(name, id, ...) groups.of[id] = group_quantised<name>;
  HEARTH_QUANTISED_TYPES(HEARTH_GROUP)
#undef HEARTH_GROUP
  return groups;
}

}  // namespace

float exp_f32(float x) { return exp<Array<1>>({x}).lane[0]; }

const Kernels* portable_kernels() {
  static constexpr Kernels kernels = make_kernels<Array<kLanes>>("portable", quant_groups());
  return &kernels;
}

}  // namespace hearth::cpu
