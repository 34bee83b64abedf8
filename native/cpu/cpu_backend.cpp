// How the backend cuts its work into tasks. A matrix product is cut into groups of 16 weight rows. A group is
// multiplied with all activation rows that need it, so that a step reads the weights once. The experts' work is cut by
// expert and then into such groups. Attention is cut by sequence, row tile and KV head. No cut divides a sum in a way
// that depends on the number of threads or of rows, so neither can change a bit (see kernels.h).
#include "cpu_backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "../core/dequantize.h"
#include "../core/error.h"
#include "ceilings.h"
#include "packed_stack.h"

namespace hearth {

static_assert(kCacheBlock == cpu::kCacheBlock && KvBlocks::kScaled == cpu::kCacheScaled);

namespace {

using cpu::kBlock;
using cpu::Kernels;
using cpu::kGroupRows;
using cpu::kMaxHeadLength;
using cpu::kTileRows;

/// Attention reads the keys in chunks of this many positions, counted from position 0, and merges the chunks in order.
/// Where few rows meet many keys, the threads share the chunks. Elsewhere one thread takes them in turn. The bits are
/// the same.
constexpr int kKeyChunk = 1024;
/// Query rows that share one pass over the keys.
constexpr int kAttentionRows = 16;
/// Activation rows, in whole tiles, that a task multiplies with all of its weight groups before it takes the next rows.
/// They are 0.9 MB for a 2880-wide matrix, and stay in L2 from one group to the next.
constexpr int kColumnsTogether = 256;
static_assert(kColumnsTogether % kTileRows == 0);

/// Memory that only grows. Growing loses its contents.
template <class T>
class Scratch {
 public:
  T* get(size_t count) {
    if (count > capacity_) {
      // If the allocation fails, this scratch is empty and the next step asks again.
      capacity_ = 0;
      memory_.reset();
      const size_t wanted = count + count / 4;
      // 64-byte alignment: full cache lines for the kernels.
      memory_.reset(static_cast<T*>(::operator new[](wanted * sizeof(T) + 64, std::align_val_t{64})));
      std::memset(static_cast<void*>(memory_.get()), 0, wanted * sizeof(T) + 64);
      capacity_ = wanted;
    }
    return memory_.get();
  }
  T* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  std::unique_ptr<T[], Free> memory_;
  size_t capacity_ = 0;
};

size_t area(int64_t rows, int64_t columns) { return static_cast<size_t>(rows) * static_cast<size_t>(columns); }

/// The place `count` elements after `place`, or nullptr if `place` is nullptr: C++ forbids adding to a null pointer.
template <class T>
T* on(T* place, size_t count) {
  return place ? place + count : nullptr;
}

/// Rows of activations in the forms that a matrix may need. The kernels call these rows columns.
struct Activations {
  const float* rows = nullptr;     ///< [count][width]
  const uint8_t* tiles = nullptr;  ///< packed int8 tiles; nullptr if no matrix needs them
  int count = 0;
  int width = 0;

  /// Calls body(first, rows) for parts of kColumnsTogether rows.
  template <class Body>
  void each_part(const Body& body) const {
    for (int first = 0; first < count; first += kColumnsTogether) {
      const int n = std::min(kColumnsTogether, count - first);
      body(first,
           Activations{on(rows, area(first, width)), on(tiles, cpu::tile_bytes(first, width / kBlock)), n, width});
    }
  }
};

/// Rows quantised to int8 in blocks of 32.
struct Quantised {
  Scratch<int8_t> q;
  Scratch<float> scales;
  Scratch<int32_t> sums;

  void reserve(int rows, int width) {
    q.get(area(rows, width));
    scales.get(area(rows, width / kBlock));
    sums.get(area(rows, width / kBlock));
  }
  void row(const Kernels& kernels, const float* x, int row, int width) {
    kernels.quantize_row(x, width, q.data() + area(row, width), scales.data() + area(row, width / kBlock),
                         sums.data() + area(row, width / kBlock));
  }
  void pack(const Kernels& kernels, const int32_t* rows, int columns, int width, uint8_t* tile) const {
    kernels.pack_tile(q.data(), scales.data(), sums.data(), width, rows, columns, tile);
  }
};

/// One matrix product: y[row][·] = W·x + bias, or += where `add` is set (for a residual).
struct Product {
  const Matrix* matrix;
  const uint8_t* packed;  ///< the matrix's first group in the kernels' layout; nullptr: the matrix is only in the file
  const float* bias;      ///< nullptr: none
  float* y;
  size_t ldy;
  bool add;
  int64_t origin = 0;  ///< the matrix's row that y begins with
};

/// The memory that each thread has for itself.
struct ThreadScratch {
  Scratch<uint8_t> kernel;  ///< QuantGroup::scratch
  Scratch<float> a, b;      ///< [rows][…] results of a task's weight rows
  Scratch<float> heads;     ///< [rows][heads of a task][head_length] of queries, keys or values
  Scratch<float> attention, max, sum, state;
  std::vector<const uint8_t*> keys, values;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Model& model, ThreadPool& pool, RopeMode rope, const Kernels& kernels)
      : model_(model),
        config_(model.config()),
        pool_(pool),
        rope_(config_, rope),
        kernels_(kernels),
        threads_(static_cast<size_t>(pool.threads())),
        packed_(static_cast<size_t>(config_.layers) + 1) {}

  const char* name() const override { return kernels_.name; }
  CacheType cache_type() const override { return CacheType::f16; }
  Ceilings measure_ceilings() override { return cpu::measure_ceilings(pool_); }

