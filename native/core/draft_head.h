// An EAGLE-3 draft head (Li et al. 2025, arXiv 2503.01840): one layer that reads a target model's hidden states and guesses its
// next tokens. T is the target's embedding length, E the head's own.
//
// With the feature g_p of a position and the token behind it, token_{p+1}, the head computes its row p, whose output guesses
// token_{p+2}; what leaves its layer stands in for g_{p+1}, which the target has not computed yet.
//
// The head's keys and values lie in a cache with the target's block numbers (KvBlocks::companion): they are shared, copied and
// evicted with the target's, so a cached prefix is the head's context, too. Two things follow. A row is written as soon as the token
// behind it is certain, so the last rows of a finished sequence may be missing, and at the end of a prefix that goes on with
// another token, one row is the other's. Both cost a little acceptance and never a token, for every draft is verified.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend.h"
#include "thread_pool.h"

namespace hearth {

/// One sequence's wish for drafts.
struct DraftRequest {
  int64_t sequence;  ///< as in Batch::draft_sequences
  int32_t position;  ///< of `token`, the newest, which the target has not computed yet
  int32_t token;
  int limit;                    ///< drafts wanted
  std::vector<int32_t> blocks;  ///< with room for positions below position + limit
};

class DraftHead {
 public:
  /// `target` and `pool` must outlive it; `make_backend` makes the kernels for the head's own layer.
  template <class MakeBackend>
  DraftHead(const std::string& path, const Model& target, ThreadPool& pool, const MakeBackend& make_backend)
      : model_(path, target), target_(target), pool_(pool), backend_(make_backend(model_)) {}

  const Model& model() const { return model_; }

  /// The head's part of a cache for its target.
  std::shared_ptr<KvBlocks> make_cache(int blocks, CacheType type) const {
    return backend_->make_cache(model_.config(), blocks, type);
  }

  /// Makes room for the features of a step of `rows` rows: [rows][3·T], the inputs of the three target layers side by side.
  float* features(int rows);
  /// Takes in a step of the target whose features() are filled: rows of a sequence begin where its last step's accepted rows
  /// ended, or anywhere after a hit in the cache. `cache` is the target's. Without memory, all sequences are forgotten.
  void observe(const Batch& batch, KvBlocks& cache);
  /// Guesses greedily, all sequences in one pass a token. A sequence that has no feature for the position before its newest
  /// token gets none. Throws Error on a block out of range. Without memory, all sequences are
  /// forgotten.
  std::vector<std::vector<int32_t>> draft(KvBlocks& cache, const std::vector<DraftRequest>& requests);
  /// Forgets a sequence.
  void release(int64_t sequence) { sequences_.erase(sequence); }

 private:
  /// Rows whose keys and values the head has not written yet, since the token behind the last of them is not certain.
  struct Pending {
    int first = 0;                ///< position of the first
    std::vector<float> features;  ///< [rows][E], fused
    std::vector<int32_t> next;    ///< [rows] the token behind each
    int rows() const { return static_cast<int>(next.size()); }
  };

  /// Does what changes sequences, none of which is kept half changed.
  template <class Change>
  void change(const Change& body) {
    try {
      body();
    } catch (const Error&) {
      throw;  // of a request, found before its sequence has changed
    } catch (...) {
      sequences_.clear();
      throw;
    }
  }
  void take_in(const Batch& batch, KvBlocks& cache);
  std::vector<std::vector<int32_t>> guess(KvBlocks& cache, const std::vector<DraftRequest>& requests);
  /// Writes the keys and values of rows; with outputs, guesses are left in guesses_ and what leaves the layer in hidden_.
  void run(const Batch& batch, const float* features, KvBlocks& cache);
  /// Adds the first `count` rows of a sequence to a batch.
  void append(const Pending& pending, int count, const std::vector<int32_t>& blocks, Batch& batch,
              std::vector<float>& features) const;

  Model model_;
  const Model& target_;
  ThreadPool& pool_;
  std::unique_ptr<Backend> backend_;
  std::unordered_map<int64_t, Pending> sequences_;
  std::vector<float> wide_, fused_, hidden_;
  std::vector<int32_t> guesses_;
};

}  // namespace hearth
