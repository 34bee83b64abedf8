// What the kernels' tests share: random weights of every type, and the order of sums that native/metal/common.h defines, in plain C++.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/dequantize.h"
#include "kernel_test.h"
#include "metal/kernel_args.h"

namespace hearth::test {

using gpu::activation_stride;

constexpr TensorType kTypes[] = {TensorType::MXFP4, TensorType::Q8_0, TensorType::F16, TensorType::BF16, TensorType::F32};
inline bool is_quantised(TensorType type) { return type == TensorType::MXFP4 || type == TensorType::Q8_0; }
const char* type_name(TensorType type);

/// A random weight matrix. The tensor begins `shift` bytes into its memory, which ends with it.
struct Weights {
  Weights(TensorType type, int64_t rows, int columns, float scale = 0.1f, size_t shift = 0);
  const uint8_t* data() const { return memory.data() + shift; }
  size_t bytes() const { return memory.size() - shift; }
  /// Row as floats.
  std::vector<float> row(int64_t r) const;

  std::vector<uint8_t> memory;
  size_t shift;
  Matrix matrix;
};

/// Rows of activations; the padding between `width` and the stride is NaN, which no kernel may use.
std::vector<float> random_rows(size_t rows, uint32_t width, float scale = 1.0f);
/// The stop word of a step nobody stops.
extern const uint32_t kGo;

/// w·x in the kernels' order.
float ordered_dot(const float* w, const float* x, uint32_t n);
/// 32 values in the order of LaneTree.
float lane_sum(const float* lanes);
/// RoPE on a head of x.size() elements; `rope` has a (cos, sin) a pair.
void turn_pairs(std::vector<float>& x, const float* rope, bool interleaved);
double exact_dot(const float* w, const float* x, uint32_t n);

/// Compares the first `width` values of each row.
void expect_rows(const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t rows, uint32_t width,
                 double tolerance);
/// The same, bit for bit.
void expect_same_rows(const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t rows, uint32_t width);

}  // namespace hearth::test
