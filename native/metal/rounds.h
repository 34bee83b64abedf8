// What the rounds of a step (Batch::rounds) leave for one another and for the host. A round reads the tokens that the
// round before chose without waiting for the host. Two words in memory, the request and the stop word, end a run early.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include "../core/batch.h"
#include "gpu_memory.h"
#include "kernels.h"

namespace hearth::metal {

class Rounds {
 public:
  explicit Rounds(std::shared_ptr<gpu::Device> device)
      : device_(std::move(device)),
        request_(device_->buffer(sizeof(uint32_t))),
        stop_(device_->buffer(sizeof(uint32_t))) {
    end_through(0);
    *static_cast<uint32_t*>(stop_->contents()) = 0;
  }

  /// Makes room for all rounds of a step and writes what they read. No command may be under way.
  void begin(const Batch& batch) {
    batch_ = &batch;
    rows_ = batch.tokens.size();
    outputs_ = batch.outputs.size();
    taken_ = 0;
    *static_cast<uint32_t*>(stop_->contents()) = 0;
    const size_t chosen = static_cast<size_t>(batch.rounds) * outputs_;
    tokens_.get(*device_, (rows_ + chosen) * 4);
    std::memcpy(tokens_.data<uint32_t>(), batch.tokens.data(), rows_ * 4);
    params_.get(*device_, chosen * sizeof(gpu::SampleParams));
    results_.get(*device_, chosen * sizeof(gpu::SampleResult));
    output_rows_.get(*device_, outputs_ * 4);
    for (size_t i = 0; i < chosen; i++) {
      const size_t o = i % outputs_;
      const int position = batch.positions[static_cast<size_t>(batch.outputs[o])] + static_cast<int>(i / outputs_);
      params_.data<gpu::SampleParams>()[i] = sample_params(batch.sampling[o], position + 1);
      results_.data<gpu::SampleResult>()[i] = {kNone, 0};
    }
    for (size_t o = 0; o < outputs_; o++) output_rows_.data<uint32_t>()[o] = static_cast<uint32_t>(batch.outputs[o]);
    if (batch.rounds > 1) write_stop_ids();
    if (batch.forced.empty()) return;
    forced_.get(*device_, batch.forced.size() * 4);
    std::memcpy(forced_.data<uint32_t>(), batch.forced.data(), batch.forced.size() * 4);
  }

  /// The tokens [R] of a round. Round 0 has the step's own tokens. A later round has the forced ones, or else what the
  /// round before has chosen.
  gpu::View tokens(int round) const {
    if (round > 0 && !batch_->forced.empty()) return part(forced_, at(round - 1, 0), rows_, 4);
    return part(tokens_, round == 0 ? 0 : rows_ + at(round - 1, 0), rows_, 4);
  }
  /// Where a round's outputs from `first` on leave their tokens. The next round reads them there.
  gpu::View chosen(int round, int first, int count) const {
    return part(tokens_, rows_ + at(round, first), static_cast<size_t>(count), 4);
  }
  gpu::View results(int round, int first, int count) const {
    return part(results_, at(round, first), static_cast<size_t>(count), sizeof(gpu::SampleResult));
  }
  gpu::View params(int round, int first, int count) const {
    return part(params_, at(round, first), static_cast<size_t>(count), sizeof(gpu::SampleParams));
  }
  gpu::View output_rows(int first, int count) const {
    return part(output_rows_, static_cast<size_t>(first), static_cast<size_t>(count), 4);
  }

  gpu::View request_word() const { return {request_.get(), 0, sizeof(uint32_t)}; }
  gpu::View stop_word() const { return {stop_.get(), 0, sizeof(uint32_t)}; }
  /// What latch_stop reads at the beginning of each round but the first.
  gpu::View stop_ids() const { return stop_ids_.view(); }
  gpu::View ended() const { return ended_.view(); }

  /// Adds the tokens of the rounds up to `last` to the result, as far as those rounds ran. The GPU must have finished
  /// with them.
  void take(int last, StepResult& result) {
    for (; taken_ <= last && outputs_ > 0; taken_++) {
      const auto* round = results_.data<gpu::SampleResult>() + at(taken_, 0);
      if (round->token == kNone) return;  // the run ended before this round
      for (size_t o = 0; o < outputs_; o++) {
        result.tokens.push_back(static_cast<int32_t>(round[o].token));
        if (batch_->probabilities) result.probabilities.push_back(round[o].probability);
      }
    }
  }

  /// Ends runs with this number or a lower one. With kNeverEnded every step ends, at its next command buffer. Any
  /// thread may call it.
  void end_through(uint32_t number) { __atomic_store_n(request(), number, __ATOMIC_RELAXED); }
  bool all_ended() const { return __atomic_load_n(request(), __ATOMIC_RELAXED) == kNeverEnded; }

  /// Bytes in use for the current step.
  size_t bytes() const {
    size_t sum = 0;
    for (const GpuScratch* scratch : {&tokens_, &forced_, &params_, &results_, &output_rows_, &stop_ids_, &ended_})
      sum += scratch->view().bytes;
    return sum;
  }

 private:
  /// Marks a result that no round has written. It is no token's id.
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t* request() const { return static_cast<uint32_t*>(request_->contents()); }
  size_t at(int round, int first) const { return static_cast<size_t>(round) * outputs_ + static_cast<size_t>(first); }
  static gpu::View part(const GpuScratch& scratch, size_t first, size_t count, size_t size) {
    return {scratch.view().buffer, first * size, count * size};
  }

  /// Writes the stop ids as latch_stop reads them: first where the ids of each output begin and where the last ones
  /// end, then the ids.
  void write_stop_ids() {
    std::vector<uint32_t> list(outputs_ + 1, static_cast<uint32_t>(outputs_ + 1));
    for (size_t o = 0; o < outputs_; o++) {
      if (o < batch_->stop_ids.size()) list.insert(list.end(), batch_->stop_ids[o].begin(), batch_->stop_ids[o].end());
      list[o + 1] = static_cast<uint32_t>(list.size());
    }
    stop_ids_.get(*device_, list.size() * 4);
    std::memcpy(stop_ids_.data<uint32_t>(), list.data(), list.size() * 4);
    ended_.get(*device_, outputs_ * 4);
    std::memset(ended_.data<uint32_t>(), 0, outputs_ * 4);
  }

  std::shared_ptr<gpu::Device> device_;
  std::unique_ptr<gpu::Buffer> request_, stop_;
  GpuScratch tokens_, forced_, params_, results_, output_rows_, stop_ids_, ended_;
  const Batch* batch_ = nullptr;
  size_t rows_ = 0, outputs_ = 0;
  int taken_ = 0;
};

}  // namespace hearth::metal
