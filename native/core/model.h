// gpt-oss as plain data: sizes read from the GGUF's metadata and views of its weights, nothing copied.
// E embedding, H query heads, K key/value heads, D head length, F expert feed-forward length, X experts, V vocabulary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gguf.h"

namespace hearth {

enum class RopeMode { reference, llamacpp };

struct Config {
  int layers;
  int embedding;
  int vocabulary;
  int context_length;
  int heads;
  int heads_kv;
  int head_length;
  int experts;
  int experts_used;
  int feed_forward;
  int window;             ///< sliding window of the even layers, the query itself included
  float rms_epsilon;
  float rope_base;
  float rope_factor;      ///< YaRN: context extension, 1 for none
  int rope_original_context;
  float rope_beta_fast, rope_beta_slow;

  int q_length() const { return heads * head_length; }
  int kv_length() const { return heads_kv * head_length; }
  /// Even layers slide, odd ones see everything.
  int layer_window(int layer) const { return layer % 2 == 0 ? window : 0; }
};

/// gpt-oss's clamped SwiGLU (openai/gpt-oss, gpt_oss/torch/model.py).
constexpr float kSwigluAlpha = 1.702f, kSwigluLimit = 7.0f;

/// A weight matrix in the file: `rows` outputs, `columns` inputs (contiguous).
struct Matrix {
  TensorType type;
  const uint8_t* data;
  int64_t rows;
  int columns;
  size_t row_bytes;

  const uint8_t* row(int64_t r) const { return data + static_cast<size_t>(r) * row_bytes; }
  size_t bytes() const { return static_cast<size_t>(rows) * row_bytes; }
  /// Rows [first, first + count) as a matrix: expert e of a stack is slice(e * n, n).
  Matrix slice(int64_t first, int64_t count) const { return {type, row(first), count, columns, row_bytes}; }
};

struct Layer {
  const float* attention_norm;   ///< [E]
  Matrix q, k, v;                ///< [H·D][E], [K·D][E], [K·D][E]
  const float *q_bias, *k_bias, *v_bias;
  const float* sinks;            ///< [H]
  Matrix attention_output;       ///< [E][H·D]
  const float* attention_output_bias;
  const float* ffn_norm;         ///< [E]
  Matrix router;                 ///< [X][E]
  const float* router_bias;      ///< [X]
  Matrix gate, up;               ///< [X·F][E]: expert e's rows are e·F …
  Matrix down;                   ///< [X·E][F]
  const float *gate_bias, *up_bias;  ///< [X][F]
  const float* down_bias;            ///< [X][E]
};

class Model {
 public:
  /// Maps and validates. Throws Error: not a GGUF, another architecture, a missing tensor, a wrong shape or type, by name.
  explicit Model(const std::string& path);

  const Gguf& gguf() const { return gguf_; }
  const Config& config() const { return config_; }
  const Matrix& embedding() const { return embedding_; }
  const Matrix& output() const { return output_; }
  const float* output_norm() const { return output_norm_; }
  const std::vector<Layer>& layers() const { return layers_; }
  /// Bytes of weights that one decode token reads.
  uint64_t bytes_per_token() const;

 private:
  Matrix matrix(const std::string& name, int64_t columns, int64_t rows, int64_t stack = 1);
  const float* vector(const std::string& name, int64_t length, int64_t stack = 1);

  Gguf gguf_;
  Config config_{};
  Matrix embedding_{}, output_{};
  const float* output_norm_ = nullptr;
  std::vector<Layer> layers_;
  std::vector<std::unique_ptr<float[]>> converted_;  ///< vectors the file keeps as F16 or BF16
};

float half_to_float(uint16_t half);
float bfloat_to_float(uint16_t bfloat);

}  // namespace hearth
