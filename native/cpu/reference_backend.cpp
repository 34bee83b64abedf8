#include "reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "../core/dequantize.h"
#include "../core/error.h"
#include "ceilings.h"

namespace hearth {

namespace {

using Floats = std::vector<float>;

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend(const Model& model, ThreadPool& pool, RopeMode rope)
      : model_(model), config_(model.config()), pool_(pool), rope_(config_, rope) {}

  const char* name() const override { return "reference"; }
  CacheType cache_type() const override { return CacheType::f32; }
  Ceilings measure_ceilings() override { return cpu::measure_ceilings(pool_); }

  void begin(const Batch& batch, KvBlocks& cache) override {
    if (cache.type() != CacheType::f32) fail("the reference kernels need a cache of type f32");
    batch_ = &batch;
    cache_ = &cache;
    runs_ = runs_of(batch);
    rows_ = batch.rows();
    x_.assign(size(rows_, config_.embedding), 0);
    const int half = config_.rope_length / 2;
    cos_.resize(size(rows_, half));
    sin_.resize(size(rows_, half));
    for (int r = 0; r < rows_; r++)
      rope_.table(batch.positions[static_cast<size_t>(r)], &cos_[size(r, half)], &sin_[size(r, half)]);
  }

  void embed() override {
    for (int r = 0; r < rows_; r++)
      dequantize_row(model_.embedding(), batch_->tokens[static_cast<size_t>(r)], &x_[size(r, config_.embedding)]);
  }

  bool runs_draft_heads() const override { return true; }

  void embed_with(const float* features) override {
    const int E = config_.embedding;
    const Layer& layer = model_.layers()[0];
    embed();
    const Floats given(features, features + size(rows_, E));
    const Floats e = rms_norm(x_, rows_, E, layer.attention_norm), g = rms_norm(given, rows_, E, layer.hidden_norm);
    pairs_.resize(size(rows_, 2 * E));
    for (int r = 0; r < rows_; r++) {
      std::memcpy(&pairs_[size(r, 2 * E)], &e[size(r, E)], static_cast<size_t>(E) * sizeof(float));
      std::memcpy(&pairs_[size(r, 2 * E) + static_cast<size_t>(E)], &g[size(r, E)],
                  static_cast<size_t>(E) * sizeof(float));
    }
    x_ = model_.head().norm_before_residual ? g : given;
  }

  void read_hidden(float* to, size_t stride) override {
    for (int r = 0; r < rows_; r++)
      std::memcpy(to + static_cast<size_t>(r) * stride, &x_[size(r, config_.embedding)],
                  static_cast<size_t>(config_.embedding) * sizeof(float));
  }

  void project(const Matrix& matrix, const float* x, int rows, float* y) override {
    const Floats out = matmul(matrix, Floats(x, x + size(rows, matrix.columns)), rows, nullptr);
    std::copy(out.begin(), out.end(), y);
  }

  void attention_input(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    const int D = config_.head_length, KV = config_.kv_length(), half = config_.rope_length / 2;
    const Floats h = layer.hidden_norm ? pairs_ : rms_norm(x_, rows_, config_.embedding, layer.attention_norm);
    q_ = matmul(layer.q, h, rows_, layer.q_bias);
    Floats k = matmul(layer.k, h, rows_, layer.k_bias);
    Floats v = matmul(layer.v, h, rows_, layer.v_bias);
    if (layer.q_norm) q_ = rms_norm(q_, rows_ * config_.heads, D, layer.q_norm);
    if (layer.k_norm) k = rms_norm(k, rows_ * config_.heads_kv, D, layer.k_norm);
    const auto rotate_head = [&](float* head, int r) {
      rotate(head, config_.rope_length, config_.architecture->rope_layout, &cos_[size(r, half)], &sin_[size(r, half)]);
    };
    for (const Run& run : runs_)
      for (int i = 0; i < run.rows; i++) {
        const int r = run.first_row + i, position = run.first_position + i, slot = position % kCacheBlock;
        const int block = (*run.blocks)[static_cast<size_t>(position / kCacheBlock)];
        for (int head = 0; head < config_.heads; head++)
          rotate_head(&q_[size(r, config_.q_length()) + size(head, D)], r);
        for (int head = 0; head < config_.heads_kv; head++) {
          float* key = &k[size(r, KV) + size(head, D)];
          rotate_head(key, r);
          auto* keys = reinterpret_cast<float*>(cache_->keys(n, block, head));
          auto* values = reinterpret_cast<float*>(cache_->values(n, block, head));
          for (int d = 0; d < D; d++) keys[d * kCacheBlock + slot] = key[d];
          std::memcpy(values + slot * D, &v[size(r, KV) + size(head, D)], static_cast<size_t>(D) * sizeof(float));
        }
      }
  }

