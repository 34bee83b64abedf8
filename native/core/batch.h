// One step's work: a ragged batch of rows (tokens) from any sequences, and what comes back.
#pragma once

#include <cstdint>
#include <vector>

#include "kv_blocks.h"
#include "sampler.h"

namespace hearth {

/// Rows of one step at most: bounds the scratch memory.
constexpr int kMaxRows = 4096;

/// Rounds of one step at most.
constexpr int kMaxRounds = 64;

/// The number of a batch that only closing the model ends early.
constexpr uint32_t kNeverEnded = UINT32_MAX;

struct Batch {
  std::vector<int32_t> tokens;     ///< [rows]
  std::vector<int32_t> positions;  ///< [rows]
  std::vector<int32_t>
      sequences;  ///< [rows] index into block_tables; rows of a sequence adjacent, positions ascending by 1
  std::vector<std::vector<int32_t>> block_tables;
  std::vector<int64_t>
      draft_sequences;             ///< [block_tables] what a draft head calls each, below 0: not followed; or empty
  std::vector<int32_t> outputs;    ///< rows whose next token is wanted, ascending
  std::vector<Sampling> sampling;  ///< [outputs]
  bool logits = false;             ///< give the output rows' logits back
  bool probabilities = false;      ///< and the probabilities of their tokens
  /// Tokens to decode for each row: the token chosen in one round is the row of the next, a position on. More than 1 only where every
  /// row is a sequence's only one and an output, and no logits are wanted.
  int rounds = 1;
  std::vector<int32_t> forced;  ///< [rounds − 1][rows] tokens to go on with in place of the chosen ones; or empty
  std::vector<std::vector<int32_t>>
      stop_ids;                   ///< [outputs] once each has met one of its ids, no further round is needed; or empty
  uint32_t number = kNeverEnded;  ///< of a run of several rounds, ascending; see ModelRunner::end_runs

  int rows() const { return static_cast<int>(tokens.size()); }
  /// Whether a token ends what is wanted of an output.
  bool stops_at(size_t output, int32_t token) const;

  /// Throws Error unless every id, position, block and row is in range and no two sequences write the same block.
  void validate(const Config& config, const KvBlocks& cache) const;
};

/// Adjacent rows of one sequence.
struct Run {
  int first_row, rows;
  int first_position;
  const std::vector<int32_t>* blocks;
};
std::vector<Run> runs_of(const Batch& batch);

struct StepResult {
  std::vector<int32_t> tokens;       ///< [rounds that ran][outputs]
  std::vector<float> probabilities;  ///< [rounds that ran][outputs] or empty
  std::vector<float> logits;         ///< [outputs][V] or empty
};

}  // namespace hearth