  std::vector<size_t> repack_bytes() const override {
    std::vector<size_t> parts(static_cast<size_t>(config_.layers) + 1);
    for (size_t i = 0; i < parts.size(); i++)
      for_packable(static_cast<int>(i), [&](std::span<const Matrix> matrices, int experts, auto) {
        parts[i] += PackedStack::bytes_for(matrices, experts);
      });
    return std::any_of(parts.begin(), parts.end(), [](size_t bytes) { return bytes > 0; }) ? parts
                                                                                           : std::vector<size_t>{};
  }

  void repack(int part) override {
    PackedLayer& packed = packed_[static_cast<size_t>(part)];
    for_packable(part, [&](std::span<const Matrix> matrices, int experts, PackedStack PackedLayer::* member) {
      PackedStack& stack = packed.*member;
      if (!stack) stack.fill(matrices, experts, kernels_, pool_, model_.gguf().file());
    });
  }

  void begin(const Batch& batch, KvBlocks& cache) override {
    if (cache.type() == CacheType::f32) fail("the %s kernels need a cache of type f16 or q8_0", kernels_.name);
    batch_ = &batch;
    cache_ = &cache;
    runs_ = runs_of(batch);
    rows_ = batch.rows();
    const int half = config_.rope_length / 2;
    x_.get(area(rows_, config_.embedding));
    h_.get(area(rows_, config_.embedding));
    q_.get(area(rows_, config_.q_length()));
    a_.get(area(rows_, config_.q_length()));
    cos_.get(area(rows_, half));
    sin_.get(area(rows_, half));
    for_rows(rows_, [&](int r, int) {
      rope_.table(batch.positions[static_cast<size_t>(r)], cos_.data() + area(r, half), sin_.data() + area(r, half));
    });
    number_rows(rows_);
  }

  void embed() override {
    for_rows(rows_, [&](int r, int) {
      dequantize_row(model_.embedding(), batch_->tokens[static_cast<size_t>(r)],
                     x_.data() + area(r, config_.embedding));
    });
  }

  bool runs_draft_heads() const override { return true; }

  void embed_with(const float* features) override {
    const int E = config_.embedding;
    const Layer& layer = model_.layers()[0];
    pairs_.get(area(rows_, 2 * E));
    for_rows(rows_, [&](int r, int) {
      float *x = x_.data() + area(r, E), *pair = pairs_.data() + area(r, 2 * E);
      dequantize_row(model_.embedding(), batch_->tokens[static_cast<size_t>(r)], x);
      kernels_.rms_norm(x, layer.attention_norm, E, config_.rms_epsilon, pair);
      kernels_.rms_norm(features + area(r, E), layer.hidden_norm, E, config_.rms_epsilon, pair + E);
      std::memcpy(x, model_.head().norm_before_residual ? pair + E : features + area(r, E),
                  static_cast<size_t>(E) * sizeof(float));
    });
  }

  void read_hidden(float* to, size_t stride) override {
    const int E = config_.embedding;
    for_rows(rows_, [&](int r, int) {
      std::memcpy(to + static_cast<size_t>(r) * stride, x_.data() + area(r, E), static_cast<size_t>(E) * sizeof(float));
    });
  }

  void project(const Matrix& matrix, const float* x, int rows, float* y) override {
    number_rows(rows);
    const Product products[] = {{&matrix, nullptr, nullptr, y, static_cast<size_t>(matrix.rows), false}};
    multiply(products, prepare(x, rows, matrix.columns, needs_tiles(products)));
  }

  void attention_input(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    if (!layer.hidden_norm) norm_rows(x_.data(), layer.attention_norm, h_.data(), rows_);
    const float* in = layer.hidden_norm ? pairs_.data() : h_.data();
    const PackedLayer& packed = packed_[static_cast<size_t>(n)];
    const Product products[] = {{&layer.q, packed.q.first(), layer.q_bias, nullptr, 0, false},
                                {&layer.k, packed.k.first(), layer.k_bias, nullptr, 0, false},
                                {&layer.v, packed.v.first(), layer.v_bias, nullptr, 0, false}};
    const Activations activations = prepare(in, rows_, layer.q.columns, needs_tiles(products));
    // A task computes a few heads and stores them at their place in q_ or in the cache. The first tasks take Q, the
    // next K, the last V. The task keeps its heads in a small array of their own until then: the rows of q_ are often a
    // power of two apart and would compete for few sets of the caches.
    const int D = config_.head_length, heads = std::max(1, kGroupRows / D);
    const int q_tasks = (config_.heads + heads - 1) / heads, kv_tasks = (config_.heads_kv + heads - 1) / heads;
    pool_.run(q_tasks + 2 * kv_tasks, [&](int task, int thread) {
      const int p = task < q_tasks ? 0 : task < q_tasks + kv_tasks ? 1 : 2;
      const int first = heads * (p == 0 ? task : (task - q_tasks) % kv_tasks);
      const int count = std::min(heads, (p == 0 ? config_.heads : config_.heads_kv) - first);
      const size_t width = area(count, D);
      float* values = threads_[static_cast<size_t>(thread)].heads.get(area(rows_, count * D));
      Product product = products[p];
      product.y = values;
      product.ldy = width;
      product.origin = static_cast<int64_t>(first) * D;
      group_product(*product.matrix, product, activations, product.origin, count * D, thread);
      for (int r = 0; r < rows_; r++)
        for (int head = 0; head < count; head++) {
          float* value = values + static_cast<size_t>(r) * width + area(head, D);
          if (p < 2) norm_and_rotate(value, p == 0 ? layer.q_norm : layer.k_norm, r);
          if (p == 0)
            std::memcpy(q_.data() + area(r, config_.q_length()) + area(first + head, D), value,
                        static_cast<size_t>(D) * sizeof(float));
          else store(n, value, p == 1, first + head, r);
        }
    });
  }

