// A model as plain data: its architecture, its sizes as the GGUF's metadata give them, and views of its weights.
// Nothing is copied. E is the embedding length, H the number of query heads, K the number of key/value heads, D the
// length of a head, F the feed-forward length (of one expert where there are experts), X the number of experts and V
// the size of the vocabulary.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gguf.h"

namespace hearth {

enum class RopeMode { reference, llamacpp };
/// The two dimensions that rotate together: i and i + half ("NEOX"), or 2i and 2i + 1 ("NORM").
enum class RopeLayout { halves, interleaved };
enum class RopeScaling { none, linear, yarn };
/// The activation of the feed-forward: silu(gate) · up, or gpt-oss's clamped SwiGLU.
enum class Activation { silu, clamped_swiglu };

/// What sets an architecture apart. Everything else about a model shows in its file. A bias or norm that the
/// architecture does not require is used where the file has it.
struct Architecture {
  const char* name;  ///< value of general.architecture
  RopeLayout rope_layout;
  Activation activation;
  const char* ffn_norm;  ///< name of the tensor in a layer
  bool output = false;   ///< whether the file must have the output matrix, which is else the embedding again
  bool window = false;   ///< whether even layers have a sliding window
  bool sinks = false;
  bool experts = false;                         ///< whether the file must have experts; one of "llama" may have them
  bool qkv_bias = false, other_biases = false;  ///< whether the file must have these biases
  bool head_norms = false;                      ///< whether each head of Q and K has an RMSNorm before RoPE
  bool yarn_truncate = true;                    ///< what holds where a file does not say; see Config
};
/// The layer of an EAGLE-3 draft head; see draft_head.h.
extern const Architecture kEagle3;
/// The supported architectures in the order in which messages list them.
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
  int rope_length;  ///< how many dimensions of a head rotate, from the first on
  float rope_base;
  RopeScaling rope_scaling;
  float rope_factor;            ///< factor by which the context is extended; 1: it is not
  float rope_attention_factor;  ///< factor of cos and sin, beside that of YaRN
  int rope_original_context;
  float rope_beta_fast, rope_beta_slow;
  bool yarn_truncate;  ///< whether YaRN rounds its correction range to whole dimensions (`truncate` in transformers)
  const float* rope_divisors;  ///< [rope_length / 2] divisors of the frequencies (Llama 3's scaling); nullptr: none

  int q_length() const { return heads * head_length; }
  int kv_length() const { return heads_kv * head_length; }
  /// The sliding window of a layer; 0: the layer sees all positions, as odd layers do.
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

/// The weights of one layer. A vector that the model does without is nullptr.
struct Layer {
  const float* attention_norm;  ///< [E]
  Matrix q, k, v;               ///< [H·D][E], [K·D][E], [K·D][E]
  const float *q_bias, *k_bias, *v_bias;
  const float *q_norm, *k_norm;  ///< [D]
  const float* sinks;            ///< [H]
  Matrix attention_output;       ///< [E][H·D]
  const float* attention_output_bias;
  const float* ffn_norm;  ///< [E]
  /// [E]; only in a draft head, where Q, K and V read the normed embedding beside the normed features, [2·E].
  const float* hidden_norm;
  Matrix router;                     ///< [X][E]; not in a dense layer
  const float* router_bias;          ///< [X]
  Matrix gate, up;                   ///< [X·F][E]: expert e's rows are e·F …; dense: [F][E]
  Matrix down;                       ///< [X·E][F]; dense: [E][F]
  const float *gate_bias, *up_bias;  ///< [X][F]
  const float* down_bias;            ///< [X][E]
};

/// What an EAGLE-3 draft head has beside its one layer. T is the target's embedding length.
struct HeadWeights {
  Matrix fusion;                   ///< [E][3·T]
  const float* fusion_norm;        ///< [3·T]; nullptr: none
  bool norm_before_residual;       ///< the residual begins with the normed features
  int target_layers[3];            ///< the layers of the target whose inputs are the features
  std::vector<int32_t> token_ids;  ///< the target's token id of each output row; empty: the row's number is the id
};

class Model {
 public:
  /// How much of a file is read. A `plan` reads only what tells whether the model could be opened, and touches no page
  /// of the weights.
  enum class Reading { weights, plan };
  /// Maps and validates the file. Throws Error where it is not a GGUF or has another architecture; names a tensor that
  /// is missing or has a wrong shape or type.
  explicit Model(const std::string& path, Reading reading = Reading::weights);
  /// Opens a draft head for `target`, which must outlive it. The head uses the embedding and output matrices of the
  /// target where its own file has none. The vocabulary in the head's config is that of its output.
  Model(const std::string& path, const Model& target);

  const Gguf& gguf() const { return gguf_; }
  /// Takes the header out of the model, which is then of no more use.
  Gguf take_gguf() && { return std::move(gguf_); }
  const Config& config() const { return config_; }
  /// general.name; empty where the file has none.
  const std::string& name() const { return name_; }
  const Matrix& embedding() const { return embedding_; }
  /// The output matrix. It is the embedding where the file ties the two.
  const Matrix& output() const { return output_; }
  const float* output_norm() const { return output_norm_; }
  /// The further weights of a draft head. Other models have none.
  const HeadWeights& head() const { return head_; }
  /// One past the last byte of the file that `data` lies in: of this model's, or of its target's.
  const uint8_t* end_of(const uint8_t* data) const;
  const std::vector<Layer>& layers() const { return layers_; }
  /// Bytes of weights that one decode token reads.
  uint64_t bytes_per_token() const;

 private:
  Matrix matrix(const std::string& name, int64_t columns, int64_t rows, int64_t stack = 1);
  const float* vector(const std::string& name, int64_t length, int64_t stack = 1);
  /// Returns nullptr where the file has no such tensor and `required` is false.
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
  std::vector<std::unique_ptr<float[]>> converted_;  ///< vectors that the file keeps as F16 or BF16
};

}  // namespace hearth
