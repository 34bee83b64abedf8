// The CPU encodes a step's launches into command buffers, in the order that kernel_args.h gives. The GPU works on one
// command buffer while the CPU encodes the next. Before the first command, the CPU writes what all rounds of the step
// need: tokens, positions and block tables. So the GPU goes on from one round to the next by itself, and the CPU reads
// the tokens of the rounds that are done.
#include "metal_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <map>

#include "../core/error.h"
#include "../core/rope.h"
#include "ceilings.h"
#include "gpu_memory.h"
#include "kernels.h"
#include "rounds.h"

namespace hearth::metal {

static_assert(gpu::kPositionsPerBlock == kCacheBlock);

namespace {

/// The most bytes of scratch between attention and attention_merge. Rows that need more are split into several
/// launches.
constexpr size_t kPartsBytes = size_t{64} << 20;
/// The most output rows whose logits are in memory at once.
constexpr int kHeadRows = 64;
/// From this number of rows on, a command buffer holds one layer. So a model that is closed waits for one layer at
/// most.
constexpr int kLongStep = 64;
/// Layers of a command buffer in a short step. The first command buffer of a step holds one layer only, so that the GPU
/// starts at once.
constexpr int kLayersPerCommand = 12;
/// Threads of the kernels on matrix units.
constexpr uint32_t kMatrixThreads = 128;
uint32_t u32(size_t n) { return static_cast<uint32_t>(n); }
uint32_t u32(int n) { return static_cast<uint32_t>(n); }
uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

size_t matrix_bytes(int rows, int width) {
  return static_cast<size_t>(rows) * gpu::activation_stride(u32(width)) * sizeof(float);
}

/// Why the kernels cannot run this model. Empty where they can.
std::string unsupported(const Model& model) {
  const Config& c = model.config();
  if (u32(c.experts) > gpu::kMaxExperts || u32(c.experts_used) > gpu::kMaxExpertsUsed)
    return "its experts are too many for the Metal kernels";
  if (c.rope_length != c.head_length) return "its heads turn in part only";
  if (u32(c.head_length) > gpu::kMaxHeadLength) return "its heads are too long for the Metal kernels";
  return "";
}

/// A KV cache whose memory the GPU reads and writes in place.
class MetalBlocks final : public KvBlocks {
 public:
  MetalBlocks(std::shared_ptr<Residency> residency, const Config& config, int blocks, CacheType type)
      : KvBlocks(config, blocks, type),
        residency_(std::move(residency)),
        mapped_(residency_->device(), memory(), bytes(), layer_bytes()) {
    residency_->add(mapped_.buffers());
  }
  ~MetalBlocks() override { residency_->remove(mapped_.buffers()); }

  gpu::View layer(int n) const {
    return mapped_.view(memory() + layer_bytes() * static_cast<size_t>(n), layer_bytes());
  }

 private:
  std::shared_ptr<Residency> residency_;
  gpu::MappedMemory mapped_;
};

/// What a launch reads and writes, in bytes. Launch in core/backend.h describes the fields.
struct Cost {
  double weights = 0, weight_passes = 1, cache = 0, activations = 0;
};

struct Binding {
  uint32_t index;
  gpu::View view;
};

class MetalBackend final : public Backend {
 public:
  MetalBackend(const Model& model, RopeMode rope, bool matrix_units, std::shared_ptr<gpu::Device> device)
      : model_(model),
        config_(model.config()),
        matrix_units_(matrix_units),
        rope_(config_, rope),
        device_(std::move(device)),
        residency_(std::make_shared<Residency>(device_)),
        kernels_(device_),
        rounds_(device_),
        weights_(*device_, model.gguf().file().data(), model.gguf().file().size(), longest_tensor(model.gguf())) {
    copy_converted_vectors();
    make_neutral_vectors();
    residency_->add(weights_.buffers());
    prepare_pipelines();
  }

  ~MetalBackend() override {
    abort();
    commands_.reset();
    flying_.clear();
    residency_->remove(weights_.buffers());
  }

  const char* name() const override { return "metal"; }
  std::string hardware() const override { return device_->info().name; }
  CacheType cache_type() const override { return CacheType::f16; }
  bool encodes() const override { return true; }
  Ceilings measure_ceilings() override {
    Ceilings ceilings;
    guarded([&] {
      const gpu::Buffer* weights = weights_.buffers().front();
      ceilings = metal::measure_ceilings(*device_, kernels_, {weights, 0, weights->bytes()});
    });
    return ceilings;
  }

  std::shared_ptr<KvBlocks> make_cache(const Config& config, int blocks, CacheType type) override {
    if (type == CacheType::f32) fail("the Metal kernels need a cache of type f16 or q8_0");
    return std::make_shared<MetalBlocks>(residency_, config, blocks, type);
  }

  void begin(const Batch& batch, KvBlocks& cache) override {
    guarded([&] {
      batch_ = &batch;
      cache_ = &dynamic_cast<MetalBlocks&>(cache);
      rows_ = batch.rows();
      round_ = 0;
      rounds_.begin(batch);
      write_inputs();
      reserve();
      plan_attention();
      open_commands();
    });
  }

  bool next_round() override {
    round_++;
    guarded([&] { open_commands(); });
    return true;
  }

  void embed() override {
    guarded([&] {
      const Matrix& table = model_.embedding();
      launch(
          "embed", Constants({{kType, type_of(table)}, {kColumns, u32(config_.embedding)}}),
          gpu::EmbedArgs{u32(config_.embedding)}, {{1, matrix(table)}, {2, rounds_.tokens(round_)}, {3, x_.view()}},
          {u32(rows_), 1, 1}, kReduceThreads,
          {static_cast<double>(rows_) * static_cast<double>(table.row_bytes), 1, 0, floats(rows_, config_.embedding)});
    });
  }

