// What a backend must compute: the operations of one step, in the order forward.cpp calls them. A backend keeps the step's
// activations where it likes (CPU scratch, GPU buffers) and may fuse inside an operation as it likes.
// R rows; E, H, K, D, X, V as in model.h.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "batch.h"
#include "error.h"
#include "model.h"

namespace hearth {

/// One launch of a GPU kernel as a step would make it, and the memory it must move. Experts are counted as the rows touch on average
/// where each chooses independently.
struct Launch {
  std::string kernel;
  int layer;                     ///< −1: before or after the layers
  std::array<uint32_t, 3> grid;  ///< threadgroups
  uint32_t threads;              ///< of a threadgroup
  uint32_t threadgroup_bytes;    ///< static threadgroup memory
  bool barrier;                  ///< waits for the launches before it
  double weight_bytes;           ///< of weights, each counted once
  double
      weight_passes;  ///< how often the threadgroups ask for them; more than once comes from caches, as far as they hold
  double cache_bytes;       ///< keys and values read and written
  double activation_bytes;  ///< intermediates read and written
};
struct StepCount {
  std::vector<Launch> launches;
  int command_buffers = 0;
  size_t scratch_bytes = 0;  ///< memory held for intermediates
};

/// What the hardware that computes can do at most, measured.
struct Ceilings {
  double read_bytes_per_second = 0;
  double multiply_adds_per_second = 0;  ///< 0: not known
  const char* arithmetic = "int8";      ///< of those multiply-adds: "int8" or "float"
  double tile_multiply_adds_per_second =
      0;  ///< int8, by a tile unit (AMX) that the CPU has beside its vectors; 0: none
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// The kernel set in use: "reference", "portable", "avx2"…
  virtual const char* name() const = 0;
  virtual CacheType cache_type() const = 0;
  /// "cpu" or "metal".
  virtual const char* kind() const { return "cpu"; }
  /// The GPU's name for reports; empty: the CPU.
  virtual std::string device() const { return {}; }

  /// Memory for a KV cache, where and as this backend reads it. Throws Error where it cannot be had or the type is none of its.
  virtual std::shared_ptr<KvCache> make_cache(const Config& config, int blocks, CacheType type) {
    return std::make_shared<KvCache>(config, blocks, type);
  }

  /// Bytes of memory that repack(part) takes, for each layer and, after them, the output matrix; none: this backend reads weights
  /// best as the file has them.
  virtual std::vector<size_t> repack_bytes() const { return {}; }
  /// Moves a part's weights into a faster layout and gives their pages of the file back. Results stay the same bit for bit.
  /// Between steps only. Throws Error where there is no memory.
  virtual void repack(int /*part*/) {}

  /// A new step: `batch` and `cache` stay valid until its head() or finish() has returned.
  virtual void begin(const Batch& batch, KvCache& cache) = 0;
  /// Goes on with the batch's next round, whose tokens are on the device since sample(). false: the engine begins a step with them.
  virtual bool next_round() { return false; }
  /// x[R][E] = embedding rows of the tokens.
  virtual void embed() = 0;
  /// h = RMSNorm(x); Q, K, V = W·h + b; where the layer has them, RMSNorms of the heads of Q and K; RoPE on both; K and V go
  /// into the cache.
  virtual void attention_input(int layer) = 0;
  /// a[R][H·D] = attention of each row over its sequence's cached positions, window and sinks included.
  virtual void attention(int layer) = 0;
  /// x += Wo·a + b.
  virtual void attention_output(int layer) = 0;
  /// h = RMSNorm(x); the router's top experts with softmax over their logits; x += Σ weight · expert(h). Without experts,
  /// x += the dense feed-forward of h.
  virtual void experts(int layer) = 0;
  /// logits[outputs][V] = head · RMSNorm(x of the output rows). The memory is the backend's, valid until the next begin().
  virtual const float* head() = 0;

  /// Head and sampling in one, where the logits need not leave the device: finish() will have the round's tokens and probabilities,
  /// and logits if the batch asks for them. Adds those of the rounds before this one. false: the engine takes head() and samples itself.
  virtual bool sample(StepResult&) { return false; }
  /// Ends a step: its keys and values are in the cache when this returns, and the result has every round that sample() has begun and
  /// end_runs() or the stop ids let run.
  virtual void finish(StepResult&) {}
  /// Makes the running step throw soon. From another thread.
  virtual void abort() {}
  /// Runs with this number or a lower one end before their next round, whatever has been encoded. From another thread.
  virtual void end_runs(uint32_t /*number*/) {}
  /// Whether operations only encode work for a device, so that their time says nothing.
  virtual bool encodes() const { return false; }
  /// What the step would launch, without running it; no launches: this backend has none. The step must be valid.
  virtual StepCount count(const Batch&, KvCache&) { return {}; }

  /// Fills in the ceilings of the device it computes on. false: that is the CPU, whose are measured elsewhere. Between steps only.
  virtual bool measure_ceilings(Ceilings&) { return false; }

  // What draft heads need; a backend may do without, and is asked first.
  virtual bool runs_draft_heads() const { return false; }
  /// The residual stream x[R][E] of the step, between two operations, to rows that are `stride` floats apart.
  virtual void read_hidden(float* /*to*/, size_t /*stride*/) { no_draft_heads(); }
  /// y[rows][matrix.rows] = x[rows][matrix.columns] · Wᵀ, between steps.
  virtual void project(const Matrix& /*matrix*/, const float* /*x*/, int /*rows*/, float* /*y*/) { no_draft_heads(); }
  /// Of a draft head, in place of embed(): its layer will read, for each row, the normed embedding of the token beside the normed
  /// `features` [R][E], and x becomes the features, normed or not as the head has it.
  virtual void embed_with(const float* /*features*/) { no_draft_heads(); }

 private:
  [[noreturn]] void no_draft_heads() const { fail("the %s kernels run no draft heads", name()); }
};

}  // namespace hearth
