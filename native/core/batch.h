// The work of one step, which is a ragged batch of rows (tokens) from any sequences, and the result of the step.
#pragma once

#include <cstdint>
#include <vector>

#include "kv_blocks.h"
#include "sampler.h"

namespace hearth {

/// The most rows of one step. The limit bounds the scratch memory.
constexpr int kMaxRows = 4096;

/// The most rounds of one step.
constexpr int kMaxRounds = 64;

/// The number of a batch that only closing the model ends early.
constexpr uint32_t kNeverEnded = UINT32_MAX;

struct Batch {
  std::vector<int32_t> tokens;     ///< [rows]
  std::vector<int32_t> positions;  ///< [rows]
  /// [rows] index into block_tables. Rows of one sequence are adjacent, and their positions ascend by 1.
  std::vector<int32_t> sequences;
  std::vector<std::vector<int32_t>> block_tables;
  /// [block_tables] the numbers by which the draft head knows the sequences. The head does not follow a sequence whose
  /// number is below 0. Empty: it takes in nothing of this step.
  std::vector<int64_t> draft_sequences;
  std::vector<int32_t> outputs;    ///< rows whose next token is wanted, ascending
  std::vector<Sampling> sampling;  ///< [outputs]
  bool logits = false;             ///< whether the result has the logits of the output rows
  bool probabilities = false;      ///< whether the result has the probabilities of the chosen tokens
  /// How many tokens to decode for each row. The token chosen in one round is the row of the next round, one position
  /// on. More than one round is possible only where every row is the only one of its sequence and an output, and where
  /// no logits are wanted.
  int rounds = 1;
  /// [rounds − 1][rows] tokens that the later rounds take as their rows in place of the chosen ones; or empty.
  std::vector<int32_t> forced;
  /// [outputs] the stop ids of each output. Once every output has met one of its ids, no further round is needed.
  /// Empty: no output has any.
  std::vector<std::vector<int32_t>> stop_ids;
  uint32_t number = kNeverEnded;  ///< the number of a run of several rounds; ascending, see ModelRunner::end_runs

  int rows() const { return static_cast<int>(tokens.size()); }
  /// Whether the token is one of the stop ids of the output.
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
