// Converts floats of 16 bits to floats of 32 bits. The functions have internal linkage for the reason that
// tensor_types.h gives.
#pragma once

#include <stdint.h>
#include <string.h>

namespace hearth {

/// Converts F16 (IEEE 754 binary16), exactly. A signalling NaN becomes quiet, as the processors' own instructions make
/// it.
static inline float half_to_float(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16, exponent = half >> 10 & 31u, mantissa = half & 0x3FFu;
  uint32_t bits;
  if (exponent == 0) {
    // The value is zero or subnormal: mantissa × 2^-24.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    memcpy(&bits, &magnitude, sizeof bits);
  } else if (exponent == 31) {
    bits = 0x7F800000u | (mantissa ? 0x400000u : 0u) | mantissa << 13;
  } else {
    bits = (exponent + 112) << 23 | mantissa << 13;
  }
  bits |= sign;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// Converts BF16, which is the upper half of a float, exactly.
static inline float bfloat_to_float(uint16_t bfloat) {
  const uint32_t bits = uint32_t{bfloat} << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace hearth
