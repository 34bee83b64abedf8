#include "model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "error.h"
#include "floats.h"

namespace hearth {

// The tensors and RoPE types of the architectures are from llama.cpp, src/llama-model.cpp and src/models/. What holds
// for YaRN is from the publisher's config.json: `truncate` is false for gpt-oss, and true where config.json does not
// name it (transformers, modeling_rope_utils.py).
const Architecture kArchitectures[5] = {
    {.name = "gpt-oss",
     .rope_layout = RopeLayout::halves,
     .activation = Activation::clamped_swiglu,
     .ffn_norm = "post_attention_norm",
     .output = true,
     .window = true,
     .sinks = true,
     .experts = true,
     .qkv_bias = true,
     .other_biases = true,
     .yarn_truncate = false},
    {.name = "llama", .rope_layout = RopeLayout::interleaved, .activation = Activation::silu, .ffn_norm = "ffn_norm"},
    {.name = "qwen2",
     .rope_layout = RopeLayout::halves,
     .activation = Activation::silu,
     .ffn_norm = "ffn_norm",
     .qkv_bias = true},
    {.name = "qwen3",
     .rope_layout = RopeLayout::halves,
     .activation = Activation::silu,
     .ffn_norm = "ffn_norm",
     .head_norms = true},
    {.name = "qwen3moe",
     .rope_layout = RopeLayout::halves,
     .activation = Activation::silu,
     .ffn_norm = "ffn_norm",
     .experts = true,
     .head_norms = true},
};

const Architecture kEagle3 = {.name = "eagle3",
                              .rope_layout = RopeLayout::interleaved,
                              .activation = Activation::silu,
                              .ffn_norm = "ffn_norm",
                              .window = false,
                              .sinks = false,
                              .experts = false,
                              .qkv_bias = false,
                              .other_biases = false,
                              .head_norms = false};

namespace {

std::string shape_text(const Tensor& tensor) {
  std::string text;
  for (int d = 0; d < tensor.dimensions; d++) text += (d ? ", " : "[") + std::to_string(tensor.shape[d]);
  return text + "]";
}

const Tensor& find(const Gguf& gguf, const std::string& name, std::initializer_list<int64_t> shape) {
  const Tensor* tensor = gguf.find_tensor(name);
  const char* file = gguf.file().path().c_str();
  if (!tensor)
    fail("%s lacks the tensor %s; the file is incomplete or not a model of its architecture", file, name.c_str());
  int64_t wanted[4] = {1, 1, 1, 1};
  std::copy(shape.begin(), shape.end(), wanted);
  if (!std::equal(wanted, wanted + 4, tensor->shape)) {
    std::string text;
    for (int64_t size : shape) text += (text.empty() ? "[" : ", ") + std::to_string(size);
    fail("%s: tensor %s has the shape %s, but the model's sizes ask for %s]", file, name.c_str(),
         shape_text(*tensor).c_str(), text.c_str());
  }
  return *tensor;
}

constexpr uint32_t kMaxHeadLength = 256;

int checked(const Gguf& gguf, const std::string& key, uint32_t low, uint32_t high, uint32_t absent = 0) {
  uint32_t value = absent ? gguf.u32(key, absent) : gguf.u32(key);
  if (value < low || value > high)
    fail("%s: the metadata key %s is %u, which is outside %u..%u", gguf.file().path().c_str(), key.c_str(), value, low,
         high);
  return static_cast<int>(value);
}

const Architecture& read_architecture(const Gguf& gguf) {
  std::string_view name = gguf.string("general.architecture");
  if (name == kEagle3.name)
    fail("%s is a draft head for another model; choose it as the draft, beside that model", gguf.file().path().c_str());
  std::string supported;
  for (const Architecture& architecture : kArchitectures) {
    if (name == architecture.name) return architecture;
    supported += (supported.empty() ? "" : ", ") + std::string(architecture.name);
  }
  fail("%s has the architecture \"%s\"; this version of Hearth runs models of the architectures %s",
       gguf.file().path().c_str(), printable(name).c_str(), supported.c_str());
}

Config read_config(const Gguf& gguf, const Architecture& architecture) {
  const char* file = gguf.file().path().c_str();
  if (gguf.u32("split.count", 1) > 1)
    fail("%s is one part of a split model; merge the parts into one file first", file);
  auto key = [&](const char* name) { return std::string(architecture.name) + "." + name; };
  auto number = [&](const char* name, uint32_t low, uint32_t high, uint32_t absent = 0) {
    return checked(gguf, key(name), low, high, absent);
  };
  Config c{};
  c.architecture = &architecture;
  c.layers = number("block_count", 1, 1024);
  c.embedding = number("embedding_length", 1, 1 << 16);
  c.context_length = number("context_length", 1, 1 << 24);
  c.heads = number("attention.head_count", 1, 1024);
  c.heads_kv = number("attention.head_count_kv", 1, 1024, static_cast<uint32_t>(c.heads));
  c.head_length =
      number("attention.key_length", 1, kMaxHeadLength, static_cast<uint32_t>(std::max(1, c.embedding / c.heads)));
  int value_length = number("attention.value_length", 1, kMaxHeadLength, static_cast<uint32_t>(c.head_length));
  if (architecture.experts || gguf.u32(key("expert_count"), 0) > 0) {
    c.experts = number("expert_count", 1, 1024);
    c.experts_used = number("expert_used_count", 1, 64);
  }
  const bool own_length = c.experts > 0 && (architecture.experts || gguf.find(key("expert_feed_forward_length")));
  c.feed_forward = number(own_length ? "expert_feed_forward_length" : "feed_forward_length", 1, 1 << 18);
  if (architecture.window) c.window = number("attention.sliding_window", 1, 1 << 24);
  c.rms_epsilon = gguf.f32(key("attention.layer_norm_rms_epsilon"));
  c.rope_length = number("rope.dimension_count", 1, kMaxHeadLength, static_cast<uint32_t>(c.head_length));
  c.rope_base = gguf.f32(key("rope.freq_base"), 10000.0f);
  // Older files do not name the type of scaling. They have only a factor or a linear scale (llama.cpp,
  // llama_model::load_hparams).
  float factor = gguf.f32(key("rope.scaling.factor"), gguf.f32(key("rope.scale_linear"), 0.0f));
  if (factor == 0) factor = 1;
  std::string_view scaling = gguf.string(key("rope.scaling.type"), factor == 1 ? "none" : "linear");
  if (scaling == "yarn") {
    c.rope_scaling = RopeScaling::yarn;
    c.rope_factor = gguf.f32(key("rope.scaling.factor"));
  } else if (scaling == "linear" || scaling == "none") {
    c.rope_scaling = scaling == "none" || factor == 1 ? RopeScaling::none : RopeScaling::linear;
    c.rope_factor = c.rope_scaling == RopeScaling::none ? 1 : factor;
  } else {
    fail("%s: RoPE scaling \"%s\" is not supported (none, linear and yarn are)", file, printable(scaling).c_str());
  }
  c.rope_attention_factor = gguf.f32(key("rope.scaling.attn_factor"), 1.0f);
  c.rope_original_context =
      number("rope.scaling.original_context_length", 1, 1 << 24, static_cast<uint32_t>(c.context_length));
  c.rope_beta_fast = gguf.f32(key("rope.scaling.yarn_beta_fast"), 32.0f);
  c.rope_beta_slow = gguf.f32(key("rope.scaling.yarn_beta_slow"), 1.0f);
  c.yarn_truncate = gguf.boolean(key("rope.scaling.yarn_truncate"), architecture.yarn_truncate);

  // In llama.cpp's enum llama_pooling_type, −1 is "unspecified" and 0 is "none".
  const GgufValue* pooling = gguf.find(key("pooling_type"));
  const int64_t* signed_pooling = pooling ? std::get_if<int64_t>(pooling) : nullptr;
  if (pooling && !(signed_pooling && *signed_pooling == -1) && gguf.u32(key("pooling_type")) != 0)
    fail("%s makes embeddings of texts and does not write (its pooling type is %u)", file,
         gguf.u32(key("pooling_type")));
  if (c.head_length != value_length)
    fail("%s: keys of %d and values of %d differ in length, which is not supported", file, c.head_length, value_length);
  if (c.head_length % 8)
    fail("%s: a head length of %d is no multiple of 8, which is not supported", file, c.head_length);
  if (c.rope_length > c.head_length || c.rope_length % 2)
    fail("%s: %d dimensions of a head of %d cannot be rotated in pairs", file, c.rope_length, c.head_length);
  if (c.heads % c.heads_kv)
    fail("%s: %d query heads cannot share %d key/value heads evenly", file, c.heads, c.heads_kv);
  if (c.experts_used > c.experts) fail("%s: %d of %d experts cannot be used", file, c.experts_used, c.experts);
  if (!(c.rms_epsilon >= 0 && c.rms_epsilon < 1) || !(c.rope_base > 1 && c.rope_base < 1e12f) ||
      !(c.rope_factor >= 1 && c.rope_factor <= 65536) ||
      !(c.rope_beta_fast > c.rope_beta_slow && c.rope_beta_slow > 0) ||
      !(c.rope_attention_factor > 0 && c.rope_attention_factor <= 100))
    fail("%s: RMS epsilon %g, RoPE base %g, factor %g, attention factor %g or betas %g and %g are out of range", file,
         c.rms_epsilon, c.rope_base, c.rope_factor, c.rope_attention_factor, c.rope_beta_fast, c.rope_beta_slow);
  return c;
}

/// The names of all types of matrices for a message: "MXFP4, Q4_0, … or F32".
std::string matrix_type_names() {
  std::string names;
  for (const TensorType& type : kMatrixTypes) {
    if (&type != kMatrixTypes) names += &type == std::end(kMatrixTypes) - 1 ? " or " : ", ";
    names += type_traits(type).name;
  }
  return names;
}

}  // namespace

Matrix Model::matrix(const std::string& name, int64_t columns, int64_t rows, int64_t stack) {
  const Tensor& tensor = stack == 1 ? find(gguf_, name, {columns, rows}) : find(gguf_, name, {columns, rows, stack});
  if (type_traits(tensor.type).kind == TypeKind::other)
    fail(
        "%s: tensor %s has the type %s, which this version of Hearth does not compute with; use a file with %s weights",
        gguf_.file().path().c_str(), name.c_str(), type_traits(tensor.type).name, matrix_type_names().c_str());
  return {tensor.type, tensor.data, rows * stack, static_cast<int>(columns),
          static_cast<size_t>(tensor.bytes) / static_cast<size_t>(rows * stack)};
}

const float* Model::vector(const std::string& name, int64_t length, int64_t stack) {
  const Tensor& tensor = stack == 1 ? find(gguf_, name, {length}) : find(gguf_, name, {length, stack});
  if (tensor.type == TensorType::F32) return reinterpret_cast<const float*>(tensor.data);
  if (tensor.type != TensorType::F16 && tensor.type != TensorType::BF16)
    fail("%s: tensor %s has the type %s; norms, biases and sinks must be F32, F16 or BF16", gguf_.file().path().c_str(),
         name.c_str(), type_traits(tensor.type).name);
  auto count = static_cast<size_t>(length * stack);
  // A plan needs the values of no vector but RoPE's divisors, which are checked. They are at most half a head long.
  if (reading_ == Reading::plan && count > kMaxHeadLength / 2) return reinterpret_cast<const float*>(tensor.data);
  auto values = std::make_unique<float[]>(count);
  for (size_t i = 0; i < count; i++) {
    uint16_t bits;
    std::memcpy(&bits, tensor.data + 2 * i, 2);
    values[i] = tensor.type == TensorType::F16 ? half_to_float(bits) : bfloat_to_float(bits);
  }
  converted_.push_back(std::move(values));
  return converted_.back().get();
}

const float* Model::optional_vector(bool required, const std::string& name, int64_t length, int64_t stack) {
  return required || gguf_.find_tensor(name) ? vector(name, length, stack) : nullptr;
}

Layer Model::read_layer(int n) {
  const Config& c = config_;
  const Architecture& a = *c.architecture;
  const int64_t E = c.embedding, F = c.feed_forward, X = c.experts, Q = c.q_length(), KV = c.kv_length();
  const std::string blk = "blk." + std::to_string(n) + ".";
  Layer layer{};
  layer.attention_norm = vector(blk + "attn_norm.weight", E);
  if (&a == &kEagle3) layer.hidden_norm = vector(blk + "attn_norm_2.weight", E);
  const int64_t in = layer.hidden_norm ? 2 * E : E;
  layer.q = matrix(blk + "attn_q.weight", in, Q);
  layer.k = matrix(blk + "attn_k.weight", in, KV);
  layer.v = matrix(blk + "attn_v.weight", in, KV);
  layer.q_bias = optional_vector(a.qkv_bias, blk + "attn_q.bias", Q);
  layer.k_bias = optional_vector(a.qkv_bias, blk + "attn_k.bias", KV);
  layer.v_bias = optional_vector(a.qkv_bias, blk + "attn_v.bias", KV);
  if (a.head_norms) {
    layer.q_norm = vector(blk + "attn_q_norm.weight", c.head_length);
    layer.k_norm = vector(blk + "attn_k_norm.weight", c.head_length);
  }
  if (a.sinks) layer.sinks = vector(blk + "attn_sinks.weight", c.heads);
  layer.attention_output = matrix(blk + "attn_output.weight", Q, E);
  layer.attention_output_bias = optional_vector(a.other_biases, blk + "attn_output.bias", E);
  layer.ffn_norm = vector(blk + a.ffn_norm + ".weight", E);
  if (X > 0) {
    layer.router = matrix(blk + "ffn_gate_inp.weight", E, X);
    layer.router_bias = optional_vector(a.other_biases, blk + "ffn_gate_inp.bias", X);
  }
  // A stack of one expert has the same shape with and without the third dimension.
  const std::string experts = X > 0 ? "_exps" : "";
  const int64_t stack = std::max<int64_t>(X, 1);
  layer.gate = matrix(blk + "ffn_gate" + experts + ".weight", E, F, stack);
  layer.up = matrix(blk + "ffn_up" + experts + ".weight", E, F, stack);
  layer.down = matrix(blk + "ffn_down" + experts + ".weight", F, E, stack);
  layer.gate_bias = optional_vector(a.other_biases, blk + "ffn_gate" + experts + ".bias", F, stack);
  layer.up_bias = optional_vector(a.other_biases, blk + "ffn_up" + experts + ".bias", F, stack);
  layer.down_bias = optional_vector(a.other_biases, blk + "ffn_down" + experts + ".bias", E, stack);
  return layer;
}

Model::Model(const std::string& path, Reading reading) : gguf_(path), reading_(reading) {
  config_ = read_config(gguf_, read_architecture(gguf_));
  name_ = gguf_.string("general.name", "");
  const Config& c = config_;
  const Tensor* embedding = gguf_.find_tensor("token_embd.weight");
  if (!embedding) fail("%s lacks the tensor token_embd.weight", path.c_str());
  if (embedding->dimensions != 2 || embedding->shape[1] > 1 << 24)
    fail("%s: tensor token_embd.weight has the shape %s, which is no embedding", path.c_str(),
         shape_text(*embedding).c_str());
  config_.vocabulary = static_cast<int>(embedding->shape[1]);
  embedding_ = matrix("token_embd.weight", c.embedding, c.vocabulary);
  const bool tied = !c.architecture->output && !gguf_.find_tensor("output.weight");
  output_ = tied ? embedding_ : matrix("output.weight", c.embedding, c.vocabulary);
  output_norm_ = vector("output_norm.weight", c.embedding);
  read_rope_divisors();
  for (int n = 0; n < c.layers; n++) layers_.push_back(read_layer(n));
  gguf_.file().check_read();
  if (reading == Reading::weights) gguf_.file().read_ahead();
}

void Model::read_rope_divisors() {
  config_.rope_divisors = optional_vector(false, "rope_freqs.weight", config_.rope_length / 2);
  for (int i = 0; config_.rope_divisors && i < config_.rope_length / 2; i++)
    if (!(config_.rope_divisors[i] > 0 && config_.rope_divisors[i] < 1e12f))
      fail("%s is damaged: number %d of tensor rope_freqs.weight is %g", gguf_.file().path().c_str(), i,
           config_.rope_divisors[i]);
}

Model::Model(const std::string& path, const Model& target) : gguf_(path), target_(&target) {
  const char* file = path.c_str();
  if (gguf_.string("general.architecture") != kEagle3.name)
    fail("%s has the architecture \"%s\"; a draft head has \"%s\"", file,
         printable(gguf_.string("general.architecture")).c_str(), kEagle3.name);
  config_ = read_config(gguf_, kEagle3);
  name_ = gguf_.string("general.name", "");
  const Config &c = config_, &t = target.config();
  if (c.layers != 1) fail("%s: a draft head has 1 layer, this one %d", file, c.layers);
  const int width = checked(gguf_, "eagle3.target_hidden_size", 1, 1 << 16, static_cast<uint32_t>(c.embedding));
  if (width != t.embedding)
    fail("%s is a draft head for a model of width %d; %s has %d", file, width, target.gguf().file().path().c_str(),
         t.embedding);
  // llama.cpp has used both names for this key.
  std::vector<int64_t> layers = gguf_.integers("eagle3.target_layers");
  if (layers.empty()) layers = gguf_.integers("eagle3.extract_layers");
  if (layers.empty()) layers = {2, t.layers / 2, t.layers - 3};
  if (layers.size() != 3) fail("%s: eagle3.target_layers names %zu layers; a draft head reads 3", file, layers.size());
  for (size_t i = 0; i < 3; i++) {
    if (layers[i] < 0 || layers[i] >= t.layers)
      fail("%s: the draft head reads layer %lld of its target, which has %d", file, static_cast<long long>(layers[i]),
           t.layers);
    head_.target_layers[i] = static_cast<int>(layers[i]);
  }
  head_.norm_before_residual = gguf_.boolean("eagle3.norm_before_residual", false);
  head_.fusion = matrix("fc.weight", 3 * width, c.embedding);
  if (gguf_.boolean("eagle3.norm_before_fc", false)) head_.fusion_norm = vector("enc.output_norm.weight", 3 * width);

  config_.vocabulary = t.vocabulary;
  if (const Tensor* ids = gguf_.find_tensor("d2t")) {
    if (ids->type != TensorType::I64 || ids->dimensions != 1 || ids->shape[0] > t.vocabulary)
      fail("%s: tensor d2t should be at most %d I64 numbers, the target's id of each draft token", file, t.vocabulary);
    for (int64_t i = 0; i < ids->shape[0]; i++) {
      int64_t id;
      std::memcpy(&id, ids->data + 8 * i, 8);
      if (id < 0 || id >= t.vocabulary)
        fail("%s: draft token %lld is token %lld of the target, which has %d", file, static_cast<long long>(i),
             static_cast<long long>(id), t.vocabulary);
      head_.token_ids.push_back(static_cast<int32_t>(id));
    }
    config_.vocabulary = static_cast<int>(ids->shape[0]);
  }
  const auto shared = [&](const char* name, int64_t rows, const Matrix& of_target) {
    if (gguf_.find_tensor(name)) return matrix(name, c.embedding, rows);
    if (c.embedding != t.embedding || of_target.rows != rows)
      fail("%s lacks the tensor %s, and its target's has another shape", file, name);
    return of_target;
  };
  embedding_ = shared("token_embd.weight", t.vocabulary, target.embedding());
  output_ = shared("output.weight", c.vocabulary, target.output());
  output_norm_ = vector("output_norm.weight", c.embedding);
  read_rope_divisors();
  layers_.push_back(read_layer(0));
  gguf_.file().check_read();
  gguf_.file().read_ahead();
}

const uint8_t* Model::end_of(const uint8_t* data) const {
  const MappedFile& file = gguf_.file();
  return target_ && (data < file.data() || data >= file.end()) ? target_->gguf().file().end() : file.end();
}

uint64_t Model::bytes_per_token() const {
  const Config& c = config_;
  uint64_t bytes = output_.bytes() + embedding_.row_bytes + 4ull * static_cast<uint64_t>(c.embedding);
  const auto floats = [](const float* vector, int length) { return vector ? 4ull * static_cast<uint64_t>(length) : 0; };
  for (const Layer& layer : layers_) {
    bytes +=
        layer.q.bytes() + layer.k.bytes() + layer.v.bytes() + layer.attention_output.bytes() + layer.router.bytes();
    bytes += floats(layer.attention_norm, c.embedding) + floats(layer.ffn_norm, c.embedding) +
             floats(layer.q_bias, c.q_length()) + floats(layer.k_bias, c.kv_length()) +
             floats(layer.v_bias, c.kv_length()) + floats(layer.q_norm, c.head_length) +
             floats(layer.k_norm, c.head_length) + floats(layer.sinks, c.heads) +
             floats(layer.attention_output_bias, c.embedding) + floats(layer.router_bias, c.experts);
    const int stack = std::max(c.experts, 1), used = std::max(c.experts_used, 1);
    const uint64_t ffn = layer.gate.bytes() + layer.up.bytes() + layer.down.bytes() +
                         floats(layer.gate_bias, stack * c.feed_forward) +
                         floats(layer.up_bias, stack * c.feed_forward) + floats(layer.down_bias, stack * c.embedding);
    bytes += ffn / static_cast<uint64_t>(stack) * static_cast<uint64_t>(used);
  }
  return bytes;
}

}  // namespace hearth
