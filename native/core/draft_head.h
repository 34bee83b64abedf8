// An EAGLE-3 draft head (Li et al. 2025, arXiv 2503.01840) is one layer that reads a target model's hidden states and
// guesses the target's next tokens. T is the target's embedding length, E the head's own.
//
// For its row p the head takes the feature g_p of position p and the next token, token_{p+1}. The row's output guesses
// token_{p+2}. The hidden state that leaves the head's layer stands in for g_{p+1}, which the target has not computed
// yet.
//
// The head's keys and values lie in a cache with the target's block numbers (KvBlocks::companion). They are shared,
// copied and evicted with those of the target, so a cached prefix is context for the head, too. Two things follow. The
// head writes a row only once the row's next token is certain, so the last rows of a finished sequence may be missing.
// Where another sequence goes on from a cached prefix with another token, the last row of the prefix was computed with
// the first sequence's token. Both lower the acceptance a little. Neither changes a token, because every draft is
// verified.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend.h"
#include "thread_pool.h"

namespace hearth {

/// What one sequence asks of the draft head.
struct DraftRequest {
  int64_t sequence;             ///< number of the sequence, as in Batch::draft_sequences
  int32_t position;             ///< position of `token`
  int32_t token;                ///< the newest token, which the target has not computed yet
  int limit;                    ///< how many drafts are wanted at most
  std::vector<int32_t> blocks;  ///< block table with room for positions below position + limit
};

class DraftHead {
 public:
  /// `target` and `pool` must outlive the head. `make_backend` makes the kernels for the head's layer.
  template <class MakeBackend>
  DraftHead(const std::string& path, const Model& target, ThreadPool& pool, const MakeBackend& make_backend)
      : model_(path, target), target_(target), pool_(pool), backend_(make_backend(model_)) {}

  const Model& model() const { return model_; }

  /// Makes the head's part of a cache for its target.
  std::shared_ptr<KvBlocks> make_cache(int blocks, CacheType type) const {
    return backend_->make_cache(model_.config(), blocks, type);
  }

  /// Makes room for the features of a step of `rows` rows: [rows][3·T], the inputs of three layers of the target side
  /// by side.
  float* features(int rows);
  /// Takes in a step of the target, whose features() have been filled. The rows of a sequence begin where the accepted
  /// rows of its last step ended, or anywhere after a hit in the cache. `cache` is the target's. Where memory runs out,
  /// the head forgets all sequences.
  void observe(const Batch& batch, KvBlocks& cache);
  /// Guesses greedily, with one pass for each token of all sequences together. A sequence gets no guess where the head
  /// has no feature of the position before the newest token. Throws Error on a block out of range. Where memory runs
  /// out, the head forgets all sequences.
  std::vector<std::vector<int32_t>> draft(KvBlocks& cache, const std::vector<DraftRequest>& requests);
  /// Forgets a sequence.
  void release(int64_t sequence) { sequences_.erase(sequence); }

 private:
  /// The rows of a sequence whose keys and values the head has not written yet, because the token after the last of
  /// them is not certain.
  struct Pending {
    int first = 0;                ///< position of the first row
    std::vector<float> features;  ///< [rows][E], fused
    std::vector<int32_t> next;    ///< [rows] the token after each row
    int rows() const { return static_cast<int>(next.size()); }
  };

  /// Calls `body`, which changes sequences. Where it throws, no sequence is left half changed: the head forgets all.
  template <class Change>
  void change(const Change& body) {
    try {
      body();
    } catch (const Error&) {
      throw;  // the error concerns a request and came before its sequence was changed
    } catch (...) {
      sequences_.clear();
      throw;
    }
  }
  void take_in(const Batch& batch, KvBlocks& cache);
  std::vector<std::vector<int32_t>> guess(KvBlocks& cache, const std::vector<DraftRequest>& requests);
  /// Writes the keys and values of the rows. For outputs it leaves the guesses in guesses_ and the hidden states in
  /// hidden_.
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