  void attention(int n) override {
    const int window = config_.layer_window(n), threads = pool_.threads();
    tiles_.clear();
    for (const Run& run : runs_)
      for (int i = 0; i < run.rows; i += kAttentionRows)
        tiles_.push_back({&run, i, std::min(kAttentionRows, run.rows - i)});
    const int tasks = static_cast<int>(tiles_.size()) * config_.heads_kv;
    if (tasks < 2 * threads && threads > 1) return attend_split(n, window);
    pool_.run(tasks, [&](int task, int thread) {
      attend_tile(n, window, tiles_[static_cast<size_t>(task / config_.heads_kv)], task % config_.heads_kv, thread);
    });
  }

  void attention_output(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    const Product products[] = {{&layer.attention_output, packed_[static_cast<size_t>(n)].attention_output.first(),
                                 layer.attention_output_bias, x_.data(), static_cast<size_t>(config_.embedding), true}};
    multiply(products, prepare(a_.data(), rows_, config_.q_length(), needs_tiles(products)));
  }

  void experts(int n) override {
    const Layer& layer = model_.layers()[static_cast<size_t>(n)];
    const PackedLayer& packed = packed_[static_cast<size_t>(n)];
    if (config_.experts == 0) return feed_forward(layer, packed);
    const int E = config_.embedding, F = config_.feed_forward, X = config_.experts, used = config_.experts_used;
    norm_rows(x_.data(), layer.ffn_norm, h_.data(), rows_);
    float* scores = scores_.get(area(rows_, X));
    const Product router[] = {{&layer.router, nullptr, layer.router_bias, scores, static_cast<size_t>(X), false}};
    multiply(router, prepare(h_.data(), rows_, E, needs_tiles(router)));
    route(scores);

    const int assigned = rows_ * used;
    // Each expert needs its rows side by side. A row is quantised once and packed once for each of its experts.
    const bool tiles = is_quantised(layer.gate.type) || is_quantised(layer.up.type);
    const bool floats = !is_quantised(layer.gate.type) || !is_quantised(layer.up.type);
    if (tiles) {
      if (!is_quantised(layer.router.type)) quantise(h_.data(), rows_, E);
      reserve_tiles(expert_tiles_, expert_tile_list_.size(), E);
      for_rows(static_cast<int>(expert_tile_list_.size()), [&](int t, int) {
        const ExpertTile& tile = expert_tile_list_[static_cast<size_t>(t)];
        quantised_.pack(kernels_, &assigned_rows_[static_cast<size_t>(tile.first)], tile.count, E,
                        tile_at(expert_tiles_, t, E));
      });
    }
    if (floats) {
      gathered_.get(area(assigned, E));
      for_rows(assigned, [&](int a, int) {
        std::memcpy(gathered_.data() + area(a, E), h_.data() + area(assigned_rows_[static_cast<size_t>(a)], E),
                    static_cast<size_t>(E) * sizeof(float));
      });
    }

    activated_.get(area(assigned, F));
    expert_tasks(F, 2, [&](const Expert& expert, int first_row, int rows, int thread) {
      const Activations in{on(gathered_.data(), area(expert.first, E)), tile_at(expert_tiles_, expert.first_tile, E),
                           expert.count, E};
      const int64_t first = static_cast<int64_t>(expert.index) * F;
      const GateAndUp weights{layer.gate.slice(first, F), layer.up.slice(first, F),
                              on(layer.gate_bias, static_cast<size_t>(first)),
                              on(layer.up_bias, static_cast<size_t>(first)), packed.gate_and_up.first(expert.index)};
      gate_and_up(weights, in, activated_.data() + area(expert.first, F), first_row, rows, thread);
    });

    const bool down_tiles = is_quantised(layer.down.type);
    if (down_tiles) {
      quantised_activated_.reserve(assigned, F);
      reserve_tiles(expert_tiles_, expert_tile_list_.size(), F);
      for_rows(static_cast<int>(expert_tile_list_.size()), [&](int t, int) {
        const ExpertTile& tile = expert_tile_list_[static_cast<size_t>(t)];
        int32_t rows[kTileRows];
        for (int c = 0; c < tile.count; c++) {
          rows[c] = tile.first + c;
          quantised_activated_.row(kernels_, activated_.data() + area(rows[c], F), rows[c], F);
        }
        quantised_activated_.pack(kernels_, rows, tile.count, F, tile_at(expert_tiles_, t, F));
      });
    }
    expert_out_.get(area(assigned, E));
    expert_tasks(E, 1, [&](const Expert& expert, int first_row, int rows, int thread) {
      Activations in{activated_.data() + area(expert.first, F),
                     down_tiles ? tile_at(expert_tiles_, expert.first_tile, F) : nullptr, expert.count, F};
      Product down{nullptr,
                   packed.down.first(expert.index),
                   on(layer.down_bias, area(expert.index, E)),
                   expert_out_.data() + area(expert.first, E),
                   static_cast<size_t>(E),
                   false};
      group_product(layer.down.slice(static_cast<int64_t>(expert.index) * E, E), down, in, first_row, rows, thread);
    });

    for_rows(rows_, [&](int r, int) {
      for (int u = 0; u < used; u++) {
        size_t choice = area(r, used) + static_cast<size_t>(u);
        kernels_.axpy(choice_weights_[choice], expert_out_.data() + area(choice_slots_[choice], E), E,
                      x_.data() + area(r, E));
      }
    });
  }

