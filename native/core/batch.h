// One step's work: a ragged batch of rows (tokens) from any sequences, and what comes back.
#pragma once

#include <cstdint>
#include <vector>

#include "cache.h"
#include "sampler.h"

namespace hearth {

/// Rows of one step at most: bounds the scratch memory.
constexpr int kMaxRows = 4096;

struct Batch {
  std::vector<int32_t> tokens;     ///< [rows]
  std::vector<int32_t> positions;  ///< [rows]
  std::vector<int32_t> sequences;  ///< [rows] index into block_tables; rows of a sequence adjacent, positions ascending by 1
  std::vector<std::vector<int32_t>> block_tables;
  std::vector<int64_t> draft_sequences;  ///< [block_tables] what a draft head calls each, below 0: not followed; or empty
  std::vector<int32_t> outputs;    ///< rows whose next token is wanted, ascending
  std::vector<Sampling> sampling;  ///< [outputs]
  bool logits = false;             ///< give the output rows' logits back

  int rows() const { return static_cast<int>(tokens.size()); }

  /// Throws Error unless every id, position, block and row is in range and no two sequences write the same block.
  void validate(const Config& config, const KvCache& cache) const;
};

/// Adjacent rows of one sequence.
struct Run {
  int first_row, rows;
  int first_position;
  const std::vector<int32_t>* blocks;
};
std::vector<Run> runs_of(const Batch& batch);

struct StepResult {
  std::vector<int32_t> tokens;       ///< [outputs]
  std::vector<float> probabilities;  ///< [outputs]
  std::vector<float> logits;         ///< [outputs][V] or empty
};

}  // namespace hearth
