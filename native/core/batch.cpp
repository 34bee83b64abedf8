#include "batch.h"

#include <algorithm>
#include <unordered_set>

#include "error.h"

namespace hearth {

std::vector<Run> runs_of(const Batch& batch) {
  std::vector<Run> runs;
  for (int r = 0; r < batch.rows(); r++) {
    auto i = static_cast<size_t>(r);
    if (r > 0 && batch.sequences[i] == batch.sequences[i - 1]) runs.back().rows++;
    else runs.push_back({r, 1, batch.positions[i], &batch.block_tables[static_cast<size_t>(batch.sequences[i])]});
  }
  return runs;
}

bool Batch::stops_at(size_t output, int32_t token) const {
  return output < stop_ids.size() &&
         std::find(stop_ids[output].begin(), stop_ids[output].end(), token) != stop_ids[output].end();
}

void Batch::validate(const Config& config, const KvBlocks& cache) const {
  const int n = rows();
  if (n == 0) fail("a step needs at least one row");
  if (n > kMaxRows) fail("a step may have %d rows, not %d", kMaxRows, n);
  if (positions.size() != tokens.size() || sequences.size() != tokens.size())
    fail("tokens, positions and sequences of a step must have the same length");
  for (const int32_t token : forced)
    if (token < 0 || token >= config.vocabulary)
      fail("token id %d is outside the vocabulary of %d", token, config.vocabulary);
  if (rounds < 1 || rounds > kMaxRounds) fail("a step may have 1 to %d rounds, not %d", kMaxRounds, rounds);
  const int ahead = rounds - 1;
  for (size_t r = 0; r < tokens.size(); r++) {
    if (tokens[r] < 0 || tokens[r] >= config.vocabulary)
      fail("token id %d is outside the vocabulary of %d", tokens[r], config.vocabulary);
    if (sequences[r] < 0 || static_cast<size_t>(sequences[r]) >= block_tables.size())
      fail("row %zu names sequence %d, but there are %zu block tables", r, sequences[r], block_tables.size());
    if (positions[r] < 0 || positions[r] >= config.context_length - ahead)
      fail("position %d is outside the model's context of %d", positions[r] < 0 ? positions[r] : positions[r] + ahead,
           config.context_length);
    const auto& table = block_tables[static_cast<size_t>(sequences[r])];
    if (static_cast<size_t>((positions[r] + ahead) / kCacheBlock) >= table.size())
      fail("position %d has no cache block: the sequence's table has %zu", positions[r] + ahead, table.size());
    if (r > 0 && sequences[r] == sequences[r - 1] && positions[r] != positions[r - 1] + 1)
      fail("row %zu: positions of a sequence must ascend by 1", r);
  }
  if (!draft_sequences.empty() && draft_sequences.size() != block_tables.size())
    fail("draftSequences must name every sequence of the step");
  std::unordered_set<int32_t> seen, written;
  for (const Run& run : runs_of(*this)) {
    if (!seen.insert(sequences[static_cast<size_t>(run.first_row)]).second)
      fail("the rows of a sequence must be adjacent");
    for (int32_t block : *run.blocks)
      if (block < 0 || block >= cache.blocks())
        fail("cache block %d is outside the cache of %d blocks", block, cache.blocks());
    if (rounds > 1 && run.rows > 1) fail("a sequence of a step of several rounds has one row, not %d", run.rows);
    for (int b = run.first_position / kCacheBlock; b <= (run.first_position + run.rows - 1 + ahead) / kCacheBlock; b++)
      if (!written.insert((*run.blocks)[static_cast<size_t>(b)]).second)
        fail("cache block %d would be written twice in one step", (*run.blocks)[static_cast<size_t>(b)]);
  }
  for (size_t o = 0; o < outputs.size(); o++)
    if (outputs[o] < 0 || outputs[o] >= n || (o > 0 && outputs[o] <= outputs[o - 1]))
      fail("output rows must be ascending row numbers below %d", n);
  if (sampling.size() != outputs.size()) fail("there must be one sampling setting per output row");
  if (!stop_ids.empty() && stop_ids.size() != outputs.size()) fail("there must be one list of stop ids per output row");
  if (rounds > 1 && outputs.size() != tokens.size()) fail("every row of a step of several rounds must be an output");
  if (!forced.empty() && forced.size() != static_cast<size_t>(ahead) * tokens.size())
    fail("there must be a forced token for each row of the rounds after the first");
  if (rounds > 1 && logits) fail("a step of several rounds gives no logits");
}

}  // namespace hearth