  const float* head() override {
    const int E = config_.embedding, count = static_cast<int>(batch_->outputs.size());
    float* logits = logits_.get(area(count, config_.vocabulary));
    for_rows(count, [&](int o, int) {
      kernels_.rms_norm(x_.data() + area(batch_->outputs[static_cast<size_t>(o)], E), model_.output_norm(), E,
                        config_.rms_epsilon, h_.data() + area(o, E));
    });
    const Product products[] = {{&model_.output(), packed_.back().output.first(), nullptr, logits,
                                 static_cast<size_t>(config_.vocabulary), false}};
    multiply(products, prepare(h_.data(), count, E, needs_tiles(products)));
    return logits;
  }

 private:
  struct Tile {
    const Run* run;
    int first, rows;
  };
  /// The repacked matrices of a layer, or the repacked output matrix. A stack is empty until its weights leave the
  /// file.
  struct PackedLayer {
    PackedStack q, k, v, attention_output, gate_and_up, down, output;
  };

  /// Calls body(matrices, experts, member of PackedLayer) for each stack of part number `part` that the kernels have a
  /// packed layout for. A part is a layer; the part after the last layer is the output matrix. A stack of two matrices
  /// has them group by group in turn.
  template <class Body>
  void for_packable(int part, const Body& body) const {
    const auto offer = [&](std::initializer_list<Matrix> matrices, int experts, PackedStack PackedLayer::* member) {
      const Matrix& first = *matrices.begin();
      const bool alike = std::all_of(matrices.begin(), matrices.end(),
                                     [&](const Matrix& m) { return m.data && m.type == first.type; });
      if (alike && packed_layout(kernels_, first.type).pack)
        body(std::span(matrices.begin(), matrices.size()), experts, member);
    };
    if (part == config_.layers) {
      // A tied output matrix stays in the file, since the embedding reads single rows of it.
      if (model_.output().data != model_.embedding().data) offer({model_.output()}, 1, &PackedLayer::output);
      return;
    }
    const Layer& layer = model_.layers()[static_cast<size_t>(part)];
    const int experts = std::max(config_.experts, 1);
    // A task of attention_input begins with a head, so a packed matrix needs heads of whole groups.
    if (config_.head_length % kGroupRows == 0) {
      offer({layer.q}, 1, &PackedLayer::q);
      offer({layer.k}, 1, &PackedLayer::k);
      offer({layer.v}, 1, &PackedLayer::v);
    }
    offer({layer.attention_output}, 1, &PackedLayer::attention_output);
    offer({layer.gate, layer.up}, experts, &PackedLayer::gate_and_up);
    offer({layer.down}, experts, &PackedLayer::down);
  }
  /// The first two matrices of a feed-forward, of one expert or of a dense layer.
  struct GateAndUp {
    Matrix gate, up;
    const float *gate_bias, *up_bias;
    const uint8_t* packed;  ///< the groups of both in turn; nullptr: the matrices are only in the file
  };
  struct Expert {
    int index, first, count;  ///< its rows are the slots first .. first + count - 1
    int first_tile;           ///< index into expert_tile_list_
  };
  struct ExpertTile {
    int first, count;
  };

  /// Calls body(row, thread) for each row. This thread does a few rows alone, since waking the others would cost more.
  template <class Body>
  void for_rows(int rows, const Body& body) {
    if (rows <= 4)
      for (int r = 0; r < rows; r++) body(r, 0);
    else pool_.run(rows, body);
  }

  /// Packed tile number t. Every tile has the room of a full one, so each begins with a cache line: kernels read whole
  /// rows of a tile at once.
  static uint8_t* tile_at(const Scratch<uint8_t>& tiles, int t, int width) {
    return on(tiles.data(), static_cast<size_t>(t) * cpu::tile_bytes(kTileRows, width / kBlock));
  }
  static void reserve_tiles(Scratch<uint8_t>& tiles, size_t count, int width) {
    tiles.get(count * cpu::tile_bytes(kTileRows, width / kBlock));
  }

  void number_rows(int rows) {
    identity_.resize(static_cast<size_t>(rows));
    for (int r = 0; r < rows; r++) identity_[static_cast<size_t>(r)] = r;
  }

  static bool needs_tiles(std::span<const Product> products) {
    return std::any_of(products.begin(), products.end(), [](const Product& p) { return is_quantised(p.matrix->type); });
  }

  void norm_rows(const float* x, const float* weight, float* y, int rows) {
    const int E = config_.embedding;
    for_rows(rows,
             [&](int r, int) { kernels_.rms_norm(x + area(r, E), weight, E, config_.rms_epsilon, y + area(r, E)); });
  }

  void quantise(const float* x, int rows, int width) {
    quantised_.reserve(rows, width);
    for_rows(rows, [&](int r, int) { quantised_.row(kernels_, x + area(r, width), r, width); });
  }

  Activations prepare(const float* x, int rows, int width, bool tiles) {
    Activations out{x, nullptr, rows, width};
    if (!tiles) return out;
    quantise(x, rows, width);
    const int count = (rows + kTileRows - 1) / kTileRows;
    reserve_tiles(tiles_memory_, static_cast<size_t>(count), width);
    for_rows(count, [&](int t, int) {
      const int first = t * kTileRows;
      quantised_.pack(kernels_, &identity_[static_cast<size_t>(first)], std::min(kTileRows, rows - first), width,
                      tile_at(tiles_memory_, t, width));
    });
    out.tiles = tiles_memory_.data();
    return out;
  }

  /// The most groups that a task takes: as many as a kernel reads abreast.
  static constexpr int kTaskGroups = 8;

