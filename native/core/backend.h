// What a backend must compute: the operations of one step, in the order in which ModelRunner::run_layers calls them
// (model_runner.cpp). A backend keeps the step's activations where it likes (CPU scratch, GPU buffers) and may fuse
// inside an operation as it likes. R is the number of rows; E, H, K, D, X and V are as in model.h.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "batch.h"
#include "error.h"
#include "model.h"

namespace hearth {

/// One launch of a GPU kernel as a step would make it, and the memory that it must move. Where the rows choose experts,
/// the figures are for the experts that the rows touch on average if each row chooses independently.
struct Launch {
  std::string kernel;
  int layer;                     ///< number of the layer; −1: before or after the layers
  std::array<uint32_t, 3> grid;  ///< threadgroups
  uint32_t threads;              ///< threads of a threadgroup
  uint32_t threadgroup_bytes;    ///< static threadgroup memory
  bool barrier;                  ///< whether the launch waits for those before it
  double weight_bytes;           ///< bytes of weights read, each counted once
  /// How often the threadgroups ask for each weight. After the first time the weight may come from a cache.
  double weight_passes;
  double cache_bytes;       ///< bytes of keys and values read and written
  double activation_bytes;  ///< bytes of intermediates read and written
};
struct StepCount {
  std::vector<Launch> launches;
  int command_buffers = 0;
  size_t scratch_bytes = 0;  ///< memory that the backend holds for intermediates
};

/// What the hardware that computes can do at most, as measured.
struct Ceilings {
  double read_bytes_per_second = 0;
  double multiply_adds_per_second = 0;  ///< 0: not known
  const char* arithmetic = "int8";      ///< what those multiply-adds compute with: "int8" or "float"
  /// Multiply-adds of int8 by a tile unit (AMX), where the CPU has one beside its vectors; 0: it has none.
  double tile_multiply_adds_per_second = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// The kernel set in use: "reference", "portable", "avx2"…
  virtual const char* name() const = 0;
  virtual CacheType cache_type() const = 0;
  /// The GPU's name for reports; empty: the CPU computes.
  virtual std::string hardware() const { return {}; }

  /// Memory for keys and values, where and as this backend reads it. Throws Error where the memory cannot be had, or
  /// the backend does not know the type.
  virtual std::shared_ptr<KvBlocks> make_cache(const Config& config, int blocks, CacheType type) {
    return std::make_shared<KvBlocks>(config, blocks, type);
  }

  /// The bytes of memory that repack(part) takes, for each layer and then for the output matrix. Empty: this backend
  /// reads weights best as the file has them.
  virtual std::vector<size_t> repack_bytes() const { return {}; }
  /// Moves a part's weights into a faster layout and gives their pages of the file back. Results stay the same bit for
  /// bit. Between steps only. Throws Error where there is no memory.
  virtual void repack(int /*part*/) {}

  /// Begins a step. `batch` and `cache` stay valid until the step's head() or finish() has returned.
  virtual void begin(const Batch& batch, KvBlocks& cache) = 0;
  /// Goes on with the batch's next round, whose tokens have been on the device since sample(). false: the runner begins
  /// a step with them.
  virtual bool next_round() { return false; }
  /// x[R][E] = embedding rows of the tokens.
  virtual void embed() = 0;
  /// h = RMSNorm(x); Q, K, V = W·h + b; where the layer has them, RMSNorms of the heads of Q and K; RoPE on both; K and
  /// V go into the cache.
  virtual void attention_input(int layer) = 0;
  /// a[R][H·D] = attention of each row over its sequence's cached positions, window and sinks included.
  virtual void attention(int layer) = 0;
  /// x += Wo·a + b.
  virtual void attention_output(int layer) = 0;
  /// h = RMSNorm(x); the router's top experts with softmax over their logits; x += Σ weight · expert(h). Without
  /// experts, x += the dense feed-forward of h.
  virtual void experts(int layer) = 0;
  /// logits[outputs][V] = head · RMSNorm(x of the output rows). The memory is the backend's, valid until the next
  /// begin().
  virtual const float* head() = 0;

  /// Computes the head and samples on the device, where the logits need not leave it. finish() then has the round's
  /// tokens and probabilities, and its logits if the batch asks for them. Adds to the result what earlier rounds have
  /// brought meanwhile. false: the runner takes head() and samples itself.
  virtual bool sample(StepResult&) { return false; }
  /// Ends a step. When it returns, the step's keys and values are in the cache, and the result has every round that
  /// sample() has begun and that end_runs() and the stop ids have let run.
  virtual void finish(StepResult&) {}
  /// Makes the running step throw soon. From another thread.
  virtual void abort() {}
  /// Ends the runs with this number or a lower one before their next round, whatever has been encoded. From another
  /// thread.
  virtual void end_runs(uint32_t /*number*/) {}
  /// Whether the operations only encode work for a device. The time that such a call takes says nothing about the
  /// operation.
  virtual bool encodes() const { return false; }
  /// Counts what the step would launch, without running it. No launches: this backend has none. The step must be valid.
  virtual StepCount count(const Batch&, KvBlocks&) { return {}; }

  /// Measures what the hardware under this backend can do at most. Between steps only; takes about a second. Throws
  /// Error where there is no memory to measure with, or the device fails.
  virtual Ceilings measure_ceilings() = 0;

  // Draft heads need the following operations. A backend may do without them: callers ask runs_draft_heads() first.
  virtual bool runs_draft_heads() const { return false; }
  /// Copies the step's residual stream x[R][E], between two operations, to rows that are `stride` floats apart.
  virtual void read_hidden(float* /*to*/, size_t /*stride*/) { no_draft_heads(); }
  /// y[rows][matrix.rows] = x[rows][matrix.columns] · Wᵀ, between steps.
  virtual void project(const Matrix& /*matrix*/, const float* /*x*/, int /*rows*/, float* /*y*/) { no_draft_heads(); }
  /// Stands in for embed() in a draft head. The head's layer will read, for each row, the normed embedding of the token
  /// beside the normed `features` [R][E]; x becomes the features, normed or not as the head has it.
  virtual void embed_with(const float* /*features*/) { no_draft_heads(); }

 private:
  [[noreturn]] void no_draft_heads() const { fail("the %s kernels run no draft heads", name()); }
};

}  // namespace hearth
