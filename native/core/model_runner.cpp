#include "model_runner.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "error.h"

namespace hearth {

namespace {

/// Keeps track of which sequences of a run have met one of their stop ids.
class Stops {
 public:
  explicit Stops(const Batch& batch) : batch_(batch), met_(batch.outputs.size(), false) {}
  /// Takes in the tokens of a round. Returns true once every sequence has met one of its stop ids.
  bool all_after(std::span<const int32_t> tokens) {
    for (size_t o = 0; o < tokens.size(); o++)
      if (!met_[o] && batch_.stops_at(o, tokens[o])) met_[o] = true;
    return std::find(met_.begin(), met_.end(), false) == met_.end();
  }

 private:
  const Batch& batch_;
  std::vector<bool> met_;
};

}  // namespace

/// Adds the time since the last lap to the times of an operation.
class Stopwatch {
 public:
  /// `encodes`: operations only encode work for a device. All their time before the wait for the result then counts as
  /// "encoding".
  Stopwatch(std::map<std::string, double>& times, bool encodes) : times_(times), encodes_(encodes) {}
  void lap(const char* operation) { record(encodes_ ? "encoding" : operation); }
  void wait_lap() { record("the GPU"); }

 private:
  void record(const char* operation) {
    auto now = std::chrono::steady_clock::now();
    times_[operation] += std::chrono::duration<double, std::milli>(now - last_).count();
    last_ = now;
  }