  /// The rows that a task takes of each of `matrices` matrices with `rows` rows, so that there are enough tasks to
  /// balance. Short tasks lose little: a thread's next task continues in memory where its last one ended.
  int rows_per_task(int64_t rows, int matrices = 1) const {
    const int64_t groups = (rows + kGroupRows - 1) / kGroupRows;
    const auto wanted =
        static_cast<uint64_t>(std::clamp<int64_t>(groups / (8 * pool_.threads()), 1, kTaskGroups / matrices));
    return static_cast<int>(std::bit_floor(wanted)) * kGroupRows;
  }

  void multiply(std::span<const Product> products, const Activations& in) {
    int first_task[4] = {0};
    for (size_t p = 0; p < products.size(); p++) {
      const int step = rows_per_task(products[p].matrix->rows);
      first_task[p + 1] = first_task[p] + static_cast<int>((products[p].matrix->rows + step - 1) / step);
    }
    pool_.run(first_task[products.size()], [&](int task, int thread) {
      size_t p = 0;
      while (task >= first_task[p + 1]) p++;
      const int64_t rows = products[p].matrix->rows;
      const int step = rows_per_task(rows);
      const int64_t first = static_cast<int64_t>(task - first_task[p]) * step;
      group_product(*products[p].matrix, products[p], in, first,
                    static_cast<int>(std::min<int64_t>(step, rows - first)), thread);
    });
  }

  /// Multiplies rows [first, first + rows), a group of a matrix in the file, with activation rows. Writes
  /// y[column][ldy].
  void group(const Matrix& matrix, const Activations& in, int64_t first, int rows, float* y, size_t ldy, int thread) {
    const int blocks = matrix.columns / kBlock;
    if (is_quantised(matrix.type)) {
      uint8_t* scratch = threads_[static_cast<size_t>(thread)].kernel.get(cpu::scratch_bytes(blocks));
      const cpu::QuantGroup group{
          matrix.row(first),          matrix.row_bytes, rows, blocks, in.tiles, in.count, y, ldy,
          model_.end_of(matrix.data), scratch};
      quant_group(kernels_, matrix.type)(group);
    } else {
      const cpu::FloatGroup group{matrix.row(first),
                                  matrix.row_bytes,
                                  rows,
                                  matrix.columns,
                                  in.rows,
                                  static_cast<size_t>(in.width),
                                  in.count,
                                  y,
                                  ldy};
      float_group(kernels_, matrix.type)(group);
    }
  }

  /// Multiplies `rows` rows of packed groups, from `packed` on, with activation rows. Writes y[column][rows].
  void packed_groups(TensorType type, const uint8_t* packed, const Activations& in, int rows, float* y, int thread) {
    const int blocks = in.width / kBlock;
    packed_layout(kernels_, type)
        .group({packed, cpu::packed_group_bytes(type, blocks), rows, blocks, in.tiles, in.count, y,
                static_cast<size_t>(rows), nullptr,
                threads_[static_cast<size_t>(thread)].kernel.get(cpu::scratch_bytes(blocks))});
  }

  /// Multiplies rows [first, first + rows) of a matrix with activation rows. Writes y[column][rows]. `packed` is the
  /// matrix's first group in the packed layout, or nullptr to read the matrix from the file.
  void groups(const Matrix& matrix, const uint8_t* packed, const Activations& in, int64_t first, int rows, float* y,
              int thread) {
    if (packed) {
      const size_t group_bytes = cpu::packed_group_bytes(matrix.type, matrix.columns / kBlock);
      return packed_groups(matrix.type, packed + static_cast<size_t>(first / kGroupRows) * group_bytes, in, rows, y,
                           thread);
    }
    for (int done = 0; done < rows; done += kGroupRows)
      group(matrix, in, first + done, std::min(kGroupRows, rows - done), y + done, static_cast<size_t>(rows), thread);
  }

  void group_product(const Matrix& matrix, const Product& product, const Activations& in, int64_t first, int rows,
                     int thread) {
    in.each_part([&](int first_column, const Activations& part) {
      float* y = threads_[static_cast<size_t>(thread)].a.get(area(part.count, rows));
      groups(matrix, product.packed, part, first, rows, y, thread);
      for (int c = 0; c < part.count; c++) {
        const float* from = y + area(c, rows);
        float* to = product.y + area(first_column + c, static_cast<int64_t>(product.ldy)) + (first - product.origin);
        for (int r = 0; r < rows; r++) {
          const float value = product.bias ? from[r] + product.bias[first + r] : from[r];
          to[r] = product.add ? to[r] + value : value;
        }
      }
    });
  }

  /// Computes act(gate · x + bias, up · x + bias) for the rows first .. first + rows - 1 of the weights. `activated` is
  /// [in.count][F], and the rows of the weights are its columns.
  void gate_and_up(const GateAndUp& weights, const Activations& in, float* activated, int first, int rows, int thread) {
    ThreadScratch& own = threads_[static_cast<size_t>(thread)];
    const auto add_bias = [&](float* y, const float* bias) {
      for (int r = 0; bias && r < rows; r++) y[r] += bias[first + r];
    };
    in.each_part([&](int first_column, const Activations& part) {
      const auto finish = [&](int c, float* gate, float* up) {
        add_bias(gate, weights.gate_bias);
        add_bias(up, weights.up_bias);
        activate(gate, up, rows, activated + area(first_column + c, config_.feed_forward) + first);
      };
      if (!weights.packed) {
        float *gate = own.a.get(area(part.count, rows)), *up = own.b.get(area(part.count, rows));
        groups(weights.gate, nullptr, part, first, rows, gate, thread);
        groups(weights.up, nullptr, part, first, rows, up, thread);
        for (int c = 0; c < part.count; c++) finish(c, gate + area(c, rows), up + area(c, rows));
        return;
      }
      const int count = (rows + kGroupRows - 1) / kGroupRows, width = 2 * count * kGroupRows;
      const size_t pair_bytes = 2 * cpu::packed_group_bytes(weights.gate.type, in.width / kBlock);
      float *both = own.a.get(area(part.count, width)), *gate = own.b.get(static_cast<size_t>(width)),
            *up = gate + width / 2;
      packed_groups(weights.gate.type, weights.packed + static_cast<size_t>(first / kGroupRows) * pair_bytes, part,
                    width, both, thread);
      for (int c = 0; c < part.count; c++) {
        const float* from = both + area(c, width);
        for (int i = 0; i < count; i++, from += 2 * kGroupRows) {
          std::memcpy(gate + i * kGroupRows, from, kGroupRows * sizeof(float));
          std::memcpy(up + i * kGroupRows, from + kGroupRows, kGroupRows * sizeof(float));
        }
        finish(c, gate, up);
      }
    });
  }