  void attention(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    const int D = config_.head_length, group = config_.heads / config_.heads_kv, window = config_.layer_window(n);
    a_.assign(size(rows_, config_.q_length()), 0);
    for (const Run& run : runs_)
      pool_.run(run.rows * config_.heads, [&](int task, int) {
        const int i = task / config_.heads, head = task % config_.heads, kv = head / group;
        const int r = run.first_row + i, position = run.first_position + i;
        const int first = window > 0 ? std::max(0, position - window + 1) : 0;
        const float* q = &q_[size(r, config_.q_length()) + size(head, D)];
        auto block = [&](int j) { return (*run.blocks)[static_cast<size_t>(j / kCacheBlock)]; };
        std::vector<double> score(static_cast<size_t>(position - first + 1));
        const double sink = layer.sinks ? layer.sinks[head] : -std::numeric_limits<double>::infinity();
        double largest = sink;
        for (int j = first; j <= position;) {
          const int slot = j % kCacheBlock, count = std::min(kCacheBlock - slot, position + 1 - j);
          auto* keys = reinterpret_cast<const float*>(cache_->keys(n, block(j), kv)) + slot;
          double* s = &score[static_cast<size_t>(j - first)];
          for (int d = 0; d < D; d++)
            for (int i = 0; i < count; i++) s[i] += static_cast<double>(q[d]) * keys[d * kCacheBlock + i];
          j += count;
        }
        for (double& s : score) {
          s /= std::sqrt(static_cast<double>(D));
          largest = std::max(largest, s);
        }
        // The sink takes a share of the softmax but has no value to add.
        double total = std::exp(sink - largest);
        std::vector<double> out(static_cast<size_t>(D), 0.0);
        for (int j = first; j <= position; j++) {
          auto* value = reinterpret_cast<const float*>(cache_->values(n, block(j), kv)) + j % kCacheBlock * D;
          double p = std::exp(score[static_cast<size_t>(j - first)] - largest);
          total += p;
          for (int d = 0; d < D; d++) out[static_cast<size_t>(d)] += p * value[d];
        }
        for (int d = 0; d < D; d++)
          a_[size(r, config_.q_length()) + size(head, D) + static_cast<size_t>(d)] =
              static_cast<float>(out[static_cast<size_t>(d)] / total);
      });
  }

  void attention_output(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    add(x_, matmul(layer.attention_output, a_, rows_, layer.attention_output_bias));
  }

