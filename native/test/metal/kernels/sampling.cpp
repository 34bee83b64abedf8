// sample against the CPU's sampler: the same tokens from the same logits, settings, seeds and positions; and what ends
// a run of rounds.
#include <algorithm>

#include "core/sampler.h"
#include "support.h"

using namespace hearth;
using namespace hearth::test;
using namespace hearth::gpu;

namespace {

SampleParams params_of(const Sampling& s, int position) {
  SampleParams p{};
  p.temperature = s.temperature;
  p.top_p = s.top_p;
  p.has_min_p = s.min_p > 0;
  p.log_min_p = s.min_p > 0 ? std::log(std::min(1.0f, s.min_p)) : 0;
  p.top_k = static_cast<uint32_t>(s.top_k);
  p.position = static_cast<uint32_t>(position);
  p.seed_low = static_cast<uint32_t>(s.seed);
  p.seed_high = static_cast<uint32_t>(s.seed >> 32);
  return p;
}

/// Each setting on a row of its own.
void check_samples(const std::vector<std::vector<float>>& logits, const std::vector<Sampling>& settings,
                   uint32_t threads) {
  const auto vocabulary = static_cast<uint32_t>(logits[0].size()), rows = static_cast<uint32_t>(logits.size()),
             stride = activation_stride(vocabulary);
  auto all = unset<float>(rows * stride);
  std::vector<SampleParams> params;
  for (uint32_t r = 0; r < rows; r++) {
    std::copy(logits[r].begin(), logits[r].end(), all.begin() + r * stride);
    params.push_back(params_of(settings[r], static_cast<int>(1000 + r)));
  }
  auto results = unset<SampleResult>(rows);
  auto tokens = unset<uint32_t>(rows);
  Launch("sample")
      .bytes(0, SampleArgs{vocabulary})
      .read(1, all)
      .read(2, params)
      .write(3, results)
      .write(4, tokens)
      .bytes(30, kGo)
      .run({rows, 1, 1}, {threads, 1, 1});
  for (uint32_t r = 0; r < rows; r++) {
    const hearth::Choice want =
        sample(logits[r].data(), static_cast<int>(vocabulary), settings[r], static_cast<int>(1000 + r), true);
    const Sampling& s = settings[r];
    if (results[r].token != static_cast<uint32_t>(want.token) || tokens[r] != results[r].token)
      fail_test("vocabulary %u, row %u (temperature %g, top-k %d, top-p %g, min-p %g): token %u and %u instead of %d",
                vocabulary, r, double(s.temperature), s.top_k, double(s.top_p), double(s.min_p), results[r].token,
                tokens[r], want.token);
    if (!(std::fabs(results[r].probability - want.probability) <= 2e-6f * std::max(0.01f, want.probability) + 1e-9f))
      fail_test("row %u: probability %g instead of %g", r, double(results[r].probability), double(want.probability));
  }
}

}  // namespace

KERNEL_TEST(sample) {
  const std::vector<Sampling> kinds = {{0, 0, 1, 0, 0},
                                       {1, 0, 1, 0, 0},
                                       {0.7f, 40, 1, 0, 0},
                                       {1.3f, 0, 0.9f, 0, 0},
                                       {1, 0, 1, 0.05f, 0},
                                       {0.8f, 30, 0.95f, 0.02f, 0},
                                       {2, 1, 0.5f, 0, 0},
                                       {0.01f, 0, 0.001f, 1.5f, 0},
                                       {1, 1 << 20, 0.999f, 0, 0},
                                       {1, 300, 0.9f, 0, 0}};
  const auto vocabularies = all_sizes() ? std::vector<uint32_t>{1, 31, 1000, 5001} : std::vector<uint32_t>{70};
  for (const uint32_t vocabulary : vocabularies) {
    std::vector<std::vector<float>> logits;
    std::vector<Sampling> settings;
    for (uint32_t i = 0; i < (all_sizes() ? 3 * kinds.size() : kinds.size()); i++) {
      logits.push_back(random_values(vocabulary, 3.0f));
      // Some rows have few tokens near the best, as models give them, and some have many.
      if (i % 2 == 1)
        for (uint32_t t = 0; t < vocabulary; t++)
          if (t % 40 != 7) logits.back()[t] -= 30;
      settings.push_back(kinds[i % kinds.size()]);
      settings.back().seed = generator()() * 0x100000001ull;
    }
    check_samples(logits, settings, all_sizes() && vocabulary > 4000 ? 160 : 64);
  }
}