  void activate(const float* gate, const float* up, int n, float* y) const {
    switch (config_.architecture->activation) {
      case Activation::silu: return kernels_.silu_glu(gate, up, n, y);
      case Activation::clamped_swiglu: return kernels_.swiglu(gate, up, n, kSwigluAlpha, kSwigluLimit, y);
    }
  }

  /// x += down · act(gate · h, up · h), h = RMSNorm(x).
  void feed_forward(const Layer& layer, const PackedLayer& packed) {
    const int E = config_.embedding, F = config_.feed_forward;
    norm_rows(x_.data(), layer.ffn_norm, h_.data(), rows_);
    const Activations in = prepare(h_.data(), rows_, E, is_quantised(layer.gate.type) || is_quantised(layer.up.type));
    const GateAndUp weights{layer.gate, layer.up, layer.gate_bias, layer.up_bias, packed.gate_and_up.first()};
    float* activated = activated_.get(area(rows_, F));
    const int step = rows_per_task(F, 2);
    pool_.run((F + step - 1) / step, [&](int task, int thread) {
      gate_and_up(weights, in, activated, task * step, std::min(step, F - task * step), thread);
    });
    const Product down[] = {
        {&layer.down, packed.down.first(), layer.down_bias, x_.data(), static_cast<size_t>(E), true}};
    multiply(down, prepare(activated, rows_, F, needs_tiles(down)));
  }

  /// Calls body(expert, first_row, rows, thread) for parts that together cover `outputs` rows of each used expert. A
  /// call works on these rows of `matrices` matrices.
  template <class Body>
  void expert_tasks(int outputs, int matrices, const Body& body) {
    const int step = rows_per_task(static_cast<int64_t>(outputs) * static_cast<int64_t>(expert_list_.size()), matrices);
    const int per_expert = (outputs + step - 1) / step;
    pool_.run(static_cast<int>(expert_list_.size()) * per_expert, [&](int task, int thread) {
      const int first = task % per_expert * step;
      body(expert_list_[static_cast<size_t>(task / per_expert)], first, std::min(step, outputs - first), thread);
    });
  }

  /// Chooses each row's experts (the highest score first, among equals the lower number) and gives each choice a slot.
  /// The slots of one expert follow each other.
  void route(const float* scores) {
    const int X = config_.experts, used = config_.experts_used;
    const size_t assigned = area(rows_, used);
    chosen_.resize(assigned);
    choice_weights_.resize(assigned);
    choice_slots_.resize(assigned);
    assigned_rows_.resize(assigned);
    counts_.assign(static_cast<size_t>(X) + 1, 0);
    for (int r = 0; r < rows_; r++) {
      const float* score = scores + area(r, X);
      int32_t* mine = &chosen_[area(r, used)];
      int found = 0;
      for (int e = 0; e < X; e++) {
        int at = found;
        while (at > 0 && score[e] > score[mine[at - 1]]) at--;
        if (at >= used) continue;
        found = std::min(found + 1, used);
        for (int u = found - 1; u > at; u--) mine[u] = mine[u - 1];
        mine[at] = e;
      }
      float total = 0;
      float* weights = &choice_weights_[area(r, used)];
      for (int u = 0; u < used; u++) total += weights[u] = cpu::exp_f32(score[mine[u]] - score[mine[0]]);
      for (int u = 0; u < used; u++) {
        weights[u] /= total;
        counts_[static_cast<size_t>(mine[u]) + 1]++;
      }
    }
    expert_list_.clear();
    expert_tile_list_.clear();
    for (int e = 0; e < X; e++) {
      const auto i = static_cast<size_t>(e);
      const int first = counts_[i], count = counts_[i + 1];
      counts_[i + 1] += first;
      if (count > 0) expert_list_.push_back({e, first, count, static_cast<int>(expert_tile_list_.size())});
      for (int c = 0; c < count; c += kTileRows)
        expert_tile_list_.push_back({first + c, std::min(kTileRows, count - c)});
    }
    for (int r = 0; r < rows_; r++)
      for (int u = 0; u < used; u++) {
        const size_t choice = area(r, used) + static_cast<size_t>(u);
        const int slot = counts_[static_cast<size_t>(chosen_[choice])]++;
        choice_slots_[choice] = slot;
        assigned_rows_[static_cast<size_t>(slot)] = r;
      }
  }

  void norm_and_rotate(float* head, const float* norm, int r) const {
    const int half = config_.rope_length / 2;
    if (norm) kernels_.rms_norm(head, norm, config_.head_length, config_.rms_epsilon, head);
    rotate(head, config_.rope_length, config_.architecture->rope_layout, cos_.data() + area(r, half),
           sin_.data() + area(r, half));
  }

