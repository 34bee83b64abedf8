#include "dequantize.h"

#include <cmath>
#include <cstring>

namespace hearth {

namespace {

// Doubled E2M1 values; a block's exponent byte e scales them by 2^(e - 128). OCP Microscaling Formats v1.0, section 5.3.
constexpr int8_t kMxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

uint16_t load16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, 2);
  return value;
}

}  // namespace

void dequantize_row(const Matrix& matrix, int64_t row, float* out) {
  const uint8_t* in = matrix.row(row);
  const int n = matrix.columns;
  switch (matrix.type) {
    case TensorType::F32: std::memcpy(out, in, 4 * static_cast<size_t>(n)); break;
    case TensorType::F16:
      for (int i = 0; i < n; i++) out[i] = half_to_float(load16(in + 2 * i));
      break;
    case TensorType::BF16:
      for (int i = 0; i < n; i++) out[i] = bfloat_to_float(load16(in + 2 * i));
      break;
    case TensorType::Q8_0:
      for (int i = 0; i < n; i += 32, in += 34) {
        float d = half_to_float(load16(in));
        for (int j = 0; j < 32; j++) out[i + j] = d * static_cast<float>(static_cast<int8_t>(in[2 + j]));
      }
      break;
    case TensorType::MXFP4:
      for (int i = 0; i < n; i += 32, in += 17) {
        float scale = std::ldexp(1.0f, in[0] - 128);
        for (int j = 0; j < 16; j++) {
          out[i + j] = scale * static_cast<float>(kMxfp4[in[1 + j] & 15]);
          out[i + j + 16] = scale * static_cast<float>(kMxfp4[in[1 + j] >> 4]);
        }
      }
      break;
  }
}

}  // namespace hearth
