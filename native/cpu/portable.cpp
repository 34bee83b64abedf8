// Kernels in plain C++ for any CPU: the statement of what the instruction sets must compute, bit for bit.
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

float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, exponent = half >> 10 & 31u, mantissa = half & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return float_of(bits_of(magnitude) | sign);
  }
  if (exponent == 31) return float_of(sign | 0x7F800000u | (mantissa ? 0x400000u : 0u) | mantissa << 13);
  return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t float_to_half(float x) {
  const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
  if (magnitude >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the half is denormal: adding 0.5 leaves its 2^-24 steps, rounded, in the low bits.
    return static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3F000000u));
  }
  const uint32_t odd = magnitude >> 13 & 1u;
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000u + 0xFFFu + odd) >> 13);
}

/// The vector type of vector_kernels.h as a plain array; one lane of it serves exp_f32.
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
    return each([&](int i) { return float_of(uint32_t{halves[i]} << 16); });
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

/// What a weight format's block of 32 is made of.
struct Mxfp4 {
  static constexpr size_t kBlockBytes = 17;
  /// Twice the values of E2M1.
  static constexpr int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  static void unpack(const uint8_t* block, int8_t* values) {
    for (int i = 0; i < 16; i++) {
      values[i] = kValues[block[1 + i] & 15];
      values[i + 16] = kValues[block[1 + i] >> 4];
    }
  }
  static float scale(const uint8_t* block, float activation_scale) {
    int e = block[0];
    e = e < kMinExponent ? kMinExponent : e > kMaxExponent ? kMaxExponent : e;
    return activation_scale * float_of(static_cast<uint32_t>(e - 128 + 127) << 23);
  }
};
struct Q8_0 {
  static constexpr size_t kBlockBytes = 34;
  static void unpack(const uint8_t* block, int8_t* values) { memcpy(values, block + 2, kBlock); }
  static float scale(const uint8_t* block, float activation_scale) {
    uint16_t d;
    memcpy(&d, block, 2);
    return half_to_float(d) * activation_scale;
  }
};

/// One weight row times one tile of up to 16 columns.
template <class Format>
void row_times_tile(const uint8_t* row, int blocks, const uint8_t* tile, int columns, float* y, size_t ldy) {
  float acc[kTileRows] = {};
  for (int b = 0; b < blocks; b++, row += Format::kBlockBytes, tile += kPackedBlockBytes * columns) {
    int8_t w[kBlock];
    Format::unpack(row, w);
    for (int c = 0; c < columns; c++) {
      int8_t q[kBlock];
      float scale;
      memcpy(q, tile + c * kBlock, kBlock);
      memcpy(&scale, tile + columns * kBlock + c * 4, 4);
      int32_t dot = 0;
      for (int i = 0; i < kBlock; i++) dot += int32_t{w[i]} * int32_t{q[i]};
      acc[c] = fmaf(static_cast<float>(dot), Format::scale(row, scale), acc[c]);
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

}  // namespace

float exp_f32(float x) { return exp<Array<1>>({x}).lane[0]; }

const Kernels* portable_kernels() {
  static constexpr Kernels kernels =
      make_kernels<Array<kLanes>>("portable", group_quantised<Mxfp4>, group_quantised<Q8_0>);
  return &kernels;
}

}  // namespace hearth::cpu