  /// Writes row r's key or value of a KV head into the cache.
  void store(int n, float* x, bool is_key, int head, int r) const {
    const int D = config_.head_length, position = batch_->positions[static_cast<size_t>(r)],
              slot = position % kCacheBlock;
    const auto& table = batch_->block_tables[static_cast<size_t>(batch_->sequences[static_cast<size_t>(r)])];
    const int block = table[static_cast<size_t>(position / kCacheBlock)];
    uint8_t* to = is_key ? cache_->keys(n, block, head) : cache_->values(n, block, head);
    clamp_to_half(x, D);
    if (cache_->type() == CacheType::q8_0)
      return store_quantised(x, to, slot, is_key ? 1 : D, is_key ? kCacheBlock : 1);
    auto* halves = reinterpret_cast<uint16_t*>(to);
    if (!is_key) return kernels_.to_f16(x, D, halves + slot * D);
    uint16_t row[kMaxHeadLength];
    kernels_.to_f16(x, D, row);
    for (int d = 0; d < D; d++) halves[d * kCacheBlock + slot] = row[d];
  }

  /// Writes a head's key or value to position `slot` of its part of a Q8_0 block. Element d goes to
  /// slot * slot_stride + d * stride.
  void store_quantised(const float* x, uint8_t* to, int slot, int slot_stride, int stride) const {
    const int D = config_.head_length, groups = KvBlocks::scale_groups(D), padded = groups * KvBlocks::kScaled;
    float row[kMaxHeadLength] = {}, scales[kMaxHeadLength / KvBlocks::kScaled];
    int8_t q[kMaxHeadLength];
    int32_t sums[kMaxHeadLength / KvBlocks::kScaled];
    uint16_t halves[kMaxHeadLength / KvBlocks::kScaled];
    std::memcpy(row, x, static_cast<size_t>(D) * sizeof(float));
    kernels_.quantize_row(row, padded, q, scales, sums);
    kernels_.to_f16(scales, groups, halves);
    for (int d = 0; d < D; d++) to[slot * slot_stride + d * stride] = static_cast<uint8_t>(q[d]);
    // Scales lie as the elements do: [group][position] for keys, [position][group] for values.
    const bool transposed = stride != 1;
    for (int g = 0; g < groups; g++)
      std::memcpy(to + D * kCacheBlock + 2 * (transposed ? g * kCacheBlock + slot : slot * groups + g), &halves[g], 2);
  }

  /// The largest F16 is 65504. An infinity in the cache would turn whole rows into NaN.
  static void clamp_to_half(float* x, int n) {
    for (int i = 0; i < n; i++) x[i] = std::clamp(x[i], -65504.0f, 65504.0f);
  }

  /// The numbers of the first and the last chunk whose keys the rows of a tile can see.
  std::pair<int, int> chunks_of(const Tile& tile, int window) const {
    const int first_position = tile.run->first_position + tile.first;
    const int first_key = window > 0 ? std::max(0, first_position - window + 1) : 0;
    return {first_key / kKeyChunk, (first_position + tile.rows - 1) / kKeyChunk};
  }

  /// Attention of one tile and KV head over one chunk of keys. out [rows][G][D], max and sum [rows][G].
  void attend_chunk(int n, int window, const Tile& tile, int head, int chunk, ThreadScratch& own, float* out,
                    float* max, float* sum) {
    const int D = config_.head_length, G = config_.heads / config_.heads_kv;
    const int first_position = tile.run->first_position + tile.first;
    const int last_position = first_position + tile.rows - 1;
    const int end_key = std::min((chunk + 1) * kKeyChunk, last_position + 1);
    const int visible = window > 0 ? std::max(0, first_position - window + 1) : 0;
    const int blocks = (end_key + kCacheBlock - 1) / kCacheBlock;
    if (own.keys.size() < static_cast<size_t>(blocks)) {
      // `keys`, whose size is asked above, grows last: if there is no memory for either, the next step asks for both
      // again.
      own.values.resize(static_cast<size_t>(blocks));
      own.keys.resize(static_cast<size_t>(blocks));
    }
    for (int b = std::max(chunk * kKeyChunk, visible) / kCacheBlock; b < blocks; b++) {
      const int block = (*tile.run->blocks)[static_cast<size_t>(b)];
      own.keys[static_cast<size_t>(b)] = cache_->keys(n, block, head);
      own.values[static_cast<size_t>(b)] = cache_->values(n, block, head);
    }
    const auto attend = cache_->type() == CacheType::q8_0 ? kernels_.attend_q8_0 : kernels_.attend;
    attend({q_.data() + area(tile.run->first_row + tile.first, config_.q_length()) + area(head * G, D),
            static_cast<size_t>(config_.q_length()), tile.rows, G, D, 1.0f / std::sqrt(static_cast<float>(D)),
            first_position, window, chunk * kKeyChunk, end_key, own.keys.data(), own.values.data(), out, max, sum});
  }

  /// The softmax state of (row, query head) pairs: the running maximum and sum, which begin with the sink if there is
  /// one, and the output so far.
  struct State {
    float *out, *max, *sum;
    int pairs;
  };

  State begin_state(ThreadScratch& own, const float* sinks, int rows) const {
    const int D = config_.head_length, G = config_.heads / config_.heads_kv, pairs = rows * G;
    float* memory = own.state.get(area(pairs, D + 2));
    State state{memory, memory + area(pairs, D), memory + area(pairs, D + 1), pairs};
    std::fill(state.out, state.out + area(pairs, D), 0.0f);
    for (int p = 0; p < pairs; p++) {
      state.max[p] = sinks ? sinks[p % G] : -std::numeric_limits<float>::infinity();
      state.sum[p] = sinks ? 1 : 0;
    }
    return state;
  }