  void experts(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    const int E = config_.embedding, F = config_.feed_forward, X = config_.experts, used = config_.experts_used;
    Floats h = rms_norm(x_, rows_, E, layer.ffn_norm);
    if (X == 0) return add(x_, feed_forward(layer, 0, h, rows_));
    Floats scores = matmul(layer.router, h, rows_, layer.router_bias);
    std::vector<std::vector<std::pair<int, float>>> rows_of(static_cast<size_t>(X));  // expert → (row, weight)
    for (int r = 0; r < rows_; r++) {
      const float* score = &scores[size(r, X)];
      std::vector<int> order(static_cast<size_t>(X));
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return score[a] > score[b]; });
      double total = 0;
      for (int u = 0; u < used; u++)
        total += std::exp(static_cast<double>(score[order[static_cast<size_t>(u)]]) - score[order[0]]);
      for (int u = 0; u < used; u++) {
        int expert = order[static_cast<size_t>(u)];
        rows_of[static_cast<size_t>(expert)].push_back(
            {r, static_cast<float>(std::exp(static_cast<double>(score[expert]) - score[order[0]]) / total)});
      }
    }
    for (int e = 0; e < X; e++) {
      const auto& chosen = rows_of[static_cast<size_t>(e)];
      const int count = static_cast<int>(chosen.size());
      if (count == 0) continue;
      Floats in(size(count, E));
      for (int i = 0; i < count; i++)
        std::memcpy(&in[size(i, E)], &h[size(chosen[static_cast<size_t>(i)].first, E)],
                    static_cast<size_t>(E) * sizeof(float));
      Floats out = feed_forward(layer, e, in, count);
      for (int i = 0; i < count; i++) {
        auto [row, weight] = chosen[static_cast<size_t>(i)];
        for (int d = 0; d < E; d++)
          x_[size(row, E) + static_cast<size_t>(d)] += weight * out[size(i, E) + static_cast<size_t>(d)];
      }
    }
  }

  const float* head() override {
    const int E = config_.embedding, count = static_cast<int>(batch_->outputs.size());
    Floats chosen(size(count, E));
    for (int o = 0; o < count; o++)
      std::memcpy(&chosen[size(o, E)], &x_[size(batch_->outputs[static_cast<size_t>(o)], E)],
                  static_cast<size_t>(E) * sizeof(float));
    logits_ = matmul(model_.output(), rms_norm(chosen, count, E, model_.output_norm()), count, nullptr);
    return logits_.data();
  }

 private:
  static size_t size(int rows, int columns) { return static_cast<size_t>(rows) * static_cast<size_t>(columns); }

  /// Computes down · act(gate · in, up · in), with the biases, of expert e or of a dense layer (e = 0). `in` and the
  /// result are [rows][E].
  Floats feed_forward(const Layer& layer, int e, const Floats& in, int rows) {
    const int E = config_.embedding, F = config_.feed_forward;
    const auto bias = [&](const float* stack, int length) { return stack ? stack + size(e, length) : nullptr; };
    Floats gate = matmul(layer.gate.slice(static_cast<int64_t>(e) * F, F), in, rows, bias(layer.gate_bias, F));
    Floats up = matmul(layer.up.slice(static_cast<int64_t>(e) * F, F), in, rows, bias(layer.up_bias, F));
    for (size_t i = 0; i < gate.size(); i++) gate[i] = activate(gate[i], up[i]);
    return matmul(layer.down.slice(static_cast<int64_t>(e) * E, E), gate, rows, bias(layer.down_bias, E));
  }

  float activate(float gate, float up) const {
    const auto silu = [](double x, double slope) { return x / (1 + std::exp(-slope * x)); };
    if (config_.architecture->activation == Activation::silu) return static_cast<float>(silu(gate, 1) * up);
    const float g = std::min(gate, kSwigluLimit), u = std::clamp(up, -kSwigluLimit, kSwigluLimit);
    return static_cast<float>(silu(g, kSwigluAlpha) * (u + 1));
  }

  Floats rms_norm(const Floats& x, int rows, int n, const float* weight) const {
    Floats y(x.size());
    for (int r = 0; r < rows; r++) {
      double sum = 0;
      for (int i = 0; i < n; i++)
        sum += static_cast<double>(x[size(r, n) + static_cast<size_t>(i)]) * x[size(r, n) + static_cast<size_t>(i)];
      double scale = 1 / std::sqrt(sum / n + config_.rms_epsilon);
      for (int i = 0; i < n; i++)
        y[size(r, n) + static_cast<size_t>(i)] =
            static_cast<float>(x[size(r, n) + static_cast<size_t>(i)] * scale * weight[i]);
    }
    return y;
  }

  /// y[rows][matrix.rows] = x[rows][matrix.columns] · Wᵀ + bias (nullptr: none).
  Floats matmul(const Matrix& matrix, const Floats& x, int rows, const float* bias) {
    const int n = matrix.columns, outputs = static_cast<int>(matrix.rows);
    Floats y(size(rows, outputs));
    pool_.run(outputs, [&](int o, int) {
      Floats w(static_cast<size_t>(n));
      dequantize_row(matrix, o, w.data());
      for (int r = 0; r < rows; r++) {
        double sum = bias ? bias[o] : 0.0;
        for (int i = 0; i < n; i++)
          sum += static_cast<double>(w[static_cast<size_t>(i)]) * x[size(r, n) + static_cast<size_t>(i)];
        y[size(r, outputs) + static_cast<size_t>(o)] = static_cast<float>(sum);
      }
    });
    return y;
  }

  static void add(Floats& x, const Floats& y) {
    for (size_t i = 0; i < x.size(); i++) x[i] += y[i];
  }

  const Model& model_;
  const Config& config_;
  ThreadPool& pool_;
  Rope rope_;
  const Batch* batch_ = nullptr;
  KvBlocks* cache_ = nullptr;
  std::vector<Run> runs_;
  int rows_ = 0;
  Floats x_, pairs_, q_, a_, cos_, sin_, logits_;
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend(const Model& model, ThreadPool& pool, RopeMode rope) {
  return std::make_unique<ReferenceBackend>(model, pool, rope);
}

}  // namespace hearth
