#include "engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "../cpu/ceilings.h"
#include "../cpu/cpu_backend.h"
#include "../cpu/kernels.h"
#include "../cpu/reference_backend.h"
#include "../metal/metal_backend.h"
#include "error.h"

namespace hearth {

namespace {

std::unique_ptr<Backend> make_backend(const Model& model, ThreadPool& pool, const EngineOptions& options,
                                      std::string& note) {
  if (options.backend != "auto" && options.backend != "metal" && options.backend != "cpu")
    fail("the backend must be auto, metal or cpu, not \"%s\"", printable(options.backend).c_str());
  const bool asked = options.backend == "metal";
  if (options.backend != "cpu" && (asked || (metal::on_this_system() && options.kernels == "auto"))) {
    try {
      if (options.kernels != "auto") fail("the kernels \"%s\" are the CPU's", printable(options.kernels).c_str());
      return metal::make_backend(model, options.rope, options.matrix_units, asked);
    } catch (const Error& error) { note = std::string("the CPU computes, not Metal: ") + error.what(); }
  }
  if (options.kernels == "reference") return make_reference_backend(model, pool, options.rope);
  const cpu::Kernels* kernels =
      options.kernels == "auto" ? cpu::available_kernels()[0] : cpu::find_kernels(options.kernels.c_str());
  if (!kernels) {
    std::string names = "reference";
    for (auto* set = cpu::available_kernels(); *set; set++) names += std::string(", ") + (*set)->name;
    fail("the kernels \"%s\" are unknown or not for this CPU; it has: %s", options.kernels.c_str(), names.c_str());
  }
  return make_cpu_backend(model, pool, options.rope, *kernels);
}

/// Of a run's sequences, which have met one of their stop ids.
class Stops {
 public:
  explicit Stops(const Batch& batch) : batch_(batch), met_(batch.outputs.size(), false) {}
  /// Takes in a round; whether all have by now.
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

/// Adds the time since the last lap to an operation.
class Stopwatch {
 public:
  /// `encodes`: what passes before the result is waited for is encoding, of all operations together.
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

Engine::Engine(const std::string& path, const EngineOptions& options)
    : model_(path),
      pool_(options.threads > 0 ? options.threads : default_thread_count()),
      backend_(make_backend(model_, pool_, options, backend_note_)) {
  if (options.draft_head.empty()) return;
  if (!backend_->runs_draft_heads())
    fail("%s: the %s kernels run no draft heads", options.draft_head.c_str(), backend_->name());
  EngineOptions beside = options;
  beside.backend = backend_->kind();
  draft_head_ = std::make_unique<DraftHead>(options.draft_head, model_, pool_, [&](const Model& head) {
    return make_backend(head, pool_, beside, backend_note_);
  });
}

std::shared_ptr<KvCache> Engine::make_cache(int blocks, CacheType type) const {
  auto cache = backend_->make_cache(model_.config(), blocks, type);
  if (draft_head_) cache->set_companion(draft_head_->make_cache(blocks, type));
  return cache;
}

size_t Engine::cache_block_bytes(CacheType type) const {
  return KvCache::block_bytes(model_.config(), type) +
         (draft_head_ ? KvCache::block_bytes(draft_head_->model().config(), type) : 0);
}

std::vector<std::vector<int32_t>> Engine::draft(KvCache& cache, const std::vector<DraftRequest>& requests) {
  if (!draft_head_) fail("the model was opened without a draft head");
  if (aborted_) fail("the model is being closed");
  check_files();
  auto drafts = draft_head_->draft(cache, requests);
  check_read();
  return drafts;
}

void Engine::check_files() const {
  model_.gguf().file().check();
  if (draft_head_) draft_head_->model().gguf().file().check();
}

void Engine::check_read() const {
  model_.gguf().file().check_read();
  if (draft_head_) draft_head_->model().gguf().file().check_read();
}

void Engine::release_drafts(int64_t sequence) {
  if (draft_head_) draft_head_->release(sequence);
}

StepResult Engine::step(KvCache& cache, const Batch& batch, const RoundDone& done) {
  batch.validate(model_.config(), cache);
  check_files();
  std::map<std::string, double> times;
  Backend& backend = *backend_;
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

void Engine::run_layers(const Batch& batch, Stopwatch& watch) {
  const Config& config = model_.config();
  Backend& backend = *backend_;
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

void Engine::choose(const Batch& batch, StepResult& result, Stopwatch& watch) {
  if (batch.outputs.empty()) return;
  if (backend_->sample(result)) return watch.wait_lap();
  const float* logits = backend_->head();
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

StepCount Engine::count(KvCache& cache, const Batch& batch) {
  batch.validate(model_.config(), cache);
  return backend_->count(batch, cache);
}

void Engine::repack(int part) {
  if (part < 0 || part > model_.config().layers) fail("the model has no part %d to repack", part);
  if (aborted_) return;
  check_files();
  backend_->repack(part);
  check_read();
}

Ceilings Engine::measure_ceilings() {
  Ceilings ceilings;
  return backend_->measure_ceilings(ceilings) ? ceilings : cpu::measure_ceilings(pool_);
}

std::map<std::string, double> Engine::take_profile() {
  std::lock_guard lock(profile_mutex_);
  return std::exchange(profile_, {});
}

}  // namespace hearth