  void merge(const State& state, const float* out, const float* max, const float* sum) const {
    const int D = config_.head_length;
    for (int p = 0; p < state.pairs; p++) {
      if (!(sum[p] > 0)) continue;  // no key of this chunk is visible to the row
      const float largest = std::max(state.max[p], max[p]);
      const float old_share = cpu::exp_f32(state.max[p] - largest), new_share = cpu::exp_f32(max[p] - largest);
      state.max[p] = largest;
      state.sum[p] = state.sum[p] * old_share + sum[p] * new_share;
      float* o = state.out + area(p, D);
      const float* add = out + area(p, D);
      for (int d = 0; d < D; d++) o[d] = o[d] * old_share + add[d] * new_share;
    }
  }

  void finish(const State& state, const Tile& tile, int head) {
    const int D = config_.head_length, G = config_.heads / config_.heads_kv;
    for (int p = 0; p < state.pairs; p++) {
      const int row = tile.run->first_row + tile.first + p / G;
      float* to = a_.data() + area(row, config_.q_length()) + area(head * G + p % G, D);
      const float* from = state.out + area(p, D);
      for (int d = 0; d < D; d++) to[d] = from[d] / state.sum[p];
    }
  }

  const float* sinks_of(int n, int head) const {
    const float* sinks = model_.layers()[static_cast<size_t>(n)].sinks;
    return sinks ? sinks + head * (config_.heads / config_.heads_kv) : nullptr;
  }

  void attend_tile(int n, int window, const Tile& tile, int head, int thread) {
    ThreadScratch& own = threads_[static_cast<size_t>(thread)];
    const int G = config_.heads / config_.heads_kv, pairs = tile.rows * G;
    const State state = begin_state(own, sinks_of(n, head), tile.rows);
    float *out = own.attention.get(area(pairs, config_.head_length)), *max = own.max.get(area(pairs, 1)),
          *sum = own.sum.get(area(pairs, 1));
    const auto [first, last] = chunks_of(tile, window);
    for (int chunk = first; chunk <= last; chunk++) {
      attend_chunk(n, window, tile, head, chunk, own, out, max, sum);
      merge(state, out, max, sum);
    }
    finish(state, tile, head);
  }

  /// Computes what attend_tile does for every tile and head, with the chunks spread over the threads.
  void attend_split(int n, int window) {
    const int D = config_.head_length, G = config_.heads / config_.heads_kv;
    struct Part {
      const Tile* tile;
      int head, chunk;
      size_t at;  ///< where its results begin, in (row, query head) pairs
    };
    std::vector<Part> parts;
    size_t pairs = 0;
    for (const Tile& tile : tiles_)
      for (int head = 0; head < config_.heads_kv; head++) {
        const auto [first, last] = chunks_of(tile, window);
        for (int chunk = first; chunk <= last; chunk++, pairs += area(tile.rows, G))
          parts.push_back({&tile, head, chunk, pairs});
      }
    float* out = split_out_.get(pairs * static_cast<size_t>(D));
    float *max = split_max_.get(pairs), *sum = split_sum_.get(pairs);
    pool_.run(static_cast<int>(parts.size()), [&](int task, int thread) {
      const Part& part = parts[static_cast<size_t>(task)];
      attend_chunk(n, window, *part.tile, part.head, part.chunk, threads_[static_cast<size_t>(thread)],
                   out + part.at * static_cast<size_t>(D), max + part.at, sum + part.at);
    });
    for (size_t i = 0; i < parts.size();) {
      const Part& head = parts[i];
      const State state = begin_state(threads_[0], sinks_of(n, head.head), head.tile->rows);
      for (; i < parts.size() && parts[i].tile == head.tile && parts[i].head == head.head; i++)
        merge(state, out + parts[i].at * static_cast<size_t>(D), max + parts[i].at, sum + parts[i].at);
      finish(state, *head.tile, head.head);
    }
  }

  const Model& model_;
  const Config& config_;
  ThreadPool& pool_;
  Rope rope_;
  const Kernels& kernels_;
  std::vector<ThreadScratch> threads_;
  std::vector<PackedLayer> packed_;

  // The step under way.
  const Batch* batch_ = nullptr;
  KvBlocks* cache_ = nullptr;
  std::vector<Run> runs_;
  std::vector<Tile> tiles_;
  int rows_ = 0;
  std::vector<int32_t> identity_;

  // Activations: x is the residual, h the normed rows, pairs a draft head's input, q the queries, a attention's output.
  Scratch<float> x_, h_, pairs_, q_, a_, cos_, sin_, scores_, logits_;
  Quantised quantised_, quantised_activated_;
  Scratch<uint8_t> tiles_memory_, expert_tiles_;
  Scratch<float> gathered_, activated_, expert_out_;
  Scratch<float> split_out_, split_max_, split_sum_;

  // Routing. A choice (row, rank) has an expert, a weight and a slot; assigned_rows_ gives the row of a slot. The
  // experts and their tiles are listed in the order of the slots.
  std::vector<int32_t> chosen_, choice_slots_, assigned_rows_, counts_;
  std::vector<float> choice_weights_;
  std::vector<Expert> expert_list_;
  std::vector<ExpertTile> expert_tile_list_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const Model& model, ThreadPool& pool, RopeMode rope, const Kernels& kernels) {
  return std::make_unique<CpuBackend>(model, pool, rope, kernels);
}

}  // namespace hearth
