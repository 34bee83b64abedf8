#include "model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "error.h"

namespace hearth {

float half_to_float(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 0) {  // zero or subnormal: fraction × 2^-24
    float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -value : value;
  }
  uint32_t bits = exponent == 31 ? 0x7F800000u | fraction << 13 : (exponent + 112) << 23 | fraction << 13;
  return std::bit_cast<float>(sign | bits);
}

float bfloat_to_float(uint16_t bfloat) { return std::bit_cast<float>(static_cast<uint32_t>(bfloat) << 16); }

namespace {

std::string shape_text(const Tensor& tensor) {
  std::string text;
  for (int d = 0; d < tensor.dimensions; d++) text += (d ? ", " : "[") + std::to_string(tensor.shape[d]);
  return text + "]";
}

const Tensor& find(const Gguf& gguf, const std::string& name, std::initializer_list<int64_t> shape) {
  const Tensor* tensor = gguf.find_tensor(name);
  const char* file = gguf.file().path().c_str();
  if (!tensor) fail("%s lacks the tensor %s; the file is incomplete or not a gpt-oss model", file, name.c_str());
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

int checked(const Gguf& gguf, const std::string& key, uint32_t low, uint32_t high, uint32_t absent = 0) {
  uint32_t value = absent ? gguf.u32(key, absent) : gguf.u32(key);
  if (value < low || value > high)
    fail("%s: the metadata key %s is %u, which is outside %u..%u", gguf.file().path().c_str(), key.c_str(), value, low, high);
  return static_cast<int>(value);
}

Config read_config(const Gguf& gguf) {
  const char* file = gguf.file().path().c_str();
  std::string_view architecture = gguf.string("general.architecture");
  if (architecture != "gpt-oss")
    fail("%s has the architecture \"%s\"; this version of Hearth runs gpt-oss models (architecture \"gpt-oss\")", file,
         printable(architecture).c_str());
  if (gguf.u32("split.count", 1) > 1) fail("%s is one part of a split model; merge the parts into one file first", file);
  auto number = [&](const char* key, uint32_t low, uint32_t high, uint32_t absent = 0) {
    return checked(gguf, std::string("gpt-oss.") + key, low, high, absent);
  };
  Config c{};
  c.layers = number("block_count", 1, 1024);
  c.embedding = number("embedding_length", 1, 1 << 16);
  c.context_length = number("context_length", 1, 1 << 24);
  c.heads = number("attention.head_count", 1, 1024);
  c.heads_kv = number("attention.head_count_kv", 1, 1024, static_cast<uint32_t>(c.heads));
  c.head_length = number("attention.key_length", 1, 256, static_cast<uint32_t>(std::max(1, c.embedding / c.heads)));
  int value_length = number("attention.value_length", 1, 256, static_cast<uint32_t>(c.head_length));
  c.experts = number("expert_count", 1, 1024);
  c.experts_used = number("expert_used_count", 1, 64);
  c.feed_forward = number("expert_feed_forward_length", 1, 1 << 16);
  c.window = number("attention.sliding_window", 1, 1 << 24);
  c.rms_epsilon = gguf.f32("gpt-oss.attention.layer_norm_rms_epsilon");
  c.rope_base = gguf.f32("gpt-oss.rope.freq_base");
  std::string_view scaling = gguf.string("gpt-oss.rope.scaling.type", "none");
  if (scaling != "none" && scaling != "yarn")
    fail("%s: RoPE scaling \"%s\" is not supported (none and yarn are)", file, printable(scaling).c_str());
  c.rope_factor = scaling == "yarn" ? gguf.f32("gpt-oss.rope.scaling.factor") : 1.0f;
  c.rope_original_context = number("rope.scaling.original_context_length", 1, 1 << 24, static_cast<uint32_t>(c.context_length));
  c.rope_beta_fast = gguf.f32("gpt-oss.rope.scaling.yarn_beta_fast", 32.0f);
  c.rope_beta_slow = gguf.f32("gpt-oss.rope.scaling.yarn_beta_slow", 1.0f);

  if (c.head_length != value_length) fail("%s: keys of %d and values of %d differ in length, which is not supported", file, c.head_length, value_length);
  if (c.head_length % 8) fail("%s: a head length of %d is no multiple of 8, which is not supported", file, c.head_length);
  if (c.heads % c.heads_kv) fail("%s: %d query heads cannot share %d key/value heads evenly", file, c.heads, c.heads_kv);
  if (c.experts_used > c.experts) fail("%s: %d of %d experts cannot be used", file, c.experts_used, c.experts);
  if (!(c.rms_epsilon >= 0 && c.rms_epsilon < 1) || !(c.rope_base > 1 && c.rope_base < 1e12f) ||
      !(c.rope_factor >= 1 && c.rope_factor <= 65536) || !(c.rope_beta_fast > c.rope_beta_slow && c.rope_beta_slow > 0))
    fail("%s: RMS epsilon %g, RoPE base %g, factor %g or betas %g and %g are out of range", file, c.rms_epsilon,
         c.rope_base, c.rope_factor, c.rope_beta_fast, c.rope_beta_slow);
  return c;
}

}  // namespace

Matrix Model::matrix(const std::string& name, int64_t columns, int64_t rows, int64_t stack) {
  const Tensor& tensor = stack == 1 ? find(gguf_, name, {columns, rows}) : find(gguf_, name, {columns, rows, stack});
  switch (tensor.type) {
    case TensorType::F32:
    case TensorType::F16:
    case TensorType::BF16:
    case TensorType::Q8_0:
    case TensorType::MXFP4: break;
    default:
      fail("%s: tensor %s has the type %s, which this version of Hearth does not compute with; use a file with MXFP4, "
           "Q8_0, F16, BF16 or F32 weights",
           gguf_.file().path().c_str(), name.c_str(), type_traits(tensor.type)->name);
  }
  return {tensor.type, tensor.data, rows * stack, static_cast<int>(columns),
          static_cast<size_t>(tensor.bytes) / static_cast<size_t>(rows * stack)};
}

const float* Model::vector(const std::string& name, int64_t length, int64_t stack) {
  const Tensor& tensor = stack == 1 ? find(gguf_, name, {length}) : find(gguf_, name, {length, stack});
  if (tensor.type == TensorType::F32) return reinterpret_cast<const float*>(tensor.data);
  if (tensor.type != TensorType::F16 && tensor.type != TensorType::BF16)
    fail("%s: tensor %s has the type %s; norms, biases and sinks must be F32, F16 or BF16", gguf_.file().path().c_str(),
         name.c_str(), type_traits(tensor.type)->name);
  auto count = static_cast<size_t>(length * stack);
  auto values = std::make_unique<float[]>(count);
  for (size_t i = 0; i < count; i++) {
    uint16_t bits;
    std::memcpy(&bits, tensor.data + 2 * i, 2);
    values[i] = tensor.type == TensorType::F16 ? half_to_float(bits) : bfloat_to_float(bits);
  }
  converted_.push_back(std::move(values));
  return converted_.back().get();
}

Model::Model(const std::string& path) : gguf_(path) {
  config_ = read_config(gguf_);
  const Config& c = config_;
  const int64_t E = c.embedding, F = c.feed_forward, X = c.experts, Q = c.q_length(), KV = c.kv_length();
  const Tensor* embedding = gguf_.find_tensor("token_embd.weight");
  if (!embedding) fail("%s lacks the tensor token_embd.weight", path.c_str());
  if (embedding->dimensions != 2 || embedding->shape[1] > 1 << 24)
    fail("%s: tensor token_embd.weight has the shape %s, which is no embedding", path.c_str(), shape_text(*embedding).c_str());
  config_.vocabulary = static_cast<int>(embedding->shape[1]);
  embedding_ = matrix("token_embd.weight", E, c.vocabulary);
  output_ = matrix("output.weight", E, c.vocabulary);
  output_norm_ = vector("output_norm.weight", E);
  for (int n = 0; n < c.layers; n++) {
    std::string blk = "blk." + std::to_string(n) + ".";
    // Stacks of one expert have the same shape with and without the third dimension.
    Layer layer{};
    layer.attention_norm = vector(blk + "attn_norm.weight", E);
    layer.q = matrix(blk + "attn_q.weight", E, Q);
    layer.k = matrix(blk + "attn_k.weight", E, KV);
    layer.v = matrix(blk + "attn_v.weight", E, KV);
    layer.q_bias = vector(blk + "attn_q.bias", Q);
    layer.k_bias = vector(blk + "attn_k.bias", KV);
    layer.v_bias = vector(blk + "attn_v.bias", KV);
    layer.sinks = vector(blk + "attn_sinks.weight", c.heads);
    layer.attention_output = matrix(blk + "attn_output.weight", Q, E);
    layer.attention_output_bias = vector(blk + "attn_output.bias", E);
    layer.ffn_norm = vector(blk + "post_attention_norm.weight", E);
    layer.router = matrix(blk + "ffn_gate_inp.weight", E, X);
    layer.router_bias = vector(blk + "ffn_gate_inp.bias", X);
    layer.gate = matrix(blk + "ffn_gate_exps.weight", E, F, X);
    layer.up = matrix(blk + "ffn_up_exps.weight", E, F, X);
    layer.down = matrix(blk + "ffn_down_exps.weight", F, E, X);
    layer.gate_bias = vector(blk + "ffn_gate_exps.bias", F, X);
    layer.up_bias = vector(blk + "ffn_up_exps.bias", F, X);
    layer.down_bias = vector(blk + "ffn_down_exps.bias", E, X);
    layers_.push_back(layer);
  }
  gguf_.file().read_ahead();
}

uint64_t Model::bytes_per_token() const {
  const Config& c = config_;
  uint64_t bytes = output_.bytes() + embedding_.row_bytes + 4ull * static_cast<uint64_t>(c.embedding);
  for (const Layer& layer : layers_) {
    bytes += layer.q.bytes() + layer.k.bytes() + layer.v.bytes() + layer.attention_output.bytes() + layer.router.bytes();
    uint64_t experts = layer.gate.bytes() + layer.up.bytes() + layer.down.bytes() +
                       4ull * static_cast<uint64_t>(c.experts) * static_cast<uint64_t>(2 * c.feed_forward + c.embedding);
    bytes += experts / static_cast<uint64_t>(c.experts) * static_cast<uint64_t>(c.experts_used);
    bytes += 4ull * static_cast<uint64_t>(3 * c.embedding + c.q_length() + 2 * c.kv_length() + c.heads + c.experts);
  }
  return bytes;
}

}  // namespace hearth
