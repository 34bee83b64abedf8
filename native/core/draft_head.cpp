#include "draft_head.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"

namespace hearth {

namespace {

/// How many certain rows of a sequence wait at most. One pass over all of them costs as much as a pass over one.
constexpr int kMostWaiting = 8;

size_t area(int64_t rows, int64_t columns) { return static_cast<size_t>(rows) * static_cast<size_t>(columns); }

/// x · weight / sqrt(mean(x²) + epsilon), in place.
void rms_norm(float* x, const float* weight, int n, float epsilon) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += static_cast<double>(x[i]) * x[i];
  const auto scale = static_cast<float>(1 / std::sqrt(sum / n + epsilon));
  for (int i = 0; i < n; i++) x[i] = x[i] * scale * weight[i];
}

/// The index of the largest value. The lowest index wins a tie.
int32_t largest(const float* values, int count) {
  return static_cast<int32_t>(std::max_element(values, values + count) - values);
}

}  // namespace

float* DraftHead::features(int rows) {
  wide_.resize(area(rows, 3 * target_.config().embedding));
  return wide_.data();
}

void DraftHead::observe(const Batch& batch, KvBlocks& cache) {
  change([&] { take_in(batch, cache); });
}

std::vector<std::vector<int32_t>> DraftHead::draft(KvBlocks& cache, const std::vector<DraftRequest>& requests) {
  std::vector<std::vector<int32_t>> drafts;
  change([&] { drafts = guess(cache, requests); });
  return drafts;
}

void DraftHead::take_in(const Batch& batch, KvBlocks& cache) {
  const int E = model_.config().embedding, width = 3 * target_.config().embedding, rows = batch.rows();
  if (const float* norm = model_.head().fusion_norm)
    pool_.run(rows,
              [&](int r, int) { rms_norm(wide_.data() + area(r, width), norm, width, model_.config().rms_epsilon); });
  fused_.resize(area(rows, E));
  backend_->project(model_.head().fusion, wide_.data(), rows, fused_.data());

  Batch certain;
  std::vector<float> features;
  for (const Run& run : runs_of(batch)) {
    const int64_t id = batch.draft_sequences[static_cast<size_t>(batch.sequences[static_cast<size_t>(run.first_row)])];
    if (id < 0) continue;
    Pending& pending = sequences_[id];
    const int known = run.first_position - pending.first;
    // The head begins anew after a hit in the cache, or where the target computes a position again.
    const bool follows = known >= 0 && known <= pending.rows();
    if (!follows) pending.first = run.first_position;
    pending.features.resize(area(follows ? known : 0, E));
    pending.next.resize(static_cast<size_t>(follows ? known : 0));
    const auto token = [&](int i) { return batch.tokens[static_cast<size_t>(run.first_row + i)]; };
    if (!pending.next.empty()) pending.next.back() = token(0);
    pending.features.insert(pending.features.end(), fused_.data() + area(run.first_row, E),
                            fused_.data() + area(run.first_row + run.rows, E));
    for (int i = 0; i < run.rows; i++) pending.next.push_back(i + 1 < run.rows ? token(i + 1) : 0);

    // The tokens after the first row with an output are guesses. No token follows the last row yet.
    const auto first_output = std::lower_bound(batch.outputs.begin(), batch.outputs.end(), run.first_row);
    const int end = first_output != batch.outputs.end() && *first_output < run.first_row + run.rows
                        ? *first_output
                        : run.first_row + run.rows - 1;
    const int count = run.first_position + (end - run.first_row) - pending.first;
    if (count < kMostWaiting) continue;
    append(pending, count, *run.blocks, certain, features);
    pending.first += count;
    pending.features.erase(pending.features.begin(), pending.features.begin() + static_cast<ptrdiff_t>(area(count, E)));
    pending.next.erase(pending.next.begin(), pending.next.begin() + count);
  }
  if (certain.rows() > 0) run(certain, features.data(), *cache.companion());
}

