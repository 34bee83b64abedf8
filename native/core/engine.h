// The model and the machinery that runs it: one object, one step at a time.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "backend.h"
#include "batch.h"
#include "draft_head.h"
#include "model.h"
#include "thread_pool.h"

namespace hearth {

class Stopwatch;

struct EngineOptions {
  int threads = 0;  ///< 0: default_thread_count()
  RopeMode rope = RopeMode::reference;
  std::string kernels = "auto";
  std::string draft_head;  ///< GGUF of a draft head for the model; empty: none
  /// "auto": Metal where this machine and build have it, unless certain CPU kernels are asked for; "metal": the same, and
  /// backend_note() says why where it cannot be; "cpu".
  std::string backend = "auto";
  /// Metal: long steps on the GPU's matrix units. Faster, but a row's last bits then depend on the step's size.
  bool matrix_units = false;
};

class Engine {
 public:
  /// Maps the model and chooses the backend. Throws Error.
  Engine(const std::string& path, const EngineOptions& options);

  const Model& model() const { return model_; }
  const Backend& backend() const { return *backend_; }
  /// Why the CPU computes where Metal was asked for or could be expected; else empty.
  const std::string& backend_note() const { return backend_note_; }
  int threads() const { return pool_.threads(); }

  /// Told of rounds as they finish, but not of the last: the result has all.
  using RoundDone = std::function<void(std::span<const int32_t> tokens)>;

  /// The forward pass as the model card gives it, then sampling; that as often as the batch has rounds. Throws Error on a bad
  /// batch (cache untouched) or once abort() was called, FileChangedError where the model's file is no longer what it was.
  StepResult step(KvCache& cache, const Batch& batch, const RoundDone& done = {});

  /// A number for a batch of several rounds that is about to be queued.
  uint32_t number_run() { return ++runs_; }
  /// The runs numbered so far end after the round they are at, or after their first. From any thread.
  void end_runs() {
    ended_ = runs_.load();
    backend_->end_runs(ended_);
  }

  /// The model's draft head; nullptr: it has none.
  const DraftHead* draft_head() const { return draft_head_.get(); }
  /// See DraftHead::draft and release. Throw Error where the model has no draft head.
  std::vector<std::vector<int32_t>> draft(KvCache& cache, const std::vector<DraftRequest>& requests);
  void release_drafts(int64_t sequence);

  /// A cache for this model and its draft head. Throws Error where memory for it cannot be had.
  std::shared_ptr<KvCache> make_cache(int blocks, CacheType type) const;
  size_t cache_block_bytes(CacheType type) const;
  /// What the step would launch on a GPU. Throws Error on a bad batch.
  StepCount count(KvCache& cache, const Batch& batch);

  /// See Backend::repack. Throws Error for a part out of range, FileChangedError as step() does.
  void repack(int part);

  /// Of the hardware that the backend computes on. Between steps; throws Error where there is no memory to measure with.
  Ceilings measure_ceilings();

  /// Makes the running step and all later ones throw, at the next layer.
  void abort() {
    aborted_ = true;
    backend_->abort();
  }

  /// Milliseconds by operation since the last call.
  std::map<std::string, double> take_profile();

 private:
  /// Before and after what reads weights: throw FileChangedError where a file of the model, or of its head, has changed.
  void check_files() const;
  void check_read() const;
  /// Of a round: everything up to the head.
  void run_layers(const Batch& batch, Stopwatch& watch);
  /// The head, and a token for each output: in the result now, or where the device does both, by finish().
  void choose(const Batch& batch, StepResult& result, Stopwatch& watch);

  Model model_;
  ThreadPool pool_;
  std::string backend_note_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<DraftHead> draft_head_;
  std::atomic<bool> aborted_{false};
  std::atomic<uint32_t> runs_{0}, ended_{0};
  std::mutex profile_mutex_;
  std::map<std::string, double> profile_;
};

}  // namespace hearth
