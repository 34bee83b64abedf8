// A model together with what runs it: its backend, its threads and its draft head. It runs one step at a time.
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
#include "devices.h"
#include "draft_head.h"
#include "model.h"
#include "thread_pool.h"

namespace hearth {

class Stopwatch;

struct RunnerOptions {
  int threads = 0;              ///< 0: default_thread_count()
  std::string draft_head;       ///< the GGUF of a draft head for the model; empty: none
  std::string device = "auto";  ///< a device's id, or "auto"; see open_backend()
  BackendOptions backend;
};

class ModelRunner {
 public:
  /// Maps the model and opens it on one of the devices. Throws Error.
  ModelRunner(const std::string& path, const RunnerOptions& options, const Devices& devices);

  const Model& model() const { return model_; }
  const Device& device() const { return *opened_.device; }
  const Backend& backend() const { return *opened_.backend; }
  /// Why the CPU computes where a GPU was asked for or could be expected; else empty.
  const std::string& backend_note() const { return opened_.note; }
  int threads() const { return pool_.threads(); }

  /// Called with the tokens of each round as the round finishes, except the last one. The result has the tokens of all
  /// rounds.
  using RoundDone = std::function<void(std::span<const int32_t> tokens)>;

  /// Runs the forward pass as the model card gives it and then samples, once for each round of the batch. Throws Error
  /// on a bad batch, which leaves the cache untouched, and after abort(). Throws FileChangedError where a file of the
  /// model has changed.
  StepResult step(KvBlocks& cache, const Batch& batch, const RoundDone& done = {});

  /// Numbers a batch of several rounds that is about to be queued.
  uint32_t number_run() { return ++runs_; }
  /// Ends the runs numbered so far: each after the round that it is at, or after its first round. From any thread.
  void end_runs() {
    ended_ = runs_.load();
    opened_.backend->end_runs(ended_);
  }

  /// The model's draft head; nullptr: it has none.
  const DraftHead* draft_head() const { return draft_head_.get(); }
  /// See DraftHead::draft. Throws Error where the model has no draft head, or once abort() was called.
  std::vector<std::vector<int32_t>> draft(KvBlocks& cache, const std::vector<DraftRequest>& requests);
  /// See DraftHead::release. Does nothing where the model has no draft head.
  void release_drafts(int64_t sequence);

  /// A cache for this model and its draft head. Throws Error where memory for it cannot be had.
  std::shared_ptr<KvBlocks> make_cache(int blocks, CacheType type) const;
  size_t cache_block_bytes(CacheType type) const;
  /// Counts what the step would launch on a GPU. Throws Error on a bad batch.
  StepCount count(KvBlocks& cache, const Batch& batch);

  /// See Backend::repack. Throws Error for a part out of range, FileChangedError as step() does.
  void repack(int part);

  /// See Backend::measure_ceilings.
  Ceilings measure_ceilings() { return opened_.backend->measure_ceilings(); }

  /// Makes the running step, and all later ones, throw at the next layer.
  void abort() {
    aborted_ = true;
    opened_.backend->abort();
  }

  /// The milliseconds since the last call, by operation.
  std::map<std::string, double> take_profile();

 private:
  /// An operation that reads weights calls check_files() before and check_read() after. Both throw FileChangedError
  /// where the file of the model, or of its draft head, has changed.
  void check_files() const;
  void check_read() const;
  /// Computes a round up to the head.
  void run_layers(const Batch& batch, Stopwatch& watch);
  /// Computes the head and chooses a token for each output. The result has the tokens when the call returns, or only
  /// after finish() where the device does both.
  void choose(const Batch& batch, StepResult& result, Stopwatch& watch);

  Model model_;
  ThreadPool pool_;
  OpenedBackend opened_;
  std::unique_ptr<DraftHead> draft_head_;
  std::atomic<bool> aborted_{false};
  std::atomic<uint32_t> runs_{0}, ended_{0};
  std::mutex profile_mutex_;
  std::map<std::string, double> profile_;
};

}  // namespace hearth
