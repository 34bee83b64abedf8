// Prints a hash of a model's logits for each kernel set. native/cpu/kernels.h promises the same bits on every machine.
// Comparing these lines of text checks the promise on an emulated machine.
//
//   hash_logits MODEL [kernel set…]
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <numeric>
#include <string>
#include <vector>

#include "../core/model_runner.h"
#include "../cpu/cpu_device.h"
#include "../cpu/kernels.h"

using namespace hearth;

namespace {

/// 64-bit FNV-1a over the floats' bits.
class Hash {
 public:
  void add(const std::vector<float>& values) {
    for (float value : values) {
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      for (int shift = 0; shift < 32; shift += 8) state_ = (state_ ^ (bits >> shift & 255)) * 0x100000001B3ull;
    }
  }
  unsigned long long value() const { return state_; }

 private:
  uint64_t state_ = 0xCBF29CE484222325ull;
};

/// Runs two sequences, with prefill of one and of both in a step and then with single rows, and hashes all logits.
unsigned long long hash_of(const std::string& path, const std::string& kernels) {
  RunnerOptions options;
  options.backend.kernels = kernels;
  options.threads = 2;
  ModelRunner runner(path, options, {&cpu::device()});
  const Config& config = runner.model().config();
  constexpr int kBlocks = 8;
  KvBlocks cache(config, 2 * kBlocks, runner.backend().cache_type());
  std::vector<std::vector<int32_t>> tables(2, std::vector<int32_t>(kBlocks));
  std::iota(tables[0].begin(), tables[0].end(), 0);
  std::iota(tables[1].begin(), tables[1].end(), kBlocks);
  int next_position[2] = {0, 0};
  uint32_t random = 1;
  Hash hash;
  auto step = [&](int first_rows, int second_rows) {
    Batch batch;
    batch.block_tables = tables;
    const int rows[2] = {first_rows, second_rows};
    for (int sequence = 0; sequence < 2; sequence++)
      for (int i = 0; i < rows[sequence]; i++) {
        random = random * 1664525u + 1013904223u;  // Numerical Recipes' generator
        batch.outputs.push_back(batch.rows());
        batch.tokens.push_back(static_cast<int32_t>((random >> 8) % static_cast<uint32_t>(config.vocabulary)));
        batch.positions.push_back(next_position[sequence]++);
        batch.sequences.push_back(sequence);
      }
    batch.sampling.resize(batch.outputs.size());
    batch.logits = true;
    hash.add(runner.step(cache, batch).logits);
  };
  step(100, 0);
  step(37, 50);
  for (int i = 0; i < 4; i++) step(1, 1);
  step(0, 1);
  return hash.value();
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: hash_logits MODEL [kernel set...]\n");
    return 1;
  }
  std::vector<std::string> sets(arguments + 2, arguments + count);
  if (sets.empty())
    for (const cpu::Kernels* const* set = cpu::available_kernels(); *set; set++) sets.push_back((*set)->name);
  try {
    for (const std::string& set : sets) std::printf("%s %016llx\n", set.c_str(), hash_of(arguments[1], set));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
