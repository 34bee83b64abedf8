// A model as plain data: its architecture, sizes read from the GGUF's metadata and views of its weights, nothing copied.
// E embedding, H query heads, K key/value heads, D head length, F feed-forward length (of one expert, if there are any),
// X experts, V vocabulary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gguf.h"

namespace hearth {

enum class RopeMode { reference, llamacpp };
/// Which dimensions rotate together: i and i + half ("NEOX"), or 2i and 2i + 1 ("NORM").
enum class RopeLayout { halves, interleaved };
enum class RopeScaling { none, linear, yarn };
/// Of the gate, in silu(gate) · up or gpt-oss's clamped SwiGLU.
enum class Activation { silu, clamped_swiglu };

/// What sets an architecture apart: the rest of a model's make-up is in its file. A bias or norm that an architecture does not
/// require is used where the file has it.
struct Architecture {
  const char* name;  ///< general.architecture
  RopeLayout rope_layout;
  Activation activation;
  const char* ffn_norm;  ///< the tensor's name in a layer
  bool output = false;   ///< required: the head is never the embedding again
  bool window = false;   ///< even layers have a sliding window
  bool sinks = false;
  bool experts = false;                         ///< required; "llama" may have them
  bool qkv_bias = false, other_biases = false;  ///< required
  bool head_norms = false;                      ///< RMSNorm of each query and key head before RoPE
  bool yarn_truncate = true;                    ///< see Config; what holds where a file does not say
};
/// The layer of an EAGLE-3 draft head; see draft_head.h.
extern const Architecture kEagle3;
/// In the order in which they are listed to users.
extern const Architecture kArchitectures[5];

struct Config {
  const Architecture* architecture;
  int layers;
  int embedding;
  int vocabulary;
  int context_length;
  int heads;
  int heads_kv;
  int head_length;
  int experts;  ///< 0: a dense feed-forward
  int experts_used;
  int feed_forward;
  int window;  ///< sliding window of the even layers, the query itself included; 0: none
  float rms_epsilon;
  int rope_length;  ///< the first dimensions of a head, which rotate
  float rope_base;
  RopeScaling rope_scaling;
  float rope_factor;            ///< context extension, 1 for none
  float rope_attention_factor;  ///< of cos and sin, beside YaRN's own
  int rope_original_context;
  float rope_beta_fast, rope_beta_slow;
  bool yarn_truncate;          ///< YaRN's correction range is rounded to whole dimensions (transformers' `truncate`)
  const float* rope_divisors;  ///< [rope_length / 2], of the frequencies (Llama 3's scaling); nullptr: none

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

/// Vectors that a model does without are nullptr.
struct Layer {
  const float* attention_norm;  ///< [E]
  Matrix q, k, v;               ///< [H·D][E], [K·D][E], [K·D][E]
  const float *q_bias, *k_bias, *v_bias;
  const float *q_norm, *k_norm;  ///< [D]
  const float* sinks;            ///< [H]
  Matrix attention_output;       ///< [E][H·D]
  const float* attention_output_bias;
  const float* ffn_norm;     ///< [E]
  const float* hidden_norm;  ///< [E]; with it, Q, K and V read the normed embedding and the normed features, [2·E]
  Matrix router;             ///< [X][E]; not in a dense layer
  const float* router_bias;  ///< [X]
  Matrix gate, up;           ///< [X·F][E]: expert e's rows are e·F …; dense: [F][E]
  Matrix down;               ///< [X·E][F]; dense: [E][F]
  const float *gate_bias, *up_bias;  ///< [X][F]
  const float* down_bias;            ///< [X][E]
};

/// What an EAGLE-3 draft head has beside its one layer. T is the target's embedding length.
struct HeadWeights {
  Matrix fusion;                   ///< [E][3·T]
  const float* fusion_norm;        ///< [3·T]; nullptr: none
  bool norm_before_residual;       ///< the residual begins with the normed features
  int target_layers[3];            ///< whose inputs are the features
  std::vector<int32_t> token_ids;  ///< the target's id of each output row; empty: the same
};

class Model {
 public:
  /// What is read of a file: all, or only what tells whether it could be opened, with no page of the weights touched.
  enum class Reading { weights, plan };
  /// Maps and validates. Throws Error: not a GGUF, another architecture, a missing tensor, a wrong shape or type, by name.
  explicit Model(const std::string& path, Reading reading = Reading::weights);
  /// A draft head for `target`, whose embedding and output matrices it uses where the file has none; the target must outlive it.
  /// The vocabulary of its config is that of its output.
  Model(const std::string& path, const Model& target);

  const Gguf& gguf() const { return gguf_; }
  /// The header alone; the model is then of no more use.
  Gguf take_gguf() && { return std::move(gguf_); }
  const Config& config() const { return config_; }
  /// general.name; empty where the file has none.
  const std::string& name() const { return name_; }
  const Matrix& embedding() const { return embedding_; }
  /// The embedding again where the file ties the two.
  const Matrix& output() const { return output_; }
  const float* output_norm() const { return output_norm_; }
  /// Of a draft head.
  const HeadWeights& head() const { return head_; }
  /// One past the last byte that may be read of the file that `data` lies in.
  const uint8_t* end_of(const uint8_t* data) const;
  const std::vector<Layer>& layers() const { return layers_; }
  /// Bytes of weights that one decode token reads.
  uint64_t bytes_per_token() const;

 private:
  Matrix matrix(const std::string& name, int64_t columns, int64_t rows, int64_t stack = 1);
  const float* vector(const std::string& name, int64_t length, int64_t stack = 1);
  /// nullptr where the file has none and `required` is false.
  const float* optional_vector(bool required, const std::string& name, int64_t length, int64_t stack = 1);
  Layer read_layer(int n);
  void read_rope_divisors();

  Gguf gguf_;
  Reading reading_ = Reading::weights;
  const Model* target_ = nullptr;
  HeadWeights head_{};
  Config config_{};
  std::string name_;
  Matrix embedding_{}, output_{};
  const float* output_norm_ = nullptr;
  std::vector<Layer> layers_;
  std::vector<std::unique_ptr<float[]>> converted_;  ///< vectors the file keeps as F16 or BF16
};

}  // namespace hearth