  std::map<std::string, double>& times_;
  const bool encodes_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

ModelRunner::ModelRunner(const std::string& path, const RunnerOptions& options, const Devices& devices)
    : model_(path),
      pool_(options.threads > 0 ? options.threads : default_thread_count()),
      opened_(open_backend(devices, options.device, model_, pool_, options.backend)) {
  if (options.draft_head.empty()) return;
  if (!backend().runs_draft_heads())
    fail("%s: the %s kernels run no draft heads", options.draft_head.c_str(), backend().name());
  draft_head_ = std::make_unique<DraftHead>(options.draft_head, model_, pool_, [&](const Model& head) {
    return device().open(head, pool_, options.backend, true);
  });
}

std::shared_ptr<KvBlocks> ModelRunner::make_cache(int blocks, CacheType type) const {
  auto cache = opened_.backend->make_cache(model_.config(), blocks, type);
  if (draft_head_) cache->set_companion(draft_head_->make_cache(blocks, type));
  return cache;
}

size_t ModelRunner::cache_block_bytes(CacheType type) const {
  return KvBlocks::block_bytes(model_.config(), type) +
         (draft_head_ ? KvBlocks::block_bytes(draft_head_->model().config(), type) : 0);
}

std::vector<std::vector<int32_t>> ModelRunner::draft(KvBlocks& cache, const std::vector<DraftRequest>& requests) {
  if (!draft_head_) fail("the model was opened without a draft head");
  if (aborted_) fail("the model is being closed");
  check_files();
  auto drafts = draft_head_->draft(cache, requests);
  check_read();
  return drafts;
}

void ModelRunner::check_files() const {
  model_.gguf().file().check();
  if (draft_head_) draft_head_->model().gguf().file().check();
}

void ModelRunner::check_read() const {
  model_.gguf().file().check_read();
  if (draft_head_) draft_head_->model().gguf().file().check_read();
}

void ModelRunner::release_drafts(int64_t sequence) {
  if (draft_head_) draft_head_->release(sequence);
}

StepResult ModelRunner::step(KvBlocks& cache, const Batch& batch, const RoundDone& done) {
  batch.validate(model_.config(), cache);
  check_files();
  std::map<std::string, double> times;
  Backend& backend = *opened_.backend;
  Stopwatch watch(times, backend.encodes());
  StepResult result;
  Stops stops(batch);
  const auto outputs = batch.outputs.size();
  int told = 0;
  bool over = false;
  Batch next;
  const Batch* round = &batch;
  backend.begin(batch, cache);
  for (int i = 1;; i++) {
    run_layers(*round, watch);
    choose(*round, result, watch);
    if (draft_head_ && !batch.draft_sequences.empty()) {
      draft_head_->observe(*round, cache);
      watch.lap("draft head");
    }
    for (; told + 1 < batch.rounds && static_cast<size_t>(told) * outputs < result.tokens.size(); told++) {
      const size_t first = static_cast<size_t>(told) * outputs;
      const auto tokens = std::span(result.tokens).subspan(first, outputs);
      over = stops.all_after(tokens);
      check_read();
      if (done) done(tokens);
    }
    if (i == batch.rounds || over || ended_ >= batch.number) break;
    if (backend.next_round()) continue;
    if (i == 1) next = batch;
    next.rounds = 1;
    const auto& source = batch.forced.empty() ? result.tokens : batch.forced;
    std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(outputs) * (i - 1), outputs, next.tokens.begin());
    for (int32_t& position : next.positions) position++;
    round = &next;
    backend.begin(next, cache);
  }
  backend.finish(result);
  check_read();
  if (backend.encodes()) watch.wait_lap();
  std::lock_guard lock(profile_mutex_);
  for (auto& [operation, milliseconds] : times) profile_[operation] += milliseconds;
  return result;
}

void ModelRunner::run_layers(const Batch& batch, Stopwatch& watch) {
  const Config& config = model_.config();
  Backend& backend = *opened_.backend;
  backend.embed();
  watch.lap("embed");
  const bool drafting = draft_head_ && !batch.draft_sequences.empty();
  const int E = config.embedding;
  float* features = drafting ? draft_head_->features(batch.rows()) : nullptr;
  for (int layer = 0; layer < config.layers; layer++) {
    for (int i = 0; drafting && i < 3; i++)
      if (draft_head_->model().head().target_layers[i] == layer)
        backend.read_hidden(features + i * E, 3 * static_cast<size_t>(E));
    if (aborted_) {
      StepResult nothing;
      backend.finish(nothing);
      fail("the model is being closed");
    }
    backend.attention_input(layer);
    watch.lap("attention input");
    backend.attention(layer);
    watch.lap("attention");
    backend.attention_output(layer);
    watch.lap("attention output");
    backend.experts(layer);
    watch.lap(config.experts > 0 ? "experts" : "feed-forward");
  }
}

void ModelRunner::choose(const Batch& batch, StepResult& result, Stopwatch& watch) {
  if (batch.outputs.empty()) return;
  if (opened_.backend->sample(result)) return watch.wait_lap();
  const float* logits = opened_.backend->head();
  watch.lap("head");
  const size_t outputs = batch.outputs.size(), first = result.tokens.size();
  const auto vocabulary = static_cast<size_t>(model_.config().vocabulary);
  result.tokens.resize(first + outputs);
  if (batch.probabilities) result.probabilities.resize(first + outputs);
  pool_.run(static_cast<int>(outputs), [&](int o, int) {
    auto i = static_cast<size_t>(o);
    Choice choice = sample(logits + i * vocabulary, model_.config().vocabulary, batch.sampling[i],
                           batch.positions[static_cast<size_t>(batch.outputs[i])] + 1, batch.probabilities);
    result.tokens[first + i] = choice.token;
    if (batch.probabilities) result.probabilities[first + i] = choice.probability;
  });
  if (batch.logits) result.logits.assign(logits, logits + outputs * vocabulary);
  watch.lap("sampling");
}

StepCount ModelRunner::count(KvBlocks& cache, const Batch& batch) {
  batch.validate(model_.config(), cache);
  return opened_.backend->count(batch, cache);
}

void ModelRunner::repack(int part) {
  if (part < 0 || part > model_.config().layers) fail("the model has no part %d to repack", part);
  if (aborted_) return;
  check_files();
  opened_.backend->repack(part);
  check_read();
}

std::map<std::string, double> ModelRunner::take_profile() {
  std::lock_guard lock(profile_mutex_);
  return std::exchange(profile_, {});
}

}  // namespace hearth