KERNEL_TEST(sample_odd_logits) {
  // The logits have ties (the lower id comes first), NaN, infinities and negative zero.
  const uint32_t vocabulary = 200;
  std::vector<std::vector<float>> logits;
  std::vector<Sampling> settings;
  for (int kind = 0; kind < (all_sizes() ? 40 : 6); kind++) {
    std::vector<float> row(vocabulary);
    for (auto& value : row) value = static_cast<float>(static_cast<int>(generator()() % 4));
    if (kind % 4 == 1)
      for (auto& value : row) value = value > 0 ? 0.0f : -0.0f;
    if (kind % 4 == 2)
      for (size_t i = 0; i < row.size(); i += 3) row[i] = i % 2 ? NAN : -INFINITY;
    logits.push_back(row);
    settings.push_back({kind % 3 == 0 ? 0.0f : 1.0f, kind % 5 == 1 ? 37 : 0, kind % 2 ? 0.6f : 1.0f,
                        kind % 7 == 3 ? 0.3f : 0.0f, generator()()});
  }
  for (const float value : {NAN, -INFINITY, INFINITY}) {
    logits.push_back(std::vector<float>(vocabulary, value));
    settings.push_back({1, 0, 0.9f, 0, 1});
  }
  logits.push_back(std::vector<float>(vocabulary, 1.0f));
  logits.back()[77] = INFINITY;
  settings.push_back({1, 3, 0.9f, 0, 1});
  check_samples(logits, settings, 96);
}

KERNEL_TEST(latch_stop) {
  constexpr uint32_t kAlways = ~0u;
  const auto latch = [](uint32_t request, LatchArgs args, const std::vector<uint32_t>& tokens,
                        const std::vector<uint32_t>& ids, std::vector<uint32_t>& ended, uint32_t before) {
    std::vector<uint32_t> stop = {before};
    Launch("latch_stop")
        .bytes(0, args)
        .bytes(1, request)
        .read(2, tokens)
        .read(3, ids)
        .write(4, ended)
        .write(30, stop)
        .run({1, 1, 1}, {32, 1, 1});
    return stop[0];
  };
  std::vector<uint32_t> none = {0};
  const struct {
    uint32_t request, number, before, want;
  } words[] = {{0, kAlways, 0, 0}, {6, kAlways, 0, 0}, {kAlways, kAlways, 0, 1},
               {6, 7, 0, 0},       {7, 7, 0, 1},       {8, 7, 0, 1},
               {kAlways, 7, 0, 1}, {0, 7, 1, 1},       {0, kAlways, 1, 1}};  // the stop word stays set
  for (const auto& [request, number, before, want] : words)
    if (const uint32_t got = latch(request, {number, 0}, none, none, none, before); got != want)
      fail_test("request %u, number %u, stop %u: %u", request, number, before, got);

  for (const uint32_t rows : all_sizes() ? std::vector<uint32_t>{1, 2, 31, 32, 33, 70} : std::vector<uint32_t>{1, 34}) {
    // Row r's ids are 10·r … 10·r + r % 4 − 1. Some rows have none, and then the run never ends by itself.
    for (const bool with_none : {false, true}) {
      std::vector<uint32_t> ids(rows + 1, rows + 1), ended(rows, 0), tokens(rows, kAlways - 1);
      for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < (with_none ? r % 4 : 1 + r % 4); i++) ids.push_back(10 * r + i);
        ids[r + 1] = static_cast<uint32_t>(ids.size());
      }
      for (uint32_t r = 0; r < rows; r++) {
        // In each round one row meets its last id. The id of another row does not end this one.
        std::fill(tokens.begin(), tokens.end(), kAlways - 1);
        tokens[r] = ids[r + 1] > ids[r] ? ids[ids[r + 1] - 1] : 10 * r;
        if (r + 1 < rows) tokens[r + 1] = 10 * r;
        const uint32_t got = latch(0, {7, rows}, tokens, ids, ended, 0), want = r + 1 == rows && !with_none ? 1 : 0;
        if (got != want) fail_test("%u rows, round %u: stop is %u", rows, r, got);
        for (uint32_t i = 0; i < rows; i++)
          if ((ended[i] != 0) != (i <= r && ids[i + 1] > ids[i]))
            fail_test("%u rows, round %u: ended[%u] is %u", rows, r, i, ended[i]);
      }
    }
  }
}