std::vector<std::vector<int32_t>> DraftHead::guess(KvBlocks& cache, const std::vector<DraftRequest>& requests) {
  const int E = model_.config().embedding;
  std::vector<std::vector<int32_t>> drafts(requests.size());
  std::vector<size_t> open;
  Batch batch;
  std::vector<float> features;
  for (size_t i = 0; i < requests.size(); i++) {
    const DraftRequest& request = requests[i];
    auto found = sequences_.find(request.sequence);
    if (found == sequences_.end() || request.limit < 1 || request.position < 1) continue;
    Pending& pending = found->second;
    // The rows after the newest token are dropped: the target computed them for guesses that turned out wrong.
    const int count = request.position - pending.first;
    if (count < 1 || count > pending.rows()) continue;
    for (int32_t block : request.blocks)
      if (block < 0 || block >= cache.blocks())
        fail("cache block %d is outside the cache of %d blocks", block, cache.blocks());
    const int last = request.position + request.limit - 2;
    if (request.limit > kMaxRows || static_cast<size_t>(last / kCacheBlock) >= request.blocks.size())
      fail("position %d has no cache block: the sequence's table has %zu", last, request.blocks.size());
    if (request.token < 0 || request.token >= target_.config().vocabulary)
      fail("token id %d is outside the vocabulary of %d", request.token, target_.config().vocabulary);
    pending.next[static_cast<size_t>(count - 1)] = request.token;
    append(pending, count, request.blocks, batch, features);
    batch.outputs.push_back(batch.rows() - 1);
    pending.first = request.position;
    pending.features.clear();
    pending.next.clear();
    open.push_back(i);
  }
  for (int step = 0; !open.empty(); step++) {
    run(batch, features.data(), *cache.companion());
    batch = {};
    features.clear();
    std::vector<size_t> longer;
    for (size_t k = 0; k < open.size(); k++) {
      const DraftRequest& request = requests[open[k]];
      std::vector<int32_t>& draft = drafts[open[k]];
      draft.push_back(guesses_[k]);
      const int position = request.position + step;
      if (static_cast<int>(draft.size()) >= request.limit) continue;
      batch.block_tables.push_back(request.blocks);
      batch.tokens.push_back(guesses_[k]);
      batch.positions.push_back(position);
      batch.sequences.push_back(static_cast<int32_t>(batch.block_tables.size()) - 1);
      batch.outputs.push_back(batch.rows() - 1);
      features.insert(features.end(), hidden_.data() + area(static_cast<int64_t>(k), E),
                      hidden_.data() + area(static_cast<int64_t>(k) + 1, E));
      longer.push_back(open[k]);
    }
    open = std::move(longer);
  }
  return drafts;
}

void DraftHead::append(const Pending& pending, int count, const std::vector<int32_t>& blocks, Batch& batch,
                       std::vector<float>& features) const {
  batch.block_tables.push_back(blocks);
  for (int i = 0; i < count; i++) {
    batch.tokens.push_back(pending.next[static_cast<size_t>(i)]);
    batch.positions.push_back(pending.first + i);
    batch.sequences.push_back(static_cast<int32_t>(batch.block_tables.size()) - 1);
  }
  const auto values = static_cast<ptrdiff_t>(area(count, model_.config().embedding));
  features.insert(features.end(), pending.features.begin(), pending.features.begin() + values);
}

void DraftHead::run(const Batch& batch, const float* features, KvBlocks& cache) {
  const int E = model_.config().embedding, rows = batch.rows(), outputs = static_cast<int>(batch.outputs.size());
  backend_->begin(batch, cache);
  backend_->embed_with(features);
  backend_->attention_input(0);
  if (outputs == 0) return;
  backend_->attention(0);
  backend_->attention_output(0);
  backend_->experts(0);
  std::vector<float> all(area(rows, E));
  backend_->read_hidden(all.data(), static_cast<size_t>(E));
  hidden_.resize(area(outputs, E));
  for (int o = 0; o < outputs; o++)
    std::copy_n(all.data() + area(batch.outputs[static_cast<size_t>(o)], E), E, hidden_.data() + area(o, E));
  const int vocabulary = model_.config().vocabulary;
  const float* logits = backend_->head();
  const std::vector<int32_t>& ids = model_.head().token_ids;
  guesses_.resize(static_cast<size_t>(outputs));
  pool_.run(outputs, [&](int o, int) {
    const int32_t guess = largest(logits + area(o, vocabulary), vocabulary);
    guesses_[static_cast<size_t>(o)] = ids.empty() ? guess : ids[static_cast<size_t>(guess)];
  });
}

}  // namespace hearth
