// What the kernels' tests share: random weights of every type, and in plain C++ the order of sums that
// native/metal/common.h defines.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/dequantize.h"
#include "kernel_test.h"
#include "metal/kernel_args.h"

namespace hearth::test {

using gpu::activation_stride;

/// The address of a tensor of this type must be a multiple of this. In tests it is not a multiple of twice that.
inline size_t alignment_of(TensorType type) {
  return type == TensorType::F32 || type == TensorType::Q4_K || type == TensorType::Q5_K ? 4 : 2;
}
inline const char* type_name(TensorType type) { return type_traits(type).name; }

/// The id of a type, as kernels' constants have it.
inline uint32_t id(TensorType type) { return static_cast<uint32_t>(type); }
/// How many threadgroups `count` things need when each threadgroup does `each` of them.
inline uint32_t groups(uint32_t count, uint32_t each) { return (count + each - 1) / each; }

/// A random weight matrix. The tensor begins `shift` bytes into its memory and ends with it.
struct Weights {
  Weights(TensorType type, int64_t rows, int columns, float scale = 0.1f, size_t shift = 0);
  const uint8_t* data() const { return memory.data() + shift; }
  size_t bytes() const { return memory.size() - shift; }
  /// A row as floats.
  std::vector<float> row(int64_t r) const;

  std::vector<uint8_t> memory;
  size_t shift;
  Matrix matrix;
};

/// Random rows of activations. The padding between `width` and the stride is NaN, because no kernel may use it.
std::vector<float> random_rows(size_t rows, uint32_t width, float scale = 1.0f);
/// The stop word of a step that nobody stops.
extern const uint32_t kGo;

/// w·x in the kernels' order.
float ordered_dot(const float* w, const float* x, uint32_t n);
/// The sum of 32 values in the order of LaneTree.
float lane_sum(const float* lanes);
/// The bytes of a layer's KV cache, with heads of `length`.
struct CacheShape {
  uint32_t heads_kv, length;
  bool q8;

  uint32_t head_bytes() const { return 32 * (q8 ? length + 2 * ((length + 31) / 32) : 2 * length); }
  uint32_t block_bytes() const { return 2 * heads_kv * head_bytes(); }
  /// Memory for so many blocks. All its numbers are NaN, or with Q8_0 all scales.
  std::vector<uint8_t> empty(uint32_t blocks) const;
  /// Writes a key or value of position `slot` into a block, as the cache keeps it. Returns the floats that the stored
  /// bits stand for.
  std::vector<float> store(uint8_t* block, uint32_t head, bool is_value, uint32_t slot,
                           const std::vector<float>& x) const;
};

/// Applies RoPE to a head of x.size() elements. `rope` has (cos, sin) for each pair.
void turn_pairs(std::vector<float>& x, const float* rope, bool interleaved);
double exact_dot(const float* w, const float* x, uint32_t n);

/// Compares the first `width` values of each row.
void expect_rows(const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t rows,
                 uint32_t width, double tolerance);
/// Compares the first `width` values of each row, bit for bit.
void expect_same_rows(const char* what, const std::vector<float>& got, const std::vector<float>& want, size_t rows,
                      uint32_t width);

}  // namespace hearth::test
