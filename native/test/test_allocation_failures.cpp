// Lets allocations fail while a model is opened, steps run, drafts are made and weights are repacked. Each run lets one
// allocation fail, alone or with all after it; there are at most MOST runs. The work under way must end with an
// exception or do without the memory, whatever thread it was on. Afterwards there is memory again, and the same work
// must give the same bits. A crash ends this program; a deadlock hangs it.
//
//   test_allocation_failures MODEL KERNELS MOST [DRAFT_HEAD]
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "../core/model_runner.h"
#include "../cpu/cpu_device.h"

namespace {

std::atomic<long> left{-1};      ///< allocations before the one that fails; below 0: none fails
std::atomic<bool> stays{false};  ///< whether all allocations after that one fail, too
std::atomic<long> failures{0};

bool fails_now() {
  if (left.load(std::memory_order_relaxed) < 0) return false;
  const long before = left.fetch_sub(1);
  if (before > 0) return false;
  // Other threads may have decremented `left` below 0 at the same moment. This puts back the value that says that none
  // fails, or that all do.
  left = stays ? 0 : -1;
  if (before < 0 && !stays) return false;
  failures++;
  return true;
}

void* allocate(size_t bytes, size_t alignment) {
  if (fails_now()) throw std::bad_alloc();
  const size_t whole = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  void* memory = alignment > alignof(std::max_align_t) ? std::aligned_alloc(alignment, whole) : std::malloc(whole);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new[](size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) { return allocate(bytes, static_cast<size_t>(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

using namespace hearth;

namespace {

constexpr int kBlocks = 4, kPrompt = 20;

/// Two sequences with room for 128 positions each.
Batch batch_of(const Config& config, int first_position, int rows, bool drafting) {
  Batch batch;
  for (int sequence = 0; sequence < 2; sequence++) {
    batch.block_tables.emplace_back(kBlocks);
    std::iota(batch.block_tables.back().begin(), batch.block_tables.back().end(), sequence * kBlocks);
    if (drafting) batch.draft_sequences.push_back(sequence);
    for (int i = 0; i < rows; i++) {
      batch.tokens.push_back((first_position + i) * 31 % config.vocabulary);
      batch.positions.push_back(first_position + i);
      batch.sequences.push_back(sequence);
    }
    batch.outputs.push_back(batch.rows() - 1);
    Sampling sampling;
    sampling.temperature = 0.7f;
    sampling.top_p = sequence == 0 ? 0.9f : 1;
    sampling.seed = 3;
    batch.sampling.push_back(sampling);
  }
  return batch;
}

/// Runs a prompt, drafts behind it and some rounds for both sequences. Returns all results as one list of numbers.
std::vector<int32_t> run(ModelRunner& runner) {
  const Config& config = runner.model().config();
  const bool drafting = runner.draft_head() != nullptr;
  const auto cache = runner.make_cache(2 * kBlocks, runner.backend().cache_type());
  std::vector<int32_t> out;
  const auto add = [&](const StepResult& result) {
    out.insert(out.end(), result.tokens.begin(), result.tokens.end());
    for (const std::vector<float>* values : {&result.logits, &result.probabilities})
      for (const float value : *values) {
        int32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        out.push_back(bits);
      }
  };
  Batch prompt = batch_of(config, 0, kPrompt, drafting);
  prompt.logits = true;
  add(runner.step(*cache, prompt));
  if (drafting) {
    const int32_t token = out[0];
    std::vector<DraftRequest> requests;
    for (int sequence = 0; sequence < 2; sequence++)
      requests.push_back({sequence, kPrompt, token, 3, prompt.block_tables[static_cast<size_t>(sequence)]});
    for (const std::vector<int32_t>& draft : runner.draft(*cache, requests))
      out.insert(out.end(), draft.begin(), draft.end());
    for (int sequence = 0; sequence < 2; sequence++) runner.release_drafts(sequence);
  }
  Batch rounds = batch_of(config, kPrompt, 1, false);
  rounds.rounds = 3;
  rounds.probabilities = true;
  add(runner.step(*cache, rounds));
  return out;
}

void repack(ModelRunner& runner) {
  const int parts = static_cast<int>(runner.backend().repack_bytes().size());
  for (int part = 0; part < parts; part++) runner.repack(part);
}

/// Whether `work` threw an exception. Anything else that goes wrong ends the program.
template <class Work>
bool threw(const Work& work) {
  try {
    work();
    return false;
  } catch (const std::exception&) { return true; }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "usage: test_allocation_failures MODEL KERNELS MOST [DRAFT_HEAD]\n");
    return 1;
  }
  const std::string model = arguments[1];
  RunnerOptions options;
  options.threads = 3;
  options.backend.kernels = arguments[2];
  if (count > 4) options.draft_head = arguments[4];
  const long most = std::strtol(arguments[3], nullptr, 10);

  const Devices devices = {&cpu::device()};
  std::unique_ptr<ModelRunner> runner;
  // Each failure meets a new runner, which has no scratch memory yet. Returns whether anything failed.
  const auto work = [&] {
    runner.reset();
    bool failed = threw([&] { runner = std::make_unique<ModelRunner>(model, options, devices); });
    if (!runner) return true;
    failed |= threw([&] { run(*runner); });
    failed |= threw([&] { repack(*runner); });
    return threw([&] { run(*runner); }) || failed;
  };
  constexpr long kNever = std::numeric_limits<long>::max();
  left = kNever;
  if (work()) {
    std::fprintf(stderr, "FAILED: without any failure\n");
    return 1;
  }
  const long all = kNever - left;
  left = -1;
  const std::vector<int32_t> right = run(*runner);
  long injected = 0, opened = 0, survived = 0;
  for (long i = 0; i < most; i++) {
    // The failures are spread evenly over all allocations and a little past the end, since the order of the threads
    // makes a few more or fewer.
    const long n = i * (all + all / 8) / most;
    stays = i % 3 == 2;
    const long before = failures;
    left = n;
    const bool failed = work();
    left = -1;
    if (failures == before) continue;
    injected++;
    survived += !failed;
    if (!runner) continue;
    opened++;
    // Work that failed may be asked for again, and weights that have moved give the same results.
    for (int again = 0; again < 2; again++) {
      if (run(*runner) != right) {
        std::fprintf(stderr, "FAILED: allocation %ld%s: another result afterwards\n", n,
                     stays ? " and all after it" : "");
        return 1;
      }
      repack(*runner);
    }
  }
  std::printf("%ld of %ld allocations failed, %ld after opening, %ld were done without\n", injected, all, opened,
              survived);
  return injected > 0 && opened > 0 ? 0 : 1;
}