  void attention_input(int n) override {
    layer_ = n;
    guarded([&] {
      const Layer& layer = model_.layers()[static_cast<size_t>(n)];
      const int E = config_.embedding;
      norm(x_.view(), layer.attention_norm, h_.view(), rows_, nullptr);
      const auto columns = static_cast<uint32_t>(columns_for(rows_)),
                 quads = u32((config_.heads + 2 * config_.heads_kv) * config_.head_length / 4);
      const gpu::QkvArgs args{
          u32(E), u32(rows_), u32(config_.heads), u32(config_.heads_kv), u32(config_.head_length), cache_info()};
      const bool matrices = by_matrices(rows_);
      const std::string kernel = matrices ? "qkv_mm" : "qkv_c" + std::to_string(columns);
      const bool biased = layer.q_bias || layer.k_bias || layer.v_bias, raw = heads_by_themselves();
      const Constants set = Constants({{kType, type_of(layer.q)},
                                       {kTypeB, type_of(layer.k)},
                                       {kTypeC, type_of(layer.v)},
                                       {kColumns, u32(E)},
                                       {kHasBias, biased},
                                       {kInterleaved, interleaved()},
                                       {kRaw, raw}});
      const int biases = biased ? config_.q_length() + 2 * config_.kv_length() : 0;
      const uint32_t passes = ceil_div(u32(rows_), columns * gpu::kSharedTiles);
      launch(
          kernel, set, args,
          {{1, matrix(layer.q)},
           {2, matrix(layer.k)},
           {3, matrix(layer.v)},
           {4, vector_or(layer.q_bias, config_.q_length(), *zeros_)},
           {5, vector_or(layer.k_bias, config_.kv_length(), *zeros_)},
           {6, vector_or(layer.v_bias, config_.kv_length(), *zeros_)},
           {7, h_.view()},
           {8, rope_table_.view()},
           {9, row_infos_.view()},
           {10, tables_.view()},
           {11, q_.view()},
           {12, raw ? kv_.view() : cache_->layer(n)}},
          matrices ? matrix_grid(4 * quads, u32(rows_))
                   : gpu::Size{gpu::product_groups(quads, u32(rows_), columns, kernels_.simdgroups(kernel, set)), 1, 1},
          threads_of(matrices),
          {static_cast<double>(layer.q.bytes() + layer.k.bytes() + layer.v.bytes()) + 4.0 * biases,
           static_cast<double>(passes), raw ? 0 : rows_ * position_bytes(),
           floats(rows_, E) + floats(rows_, config_.q_length()) + (raw ? floats(rows_, 2 * config_.kv_length()) : 0)});
      if (raw) heads(n, layer);
    });
  }

