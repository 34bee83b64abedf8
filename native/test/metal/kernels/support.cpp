#include "support.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace hearth::test {

const uint32_t kGo = 0;

Weights::Weights(TensorType type, int64_t rows, int columns, float scale, size_t from) : shift(from) {
  auto& random = generator();
  const size_t n = static_cast<size_t>(columns);
  const TypeTraits& traits = type_traits(type);
  const auto block_bytes = static_cast<size_t>(traits.block_bytes);
  const size_t row_bytes = n / static_cast<size_t>(traits.block) * block_bytes;
  memory.resize(shift + row_bytes * static_cast<size_t>(rows));
  uint8_t* to = memory.data() + shift;
  const auto half_bits = [](float value) {
    const _Float16 half = static_cast<_Float16>(value);
    uint16_t bits;
    memcpy(&bits, &half, 2);
    return bits;
  };
  const size_t count = n * static_cast<size_t>(rows);
  std::normal_distribution<float> normal(0.0f, scale);
  if (is_quantised(type)) {
    const int exponent = 127 + static_cast<int>(std::lround(std::log2(scale)));
    for (uint8_t* end = memory.data() + memory.size(); to < end; to += block_bytes) {
      for (size_t i = 0; i < block_bytes; i++) to[i] = static_cast<uint8_t>(random());
      if (type == TensorType::MXFP4) to[0] = static_cast<uint8_t>(exponent - 4 + static_cast<int>(random() % 5));
      // K-quants multiply by one more scale, of 6 or 7 bits.
      for (const int at : {traits.scale_at, traits.minimum_at})
        if (at >= 0) {
          const uint16_t d = half_bits((std::fabs(normal(random)) / 64 + scale / 256) / (traits.block == 256 ? 32 : 1));
          memcpy(to + at, &d, 2);
        }
    }
  } else {
    for (size_t i = 0; i < count; i++) {
      const float value = normal(random);
      uint32_t bits;
      memcpy(&bits, &value, 4);
      const uint16_t half = type == TensorType::F16 ? half_bits(value) : static_cast<uint16_t>(bits >> 16);
      if (type == TensorType::F32) memcpy(to + 4 * i, &value, 4);
      else memcpy(to + 2 * i, &half, 2);
    }
  }
  matrix = {type, data(), rows, columns, row_bytes};
}

std::vector<float> Weights::row(int64_t r) const {
  std::vector<float> out(static_cast<size_t>(matrix.columns));
  dequantize_row(matrix, r, out.data());
  return out;
}

std::vector<float> random_rows(size_t rows, uint32_t width, float scale) {
  const size_t stride = activation_stride(width);
  auto out = unset<float>(rows * stride);
  std::normal_distribution<float> normal(0.0f, scale);
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < width; i++) out[r * stride + i] = normal(generator());
  return out;
}

float lane_sum(const float* lanes) {
  float sums[32];
  memcpy(sums, lanes, sizeof sums);
  for (int half = 16; half > 0; half /= 2)
    for (int l = 0; l < half; l++) sums[l] += sums[l + half];
  return sums[0];
}

float ordered_dot(const float* w, const float* x, uint32_t n) {
  float lanes[32] = {};
  for (uint32_t k = 0; k < n; k++) {
    const uint32_t half_block = k / 32 * 2 + (k / 8 & 1);
    float& lane = lanes[half_block % 32];
    lane = std::fma(w[k], x[k], lane);
  }
  return lane_sum(lanes);
}

void turn_pairs(std::vector<float>& x, const float* rope, bool interleaved) {
  for (size_t i = 0; i < x.size() / 2; i++) {
    float &first = x[interleaved ? 2 * i : i], &second = x[interleaved ? 2 * i + 1 : i + x.size() / 2];
    const float a = first, b = second;
    first = std::fma(a, rope[2 * i], -b * rope[2 * i + 1]);
    second = std::fma(b, rope[2 * i], a * rope[2 * i + 1]);
  }
}

std::vector<uint8_t> CacheShape::empty(uint32_t blocks) const {
  return std::vector<uint8_t>(blocks * block_bytes(), 0xff);
}

std::vector<float> CacheShape::store(uint8_t* block, uint32_t head, bool is_value, uint32_t slot,
                                     const std::vector<float>& x) const {
  uint8_t* to = block + head * head_bytes() + (is_value ? block_bytes() / 2 : 0);
  const uint32_t groups = (length + 31) / 32;
  const auto put_half = [&](size_t at, float value) {
    const auto half = static_cast<_Float16>(value);
    memcpy(to + at, &half, 2);
    return static_cast<float>(half);
  };
  std::vector<float> out(length);
  for (uint32_t g = 0; g < groups; g++) {
    float largest = 0;
    for (uint32_t d = 32 * g; d < std::min(length, 32 * g + 32); d++)
      largest = std::max(largest, std::fabs(std::clamp(x[d], -65504.0f, 65504.0f)));
    const float scale = std::max(largest / 127.0f, 0x1p-40f);
    const float stored = q8 ? put_half(length * 32 + 2 * (is_value ? slot * groups + g : g * 32 + slot), scale) : 0;
    for (uint32_t d = 32 * g; d < std::min(length, 32 * g + 32); d++) {
      const float value = std::clamp(x[d], -65504.0f, 65504.0f);
      const uint32_t at = is_value ? slot * length + d : d * 32 + slot;
      if (!q8) {
        out[d] = put_half(2 * at, value);
        continue;
      }
      const auto code = static_cast<int8_t>(std::nearbyint(std::clamp(value * (1.0f / scale), -127.0f, 127.0f)));
      to[at] = static_cast<uint8_t>(code);
      out[d] = stored * static_cast<float>(code);
    }
  }
  return out;
}

double exact_dot(const float* w, const float* x, uint32_t n) {
  double sum = 0;
  for (uint32_t k = 0; k < n; k++) sum += static_cast<double>(w[k]) * x[k];
  return sum;
}

namespace {
std::vector<float> without_padding(const std::vector<float>& values, size_t rows, uint32_t width) {
  std::vector<float> out;
  for (size_t r = 0; r < rows; r++)
    out.insert(out.end(), values.begin() + static_cast<std::ptrdiff_t>(r * activation_stride(width)),
               values.begin() + static_cast<std::ptrdiff_t>(r * activation_stride(width) + width));
  return out;
}
}  // namespace

void expect_rows(const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t rows,
                 uint32_t width, double tolerance) {
  expect_close(what, without_padding(got, rows, width), without_padding(want, rows, width), tolerance);
}
void expect_same_rows(const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t rows,
                      uint32_t width) {
  expect_same(what, without_padding(got, rows, width), without_padding(want, rows, width));
}

}  // namespace hearth::test
