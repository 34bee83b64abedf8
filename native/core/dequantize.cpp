#include "dequantize.h"

#include <cmath>
#include <cstring>

#include "floats.h"

namespace hearth {

namespace {

// Doubled E2M1 values. The exponent byte e of a block scales them by 2^(e - 128). Source: OCP Microscaling Formats
// v1.0, section 5.3.
constexpr int8_t kMxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

uint16_t load16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, 2);
  return value;
}

/// Reads the 6-bit scale and minimum of sub-block s of a Q4_K or Q5_K super-block. Those of sub-blocks 0 to 3 are the
/// low bits of bytes s and s + 4. Those of sub-blocks 4 to 7 have four bits in the halves of byte s + 4 and two in the
/// high bits of bytes s - 4 and s.
void load_scale(const uint8_t* scales, int s, int& scale, int& minimum) {
  if (s < 4) {
    scale = scales[s] & 63;
    minimum = scales[s + 4] & 63;
  } else {
    scale = (scales[s + 4] & 15) | (scales[s - 4] >> 6) << 4;
    minimum = scales[s + 4] >> 4 | (scales[s] >> 6) << 4;
  }
}

/// Converts one block of a type to floats. Each definition gives the layout of the block and the values that it stands
/// for (ggml/src/ggml-quants.c, dequantize_row_*). A type of matrices without a definition does not compile.
template <TensorType>
void dequantize_block(const uint8_t* in, float* out) = delete;

template <>
void dequantize_block<TensorType::F32>(const uint8_t* in, float* out) {
  std::memcpy(out, in, sizeof *out);
}

template <>
void dequantize_block<TensorType::F16>(const uint8_t* in, float* out) {
  *out = half_to_float(load16(in));
}

template <>
void dequantize_block<TensorType::BF16>(const uint8_t* in, float* out) {
  *out = bfloat_to_float(load16(in));
}

template <>
void dequantize_block<TensorType::MXFP4>(const uint8_t* in, float* out) {
  const float scale = std::ldexp(1.0f, in[0] - 128);
  for (int i = 0; i < 16; i++) {
    out[i] = scale * static_cast<float>(kMxfp4[in[1 + i] & 15]);
    out[i + 16] = scale * static_cast<float>(kMxfp4[in[1 + i] >> 4]);
  }
}

template <>
void dequantize_block<TensorType::Q8_0>(const uint8_t* in, float* out) {
  const float d = half_to_float(load16(in));
  for (int i = 0; i < 32; i++) out[i] = d * static_cast<float>(static_cast<int8_t>(in[2 + i]));
}

/// Converts a block of Q4_0, Q4_1, Q5_0 or Q5_1. The low half of byte i holds element i, the high half element i + 16.
/// The fifth bits of all elements are in a word of their own.
void dequantize_nibbles(const uint8_t* in, bool fifth, bool minimum, float* out) {
  const float d = half_to_float(load16(in)), m = minimum ? half_to_float(load16(in + 2)) : 0.0f;
  in += minimum ? 4 : 2;
  uint32_t high = 0;
  if (fifth) {
    std::memcpy(&high, in, 4);
    in += 4;
  }
  const int offset = minimum ? 0 : fifth ? 16 : 8;
  for (int i = 0; i < 32; i++) {
    int q = i < 16 ? in[i] & 15 : in[i - 16] >> 4;
    if (high >> i & 1) q += 16;
    out[i] = d * static_cast<float>(q - offset) + m;
  }
}
template <>
void dequantize_block<TensorType::Q4_0>(const uint8_t* in, float* out) {
  dequantize_nibbles(in, false, false, out);
}
template <>
void dequantize_block<TensorType::Q4_1>(const uint8_t* in, float* out) {
  dequantize_nibbles(in, false, true, out);
}
template <>
void dequantize_block<TensorType::Q5_0>(const uint8_t* in, float* out) {
  dequantize_nibbles(in, true, false, out);
}
template <>
void dequantize_block<TensorType::Q5_1>(const uint8_t* in, float* out) {
  dequantize_nibbles(in, true, true, out);
}

/// Converts a block of Q4_K or Q5_K, which has 8 sub-blocks of 32 elements. Two sub-blocks share 32 bytes. Bit s of
/// byte i of `high` is the fifth bit of element i of sub-block s.
void dequantize_nibbles_k(const uint8_t* in, bool fifth, float* out) {
  const float d = half_to_float(load16(in)), dmin = half_to_float(load16(in + 2));
  const uint8_t *high = in + 16, *low = fifth ? in + 48 : in + 16;
  for (int s = 0; s < 8; s++) {
    int scale, minimum;
    load_scale(in + 4, s, scale, minimum);
    const float ds = d * static_cast<float>(scale), ms = dmin * static_cast<float>(minimum);
    for (int i = 0; i < 32; i++) {
      const int byte = low[s / 2 * 32 + i];
      int q = s % 2 ? byte >> 4 : byte & 15;
      if (fifth && (high[i] >> s & 1)) q += 16;
      out[32 * s + i] = ds * static_cast<float>(q) - ms;
    }
  }
}
template <>
void dequantize_block<TensorType::Q4_K>(const uint8_t* in, float* out) {
  dequantize_nibbles_k(in, false, out);
}
template <>
void dequantize_block<TensorType::Q5_K>(const uint8_t* in, float* out) {
  dequantize_nibbles_k(in, true, out);
}

/// Each 128 elements have 64 bytes with their low four bits and 32 bytes with their high two bits. 16 elements share an
/// int8 scale.
template <>
void dequantize_block<TensorType::Q6_K>(const uint8_t* in, float* out) {
  const float d = half_to_float(load16(in + 208));
  const auto* scales = reinterpret_cast<const int8_t*>(in + 192);
  for (int i = 0; i < 256; i++) {
    const int part = i / 128, quarter = i % 128 / 32, l = i % 32;
    const int low = in[64 * part + 32 * (quarter % 2) + l], high = in[128 + 32 * part + l] >> (2 * quarter) & 3;
    const int q = (quarter < 2 ? low & 15 : low >> 4) | high << 4;
    out[i] = d * static_cast<float>(scales[i / 16]) * static_cast<float>(q - 32);
  }
}

template <TensorType type>
void dequantize_blocks(const uint8_t* in, int elements, float* out) {
  constexpr TypeTraits kTraits = type_traits(type);
  for (int i = 0; i < elements; i += kTraits.block, in += kTraits.block_bytes) dequantize_block<type>(in, out + i);
}

}  // namespace

void dequantize_row(const Matrix& matrix, int64_t row, float* out) {
  switch (matrix.type) {
#define HEARTH_CASE(name, ...) \
  case TensorType::name: return dequantize_blocks<TensorType::name>(matrix.row(row), matrix.columns, out);
    HEARTH_MATRIX_TYPES(HEARTH_CASE)
#undef HEARTH_CASE
    default: return;
  }
}

}  // namespace hearth