  void attention(int n) override {
    guarded([&] {
      const int window = config_.layer_window(n);
      const Layer& layer = model_.layers()[static_cast<size_t>(n)];
      const uint32_t groups = u32(config_.heads_kv) * ceil_div(u32(config_.heads / config_.heads_kv), 8);
      gpu::AttentionArgs args{0,
                              0,
                              0,
                              u32(config_.heads),
                              u32(config_.heads_kv),
                              u32(config_.head_length),
                              u32(window),
                              static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_length))),
                              cache_info()};
      const Constants both = Constants({{kHeadLength, u32(config_.head_length)},
                                        {kGroup, u32(config_.heads / config_.heads_kv)},
                                        {kQ8Cache, quantised_cache()}});
      if (row_tile_count_ > 0) {
        args.rows = u32(rows_);
        const bool matrices = by_matrices(rows_) && config_.heads / config_.heads_kv % 8 == 0 && !quantised_cache();
        const std::string kernel =
            std::string(matrices ? "attention_mm_d" : "attention_rows_d") + (config_.head_length <= 64 ? "64" : "128");
        launch(kernel, both, args,
               {{1, q_.view()},
                {2, cache_->layer(n)},
                {3, row_infos_.view()},
                {4, tables_.view()},
                {5, vector_or(layer.sinks, config_.heads, *no_sinks_)},
                {6, a_.view()},
                {7, row_tiles_.view()}},
               {u32(row_tile_count_), groups, 1}, kReduceThreads,
               {layer.sinks ? 4.0 * config_.heads : 0, 1, tile_cache_bytes(window),
                2 * floats(tiled_rows_, config_.q_length())});
      }
      // The launches below work on different rows than the one above, so the first of them may run beside it. The
      // following ones use the same scratch and must wait.
      bool beside = row_tile_count_ > 0;
      for (const Span& span : spans_) {
        for (int first = span.first; first < span.first + span.rows;) {
          const Slice slice = slice_of(first, span.first + span.rows, window);
          args.rows = u32(slice.rows);
          args.first_row = u32(first);
          args.slots = slice.slots;
          const size_t cells = static_cast<size_t>(slice.rows) * slice.slots * static_cast<size_t>(config_.heads);
          const gpu::View out = part_out_.get(cells * static_cast<size_t>(config_.head_length) * 4);
          const gpu::View state = part_state_.get(cells * 8);
          const double parts = static_cast<double>(cells) * (4.0 * config_.head_length + 8);
          launch("attention", both, args,
                 {{1, q_.view()},
                  {2, cache_->layer(n)},
                  {3, row_infos_.view()},
                  {4, tables_.view()},
                  {5, out},
                  {6, state}},
                 {ceil_div(slice.slots, kernels_.simdgroups("attention", both)), groups, u32(slice.rows)}, 0,
                 {0, 1, row_cache_bytes(first, slice.rows, window), floats(slice.rows, config_.q_length()) + parts},
                 beside);
          const Constants one = Constants({{kHeadLength, u32(config_.head_length)}});
          launch("attention_merge", one, args,
                 {{1, out},
                  {2, state},
                  {3, row_infos_.view()},
                  {4, vector_or(layer.sinks, config_.heads, *no_sinks_)},
                  {5, a_.view()}},
                 {ceil_div(u32(config_.heads), kernels_.simdgroups("attention_merge", one)), u32(slice.rows), 1}, 0,
                 {layer.sinks ? 4.0 * config_.heads : 0, 1, 0, parts + floats(slice.rows, config_.q_length())});
          beside = false;
          first += slice.rows;
        }
      }
    });
  }

  void attention_output(int n) override {
    guarded([&] {
      const Layer& layer = model_.layers()[static_cast<size_t>(n)];
      linear(layer.attention_output, layer.attention_output_bias, a_.view(), x_.view(), rows_, true);
    });
  }

  void experts(int n) override {
    guarded([&] {
      const Layer& layer = model_.layers()[static_cast<size_t>(n)];
      const int E = config_.embedding, X = config_.experts, used = config_.experts_used;
      if (X == 0) return feed_forward(layer);
      launch("router", Constants({{kType, type_of(layer.router)}, {kColumns, u32(E)}}),
             gpu::RouterArgs{u32(E), u32(X), u32(used), config_.rms_epsilon},
             {{1, x_.view()},
              {2, vector(layer.ffn_norm, E)},
              {3, matrix(layer.router)},
              {4, vector_or(layer.router_bias, X, *zeros_)},
              {5, h_.view()},
              {6, choices_.view()}},
             {u32(rows_), 1, 1}, kReduceThreads,
             {static_cast<double>(layer.router.bytes()) + 4.0 * (E + (layer.router_bias ? X : 0)),
              static_cast<double>(rows_), 0, 2 * floats(rows_, E) + 8.0 * rows_ * used});
      if (rows_ == 1) experts_of_one_row(layer);
      else experts_of_rows(layer);
    });
    layer_ = -1;
    end_layer(n);
  }

  /// sample() does the head's work, because it leaves the logits on the GPU.
  const float* head() override { return nullptr; }

  bool sample(StepResult& result) override {
    guarded([&] {
      const auto count = static_cast<int>(batch_->outputs.size());
      const auto V = static_cast<size_t>(config_.vocabulary);
      for (int first = 0; first < count; first += kHeadRows) {
        const int rows = std::min(kHeadRows, count - first);
        head_rows(first, rows);
        if (counting_ || !batch_->logits) continue;
        commit();
        drain(round_);
        const size_t stride = gpu::activation_stride(u32(config_.vocabulary));
        for (size_t i = 0; i < static_cast<size_t>(rows); i++)
          result.logits.insert(result.logits.end(), logits_.data<float>() + i * stride,
                               logits_.data<float>() + i * stride + V);
        if (first + rows < count) open_commands();
      }
      // While the CPU encodes the next round, the GPU finishes this one. The CPU stays one round ahead and no more,
      // because rounds after the end of a run are computed in vain.
      commit();
      drain(round_ - 1);
      if (!counting_) rounds_.take(round_ - 1, result);
    });
    return true;
  }

  void finish(StepResult& result) override {
    guarded([&] {
      commit();
      drain(round_);
      if (!counting_) rounds_.take(round_, result);
    });
    if (!counting_ && rounds_.all_ended()) fail("the model is being closed");
  }

  void abort() override { rounds_.end_through(kNeverEnded); }
  void end_runs(uint32_t number) override { rounds_.end_through(number); }

  StepCount count(const Batch& batch, KvBlocks& cache) override {
    counting_ = true;
    counted_ = {};
    StepResult nothing;
    begin(batch, cache);
    for (int round = 0; round < batch.rounds; round++) {
      if (round > 0) next_round();
      embed();
      for (int n = 0; n < config_.layers; n++) {
        attention_input(n);
        attention(n);
        attention_output(n);
        experts(n);
      }
      if (!batch.outputs.empty()) sample(nothing);
    }
    counting_ = false;
    counted_.scratch_bytes += rounds_.bytes();
    for (const Memory* scratch : scratch_) counted_.scratch_bytes += scratch->view().bytes;
    return std::move(counted_);
  }

 private:
  /// Adjacent rows whose attention is split over the keys.
  struct Span {
    int first, rows;
  };
  struct Slice {
    int rows;
    uint32_t slots;
  };

  static uint32_t type_of(const Matrix& matrix) { return static_cast<uint32_t>(matrix.type); }
  static double floats(int rows, int width) { return 4.0 * rows * width; }

  static size_t longest_tensor(const Gguf& gguf) {
    uint64_t longest = 1;
    for (const Tensor& tensor : gguf.tensors()) longest = std::max(longest, tensor.bytes);
    return static_cast<size_t>(longest);
  }

  /// The model has converted vectors that its file keeps as F16 or BF16. They lie outside of the mapped file, so the
  /// GPU gets copies.
  void copy_converted_vectors() {
    const auto copy = [&](const float* data, int64_t count) {
      if (!data) return;
      const MappedFile& file = model_.gguf().file();
      const auto* bytes = reinterpret_cast<const uint8_t*>(data);
      if (bytes >= file.data() && bytes < file.end()) return;
      auto buffer = device_->buffer(static_cast<size_t>(count) * sizeof(float));
      std::memcpy(buffer->contents(), data, static_cast<size_t>(count) * sizeof(float));
      converted_.emplace(data, std::move(buffer));
    };
    const Config& c = config_;
    copy(model_.output_norm(), c.embedding);
    for (const Layer& layer : model_.layers()) {
      copy(layer.attention_norm, c.embedding);
      copy(layer.q_bias, c.q_length());
      copy(layer.k_bias, c.kv_length());
      copy(layer.v_bias, c.kv_length());
      copy(layer.q_norm, c.head_length);
      copy(layer.k_norm, c.head_length);
      copy(layer.sinks, c.heads);
      copy(layer.attention_output_bias, c.embedding);
      copy(layer.ffn_norm, c.embedding);
      copy(layer.router_bias, c.experts);
      const int64_t stack = std::max(c.experts, 1);
      copy(layer.gate_bias, stack * c.feed_forward);
      copy(layer.up_bias, stack * c.feed_forward);
      copy(layer.down_bias, stack * c.embedding);
    }
  }

  /// Makes the vectors that a kernel reads where a layer has none. They change nothing.
  void make_neutral_vectors() {
    const Config& c = config_;
    const auto filled = [&](size_t count, float value) {
      auto buffer = device_->buffer(count * sizeof(float));
      std::fill_n(static_cast<float*>(buffer->contents()), count, value);
      return buffer;
    };
    zeros_ = filled(static_cast<size_t>(std::max(
                        {c.q_length(), c.experts, std::max(c.experts, 1) * std::max(c.feed_forward, c.embedding)})),
                    0);
    no_sinks_ = filled(static_cast<size_t>(c.heads), -std::numeric_limits<float>::max());
  }

  gpu::View matrix(const Matrix& matrix) const { return weights_.view(matrix.data, matrix.bytes()); }
  gpu::View vector(const float* data, int64_t count) const {
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    const auto copy = converted_.find(data);
    return copy != converted_.end() ? gpu::View{copy->second.get(), 0, bytes} : weights_.view(data, bytes);
  }

  /// The vector, or where the layer has none, `neutral`.
  gpu::View vector_or(const float* data, int64_t count, const gpu::Buffer& neutral) const {
    return data ? vector(data, count) : gpu::View{&neutral, 0, static_cast<size_t>(count) * sizeof(float)};
  }

  uint32_t interleaved() const { return config_.architecture->rope_layout == RopeLayout::interleaved; }
  /// Whether a launch of its own, `heads`, finishes the heads of Q, K and V.
  bool heads_by_themselves() const { return config_.architecture->head_norms || quantised_cache(); }

  /// Stands in for a buffer that a kernel names but does not read with these constants.
  gpu::View unused() const { return rounds_.stop_word(); }

  bool quantised_cache() const { return cache_->type() == CacheType::q8_0; }
  /// Bytes that the keys and values of one position take in a layer.
  double position_bytes() const {
    const int D = config_.head_length;
    return 2.0 * config_.heads_kv * (quantised_cache() ? D + 2 * KvBlocks::scale_groups(D) : 2 * D);
  }
  gpu::CacheInfo cache_info() const {
    const auto block = static_cast<uint32_t>(gpu::kPositionsPerBlock * position_bytes());
    return {block, block / (2 * u32(config_.heads_kv))};
  }

  /// Compiles every kernel that the model's steps will launch, so that a kernel that the GPU refuses is known before
  /// anything depends on it. To find the kernels, it counts a step of each size.
  void prepare_pipelines() {
    MetalBlocks cache(residency_, config_, 2, CacheType::f16);
    std::vector<int> sizes = {1, 2, 4, 8};
    if (matrix_units_) sizes.push_back(static_cast<int>(gpu::kMatrixColumns));
    for (const int rows : sizes) {
      Batch batch;
      batch.block_tables = {{0, 1}};
      batch.outputs = {};
      for (int r = 0; r < rows; r++) {
        batch.tokens.push_back(0);
        batch.positions.push_back(r);
        batch.sequences.push_back(0);
        batch.outputs.push_back(r);
      }
      batch.sampling.resize(batch.outputs.size());
      count(batch, cache);
    }
  }

  // ---- Commands

  /// `begins` says that the command buffer begins a round. There, a stop id among the tokens of the round before may
  /// end the run.
  void open_commands(bool begins = true) {
    if (counting_) counted_.command_buffers++;
    else commands_ = device_->command_buffer();
    first_of_commands_ = true;
    const bool may_end = begins && round_ > 0;
    const int before = std::max(0, round_ - 1);
    launch("latch_stop", {}, gpu::LatchArgs{may_end ? batch_->number : kNeverEnded, may_end ? u32(rows_) : 0},
           {{1, rounds_.request_word()},
            {2, may_end ? rounds_.chosen(before, 0, rows_) : unused()},
            {3, may_end ? rounds_.stop_ids() : unused()},
            {4, may_end ? rounds_.ended() : unused()}},
           {1, 1, 1}, gpu::kSimdWidth, {});
  }

  void commit() {
    if (!commands_) return;
    commands_->commit();
    flying_.push_back({round_, std::move(commands_)});
  }

  /// Waits for the command buffers that were committed up to round `last`. Throws DeviceError if one of them failed.
  void drain(int last) {
    std::string problem;
    while (!flying_.empty() && flying_.front().round <= last) {
      try {
        flying_.front().commands->wait();
      } catch (const Error& error) {
        if (problem.empty()) problem = error.what();
      }
      flying_.pop_front();
    }
    if (!problem.empty()) throw DeviceError(problem);
  }

  /// Runs a part of a step. If the part throws, this waits until no command is under way and throws a DeviceError,
  /// which says that the device is at fault.
  template <class Part> void guarded(const Part& part) {
    try {
      part();
    } catch (const std::exception& error) {
      commands_.reset();
      counting_ = false;
      std::string problem = error.what();
      try {
        drain(round_);
      } catch (const DeviceError& first) { problem = first.what(); }
      throw DeviceError(problem);
    }
  }

  void end_layer(int n) {
    const bool due = rows_ >= kLongStep || (n == 0 && round_ == 0) || (n + 1) % kLayersPerCommand == 0;
    if (!due || n + 1 == config_.layers) return;
    guarded([&] {
      commit();
      open_commands(false);
    });
  }

  /// Launches one kernel over a grid of threadgroups. The kernel begins after all earlier ones have ended, or, with
  /// `beside`, may run beside the one before it.
  template <class Args>
  void launch(const std::string& kernel, const Constants& set, const Args& args,
              std::initializer_list<Binding> bindings, gpu::Size grid, uint32_t threads, const Cost& cost,
              bool beside = false) {
    gpu::Pipeline& made = kernels_.pipeline(kernel, set);
    const uint32_t wanted =
        threads ? std::min(threads, made.max_threads()) : kernels_.simdgroups(kernel, set) * gpu::kSimdWidth;
    const bool barrier = !first_of_commands_ && !beside;
    first_of_commands_ = false;
    if (counting_) {
      counted_.launches.push_back({kernel,
                                   layer_,
                                   {grid.x, grid.y, grid.z},
                                   wanted,
                                   static_cast<uint32_t>(made.threadgroup_bytes()),
                                   barrier,
                                   cost.weights,
                                   cost.weight_passes,
                                   cost.cache,
                                   cost.activations});
      return;
    }
    if (barrier) commands_->barrier();
    commands_->pipeline(made);
    commands_->bytes(0, &args, sizeof args);
    for (const Binding& binding : bindings) commands_->buffer(static_cast<int>(binding.index), binding.view);
    commands_->buffer(gpu::kStopBuffer, rounds_.stop_word());
    commands_->dispatch(grid, {wanted, 1, 1});
  }

  // ---- The step's inputs

  void write_inputs() {
    const auto rows = static_cast<size_t>(rows_);
    const auto half = static_cast<size_t>(config_.head_length / 2);
    std::vector<uint32_t> starts;
    size_t total = 0;
    for (const auto& table : batch_->block_tables) {
      starts.push_back(u32(total));
      total += table.size();
    }
    tables_.get(std::max<size_t>(1, total) * 4);
    for (size_t i = 0; i < starts.size(); i++)
      std::memcpy(tables_.data<uint32_t>() + starts[i], batch_->block_tables[i].data(),
                  batch_->block_tables[i].size() * 4);
    row_infos_.get(rows * sizeof(gpu::RowInfo));
    rope_table_.get(rows * half * 8);
    cos_.resize(half);
    sin_.resize(half);
    for (size_t n = 0; n < rows * static_cast<size_t>(batch_->rounds); n++) {
      const size_t r = n % rows;
      const int position = batch_->positions[r] + static_cast<int>(n / rows);
      row_infos_.data<gpu::RowInfo>()[n] = {u32(position), starts[static_cast<size_t>(batch_->sequences[r])]};
      rope_.table(position, cos_.data(), sin_.data());
      for (size_t i = 0; i < half; i++) {
        rope_table_.data<float>()[(n * half + i) * 2] = cos_[i];
        rope_table_.data<float>()[(n * half + i) * 2 + 1] = sin_[i];
      }
    }
  }

  void reserve() {
    const int E = config_.embedding, U = std::max(config_.experts_used, 1);
    x_.get(matrix_bytes(rows_, E));
    h_.get(matrix_bytes(rows_, E));
    q_.get(matrix_bytes(rows_, config_.q_length()));
    if (heads_by_themselves()) kv_.get(matrix_bytes(rows_, 2 * config_.kv_length()));
    a_.get(matrix_bytes(rows_, config_.q_length()));
    act_.get(matrix_bytes(rows_ * U, config_.feed_forward));
    if (config_.experts > 0) choices_.get(static_cast<size_t>(rows_ * U) * sizeof(gpu::Choice));
    if (config_.experts > 0 && rows_ > 1) {
      lists_.get(static_cast<size_t>(config_.experts) * static_cast<size_t>(rows_) * 4);
      tiles_.get(static_cast<size_t>(expert_tiles()) * sizeof(gpu::ExpertTile));
      tile_count_.get(4);
      out_.get(matrix_bytes(rows_ * U, E));
    }
    const auto outputs = std::min<size_t>(batch_->outputs.size(), kHeadRows);
    if (outputs > 0) {
      normed_.get(matrix_bytes(static_cast<int>(outputs), E));
      logits_.get(matrix_bytes(static_cast<int>(outputs), config_.vocabulary));
    }
  }

  /// Decides how each row attends: long runs of rows are cut into tiles that share the keys they read, and the keys of
  /// all other rows are split over threadgroups.
  void plan_attention() {
    spans_.clear();
    row_tile_list_.clear();
    tiled_rows_ = 0;
    for (const Run& run : runs_of(*batch_)) {
      if (run.rows >= static_cast<int>(gpu::kAttentionRowTile) && config_.head_length <= 128) {
        for (int i = 0; i < run.rows; i += static_cast<int>(gpu::kAttentionRowTile))
          row_tile_list_.push_back({u32(run.first_row + i), std::min(gpu::kAttentionRowTile + 0u, u32(run.rows - i))});
        tiled_rows_ += run.rows;
      } else if (!spans_.empty() && spans_.back().first + spans_.back().rows == run.first_row) {
        spans_.back().rows += run.rows;
      } else {
        spans_.push_back({run.first_row, run.rows});
      }
    }
    row_tile_count_ = static_cast<int>(row_tile_list_.size());
    if (row_tile_count_ > 0) {
      row_tiles_.get(row_tile_list_.size() * sizeof(gpu::RowTile));
      std::memcpy(row_tiles_.data<gpu::RowTile>(), row_tile_list_.data(), row_tile_list_.size() * sizeof(gpu::RowTile));
    }
    // Reserves the scratch for the largest slice of any layer now, because memory may not move once commands are
    // encoded.
    size_t cells = 0;
    for (round_ = batch_->rounds - 1;; round_--) {
      for (const int window : {config_.window, 0})
        for (const Span& span : spans_)
          for (int first = span.first; first < span.first + span.rows;) {
            const Slice slice = slice_of(first, span.first + span.rows, window);
            cells = std::max(cells, static_cast<size_t>(slice.rows) * slice.slots);
            first += slice.rows;
          }
      if (round_ == 0) break;
    }
    if (cells > 0) {
      cells *= static_cast<size_t>(config_.heads);
      part_out_.get(cells * static_cast<size_t>(config_.head_length) * 4);
      part_state_.get(cells * 8);
    }
  }

  int position(int row) const { return batch_->positions[static_cast<size_t>(row)] + round_; }

  /// As many rows from `first` on, at most up to `end`, as the scratch of split attention holds.
  Slice slice_of(int first, int end, int window) const {
    const size_t cell = static_cast<size_t>(config_.heads * config_.head_length) * 4;
    Slice slice{0, 1};
    for (int r = first; r < end; r++) {
      const uint32_t slots = std::max(slice.slots, gpu::chunk_slots(u32(position(r)), u32(window)));
      if (slice.rows > 0 && static_cast<size_t>(slice.rows + 1) * slots * cell > kPartsBytes) break;
      slice = {slice.rows + 1, slots};
    }
    return slice;
  }

  /// Bytes of the keys and values that rows see. What several rows see counts once for each of them.
  double row_cache_bytes(int first, int rows, int window) const {
    double positions = 0;
    for (int r = first; r < first + rows; r++) {
      const int seen = position(r) + 1;
      positions += window > 0 ? std::min(seen, window) : seen;
    }
    return positions * position_bytes();
  }

  /// Bytes of the keys and values that tiles of rows see. What several tiles see counts once for each of them.
  double tile_cache_bytes(int window) const {
    double positions = 0;
    for (const gpu::RowTile& tile : row_tile_list_) {
      const int seen = batch_->positions[tile.first_row + tile.rows - 1] + 1;
      positions += window > 0 ? std::min(seen, window + static_cast<int>(tile.rows) - 1) : seen;
    }
    return positions * position_bytes();
  }

  // ---- Operations

  void norm(gpu::View x, const float* weight, gpu::View y, int rows, const gpu::View* gather) {
    const int E = config_.embedding;
    const Constants set = Constants({{kGather, gather ? 1u : 0u}, {kColumns, u32(E)}});
    const gpu::NormArgs args{u32(E), config_.rms_epsilon};
    const gpu::Size grid{u32(rows), 1, 1};
    const Cost cost{4.0 * E, 1, 0, 2 * floats(rows, E)};
    launch("norm", set, args, {{1, x}, {2, vector(weight, E)}, {3, y}, {4, gather ? *gather : unused()}}, grid,
           kReduceThreads, cost);
  }

  void linear(const Matrix& weights, const float* bias, gpu::View x, gpu::View y, int rows, bool residual) {
    const auto columns = static_cast<uint32_t>(columns_for(rows)),
               passes = ceil_div(u32(rows), columns * gpu::kSharedTiles);
    const bool matrices = by_matrices(rows);
    const std::string kernel = matrices ? "linear_mm" : "linear_c" + std::to_string(columns);
    const Constants set = Constants({{kType, type_of(weights)},
                                     {kColumns, u32(weights.columns)},
                                     {kHasBias, bias ? 1u : 0u},
                                     {kResidual, residual ? 1u : 0u}});
    const gpu::LinearArgs args{u32(weights.columns), u32(rows), u32(static_cast<size_t>(weights.rows))};
    const uint32_t quads = ceil_div(args.outputs, gpu::kOutputsPerSimdgroup);
    const gpu::Size grid =
        matrices ? matrix_grid(args.outputs, u32(rows))
                 : gpu::Size{gpu::product_groups(quads, u32(rows), columns, kernels_.simdgroups(kernel, set)), 1, 1};
    const int outputs = static_cast<int>(weights.rows);
    const Cost cost{static_cast<double>(weights.bytes()) + (bias ? 4.0 * outputs : 0), static_cast<double>(passes), 0,
                    floats(rows, weights.columns) + (residual ? 2 : 1) * floats(rows, outputs)};
    launch(kernel, set, args, {{1, matrix(weights)}, {2, bias ? vector(bias, outputs) : unused()}, {3, x}, {4, y}},
           grid, threads_of(matrices), cost);
  }

  /// Finishes the heads of Q, K and V where heads_by_themselves() says so.
  void heads(int n, const Layer& layer) {
    const Constants set = Constants({{kHeadLength, u32(config_.head_length)},
                                     {kInterleaved, interleaved()},
                                     {kHasNorm, layer.q_norm ? 1u : 0u},
                                     {kQ8Cache, quantised_cache()}});
    const gpu::HeadsArgs args{u32(config_.heads), u32(config_.heads_kv), u32(config_.head_length), config_.rms_epsilon,
                              cache_info()};
    const gpu::View q_norm = layer.q_norm ? vector(layer.q_norm, config_.head_length) : unused();
    const gpu::View k_norm = layer.k_norm ? vector(layer.k_norm, config_.head_length) : unused();
    launch("heads", set, args,
           {{1, q_.view()},
            {2, kv_.view()},
            {3, q_norm},
            {4, k_norm},
            {5, rope_table_.view()},
            {6, row_infos_.view()},
            {7, tables_.view()},
            {8, cache_->layer(n)}},
           {ceil_div(u32(config_.heads + 2 * config_.heads_kv), kernels_.simdgroups("heads", set)), u32(rows_), 1}, 0,
           {layer.q_norm ? 8.0 * config_.head_length : 0, 1, rows_ * position_bytes(),
            2 * floats(rows_, config_.q_length()) + floats(rows_, 2 * config_.kv_length())});
  }

  /// The dense feed-forward with its norm, added to the residual.
  void feed_forward(const Layer& layer) {
    const int E = config_.embedding, F = config_.feed_forward;
    norm(x_.view(), layer.ffn_norm, h_.view(), rows_, nullptr);
    const auto columns = static_cast<uint32_t>(columns_for(rows_)),
               passes = ceil_div(u32(rows_), columns * gpu::kSharedTiles);
    const bool matrices = by_matrices(rows_), biased = layer.gate_bias || layer.up_bias;
    const std::string kernel = matrices ? "ffn_mm" : "ffn_c" + std::to_string(columns);
    const Constants set =
        Constants({{kType, type_of(layer.gate)}, {kTypeB, type_of(layer.up)}, {kColumns, u32(E)}, {kHasBias, biased}});
    const gpu::Size grid =
        matrices
            ? matrix_grid(2 * u32(F), u32(rows_))
            : gpu::Size{gpu::product_groups(ceil_div(u32(F), 2), u32(rows_), columns, kernels_.simdgroups(kernel, set)),
                        1, 1};
    launch(kernel, set, gpu::LinearArgs{u32(E), u32(rows_), u32(F)},
           {{1, matrix(layer.gate)},
            {2, matrix(layer.up)},
            {3, vector_or(layer.gate_bias, F, *zeros_)},
            {4, vector_or(layer.up_bias, F, *zeros_)},
            {5, h_.view()},
            {6, act_.view()}},
           grid, threads_of(matrices),
           {static_cast<double>(layer.gate.bytes() + layer.up.bytes()) + (biased ? 8.0 * F : 0),
            static_cast<double>(passes), 0, floats(rows_, E) + floats(rows_, F)});
    linear(layer.down, layer.down_bias, act_.view(), x_.view(), rows_, true);
  }

  gpu::ExpertArgs expert_args(int columns, int outputs) const {
    const bool clamped = config_.architecture->activation == Activation::clamped_swiglu;
    return {u32(columns),
            u32(outputs),
            u32(rows_),
            u32(config_.experts_used),
            clamped ? kSwigluAlpha : 1,
            clamped ? kSwigluLimit : std::numeric_limits<float>::max(),
            clamped ? 1.0f : 0.0f};
  }
  /// Whether so many rows go through the matrix units, which add in an order that the hardware chooses.
  bool by_matrices(int rows) const { return matrix_units_ && rows >= static_cast<int>(gpu::kMatrixColumns); }
  static gpu::Size matrix_grid(uint32_t outputs, uint32_t rows) {
    return {ceil_div(outputs, gpu::kMatrixOutputs), ceil_div(rows, gpu::kMatrixColumns), 1};
  }
  static uint32_t threads_of(bool matrices) { return matrices ? kMatrixThreads : 0; }
  uint32_t expert_tile() const { return by_matrices(rows_) ? gpu::kMatrixColumns + 0u : gpu::kExpertTile + 0u; }
  int expert_tiles() const {
    return static_cast<int>(
        gpu::max_expert_tiles(u32(rows_), u32(config_.experts), u32(config_.experts_used), expert_tile()));
  }
  /// How many experts the rows touch on average if each row chooses independently.
  double expected_experts() const {
    const double miss = 1 - static_cast<double>(config_.experts_used) / config_.experts;
    return config_.experts * (1 - std::pow(miss, rows_));
  }
  /// How many tiles of at most `tile` rows the chosen experts have on average, under the same assumption.
  double expected_tiles(int tile) const {
    const double hit = static_cast<double>(config_.experts_used) / config_.experts;
    double chance = std::pow(1 - hit, rows_), tiles = 0;
    for (int k = 1; k <= rows_; k++) {
      chance = hit < 1 ? chance * (rows_ - k + 1) / k * hit / (1 - hit) : (k == rows_ ? 1 : 0);
      tiles += chance * std::ceil(static_cast<double>(k) / tile);
    }
    return config_.experts * tiles;
  }

  void experts_of_one_row(const Layer& layer) {
    const int E = config_.embedding, F = config_.feed_forward, U = config_.experts_used;
    const double share = static_cast<double>(U) / config_.experts;
    const Constants gate =
        Constants({{kType, type_of(layer.gate)}, {kTypeB, type_of(layer.up)}, {kColumns, u32(E)}, {kDirect, 1}});
    launch("gate_up_c1", gate, expert_args(E, F),
           {{1, matrix(layer.gate)},
            {2, matrix(layer.up)},
            {3, vector_or(layer.gate_bias, int64_t{config_.experts} * F, *zeros_)},
            {4, vector_or(layer.up_bias, int64_t{config_.experts} * F, *zeros_)},
            {5, h_.view()},
            {6, choices_.view()},
            {7, unused()},
            {8, unused()},
            {9, unused()},
            {10, act_.view()}},
           {ceil_div(u32(F), 2 * kernels_.simdgroups("gate_up_c1", gate)), u32(U), 1}, 0,
           {share * static_cast<double>(layer.gate.bytes() + layer.up.bytes()) + (layer.gate_bias ? 8.0 * U * F : 0), 1,
            0, floats(1, E) + floats(U, F)});
    const Constants down = Constants({{kType, type_of(layer.down)}, {kColumns, u32(F)}});
    launch("down_sum", down, expert_args(F, E),
           {{1, matrix(layer.down)},
            {2, vector_or(layer.down_bias, int64_t{config_.experts} * E, *zeros_)},
            {3, act_.view()},
            {4, choices_.view()},
            {5, x_.view()}},
           {ceil_div(u32(E), gpu::kOutputsPerSimdgroup * kernels_.simdgroups("down_sum", down)), 1, 1}, 0,
           {share * static_cast<double>(layer.down.bytes()) + (layer.down_bias ? 4.0 * U * E : 0), 1, 0,
            floats(U, F) + 2 * floats(1, E)});
  }

  void experts_of_rows(const Layer& layer) {
    const int E = config_.embedding, F = config_.feed_forward, U = config_.experts_used, X = config_.experts;
    const auto columns = static_cast<uint32_t>(columns_for(rows_)), tiles = u32(expert_tiles());
    const bool matrices = by_matrices(rows_);
    const std::string suffix = matrices ? "_mm" : "_c" + std::to_string(columns), gate_up = "gate_up" + suffix,
                      down = "down" + suffix;
    const double share = expected_experts() / X,
                 passes = expected_tiles(static_cast<int>(expert_tile())) / expected_experts();
    launch("expert_lists", {}, gpu::ExpertListsArgs{u32(rows_), u32(X), u32(U), expert_tile()},
           {{1, choices_.view()}, {2, lists_.view()}, {3, tiles_.view()}, {4, tile_count_.view()}}, {1, 1, 1},
           kReduceThreads, {0, 1, 0, 12.0 * rows_ * U + 12.0 * tiles});
    const Constants gate_set =
        Constants({{kType, type_of(layer.gate)}, {kTypeB, type_of(layer.up)}, {kColumns, u32(E)}, {kDirect, 0}});
    launch(gate_up, gate_set, expert_args(E, F),
           {{1, matrix(layer.gate)},
            {2, matrix(layer.up)},
            {3, vector_or(layer.gate_bias, int64_t{X} * F, *zeros_)},
            {4, vector_or(layer.up_bias, int64_t{X} * F, *zeros_)},
            {5, h_.view()},
            {6, choices_.view()},
            {7, lists_.view()},
            {8, tiles_.view()},
            {9, tile_count_.view()},
            {10, act_.view()}},
           {matrices ? ceil_div(u32(F), gpu::kMatrixOutputs / 2)
                     : ceil_div(u32(F), 2 * kernels_.simdgroups(gate_up, gate_set)),
            tiles, 1},
           threads_of(matrices),
           {share * (static_cast<double>(layer.gate.bytes() + layer.up.bytes()) + (layer.gate_bias ? 8.0 * X * F : 0)),
            passes, 0, floats(rows_ * U, E) + floats(rows_ * U, F)});
    const Constants down_set = Constants({{kType, type_of(layer.down)}, {kColumns, u32(F)}});
    launch(down, down_set, expert_args(F, E),
           {{1, matrix(layer.down)},
            {2, vector_or(layer.down_bias, int64_t{X} * E, *zeros_)},
            {3, act_.view()},
            {4, lists_.view()},
            {5, tiles_.view()},
            {6, tile_count_.view()},
            {7, out_.view()}},
           {matrices ? ceil_div(u32(E), gpu::kMatrixOutputs)
                     : ceil_div(u32(E), gpu::kOutputsPerSimdgroup * kernels_.simdgroups(down, down_set)),
            tiles, 1},
           threads_of(matrices),
           {share * (static_cast<double>(layer.down.bytes()) + (layer.down_bias ? 4.0 * X * E : 0)), passes, 0,
            floats(rows_ * U, F) + floats(rows_ * U, E)});
    launch("expert_sum", {}, expert_args(F, E), {{1, out_.view()}, {2, choices_.view()}, {3, x_.view()}},
           {ceil_div(u32(E), gpu::kSimdWidth * kernels_.simdgroups("expert_sum", {})), u32(rows_), 1}, 0,
           {0, 1, 0, floats(rows_ * U, E) + 2 * floats(rows_, E)});
  }

  /// Computes the logits and tokens of the outputs first .. first + rows − 1.
  void head_rows(int first, int rows) {
    const gpu::View wanted = rounds_.output_rows(first, rows);
    norm(x_.view(), model_.output_norm(), normed_.view(), rows, &wanted);
    linear(model_.output(), nullptr, normed_.view(), logits_.view(), rows, false);
    launch("sample", {}, gpu::SampleArgs{u32(config_.vocabulary)},
           {{1, logits_.view()},
            {2, rounds_.params(round_, first, rows)},
            {3, rounds_.results(round_, first, rows)},
            {4, rounds_.chosen(round_, first, rows)}},
           {u32(rows), 1, 1}, 1024, {0, 1, 0, 2 * floats(rows, config_.vocabulary)});
  }

  /// Scratch on this backend's device. count() adds up the bytes of all of them.
  class Memory : public GpuScratch {
   public:
    explicit Memory(MetalBackend& owner) : owner_(owner) { owner.scratch_.push_back(this); }
    gpu::View get(size_t bytes) { return GpuScratch::get(*owner_.device_, bytes); }

   protected:
    MetalBackend& owner_;
  };

  /// Scratch with a part for each round of a step. The CPU writes all parts before the first round.
  class EachRound : public Memory {
   public:
    using Memory::Memory;
    gpu::View get(size_t bytes) {
      bytes_ = bytes;
      return Memory::get(bytes * static_cast<size_t>(owner_.batch_->rounds));
    }
    gpu::View view() const { return {Memory::view().buffer, bytes_ * static_cast<size_t>(owner_.round_), bytes_}; }

   private:
    size_t bytes_ = 0;
  };

  const Model& model_;
  const Config& config_;
  const bool matrix_units_;
  Rope rope_;
  std::shared_ptr<gpu::Device> device_;
  std::shared_ptr<Residency> residency_;
  KernelSet kernels_;
  Rounds rounds_;
  gpu::MappedMemory weights_;
  std::map<const float*, std::unique_ptr<gpu::Buffer>> converted_;
  std::unique_ptr<gpu::Buffer> zeros_, no_sinks_;

  std::vector<const Memory*> scratch_;
  Memory tables_{*this}, row_tiles_{*this};
  EachRound row_infos_{*this}, rope_table_{*this};
  Memory x_{*this}, h_{*this}, q_{*this}, kv_{*this}, a_{*this}, part_out_{*this}, part_state_{*this};
  Memory choices_{*this}, lists_{*this}, tiles_{*this}, tile_count_{*this}, act_{*this}, out_{*this};
  Memory normed_{*this}, logits_{*this};

  const Batch* batch_ = nullptr;
  MetalBlocks* cache_ = nullptr;
  int rows_ = 0, round_ = 0;
  std::vector<float> cos_, sin_;
  std::vector<Span> spans_;
  std::vector<gpu::RowTile> row_tile_list_;
  int row_tile_count_ = 0, tiled_rows_ = 0;
  std::unique_ptr<gpu::CommandBuffer> commands_;
  struct Flying {
    int round;
    std::unique_ptr<gpu::CommandBuffer> commands;
  };
  std::deque<Flying> flying_;
  bool first_of_commands_ = true;
  bool counting_ = false;
  StepCount counted_;
  int layer_ = -1;  ///< the layer of the operation being encoded, −1 outside the layers
};

}  // namespace

std::unique_ptr<Backend> open(const Model& model, ThreadPool& /*pool*/, const BackendOptions& options, bool asked) {
  if (const std::string why = unsupported(model); !why.empty()) fail("%s", why.c_str());
  std::shared_ptr<gpu::Device> device = open_usable_device();
  const size_t limit = device->info().working_set_bytes, size = model.gguf().file().size();
  if (size > limit && !asked)
    fail("the model's %.1f GB are more than the %.1f GB this Mac lets its GPU hold", static_cast<double>(size) / 1e9,
         static_cast<double>(limit) / 1e9);
  return std::make_unique<MetalBackend>(model, options.rope, options.matrix_units, std::move(device));
}

}  // namespace hearth::metal
