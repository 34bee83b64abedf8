#include "sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "random.h"

namespace hearth {

namespace {

/// A number in [0, 1) with 53 bits, which is a hash of seed and position.
double uniform(uint64_t seed, int position) {
  const uint64_t mixed = Random(seed).bits();
  return static_cast<double>(Random(mixed + static_cast<uint64_t>(position)).bits() >> 11) * 0x1p-53;
}

/// exp(x) for x ≤ 0 with a relative error below 3e-7; 0 for x below −87 and for NaN. It has neither branches nor calls,
/// so that compilers compute several values at once. For a large vocabulary the function of the C library takes five
/// times as long.
inline float exponential(float x) {
  constexpr float kRound = 0x1.8p23f;  // a number added to this constant is rounded to a whole number
  const bool counts = x >= -87.0f;
  const float clamped = counts ? x : -87.0f;
  const float shifted = clamped * 1.44269504f + kRound;
  const float whole = shifted - kRound;
  const float rest =
      (clamped - whole * 0x1.62e4p-1f) - whole * 0x1.7f7d1cp-20f;  // ln 2 in two parts, the first of few bits
  float y = 1.0f / 720;
  y = y * rest + 1.0f / 120;
  y = y * rest + 1.0f / 24;
  y = y * rest + 1.0f / 6;
  y = y * rest + 0.5f;
  y = y * rest + 1.0f;
  y = y * rest + 1.0f;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  return counts ? std::bit_cast<float>(std::bit_cast<int32_t>(y) + exponent * (1 << 23)) : 0.0f;
}

/// The weights exp((logit − best) / temperature) of the tokens from `begin` on, at most kPart of them.
constexpr int kPart = 1024;
struct Part {
  std::array<float, kPart> weights;
  int count;
  double sum = 0;

  Part(const float* logits, int vocabulary, int begin, float best, float temperature)
      : count(std::min(kPart, vocabulary - begin)) {
    for (int i = 0; i < count; i++)
      weights[static_cast<size_t>(i)] = exponential((logits[begin + i] - best) / temperature);
    // The order of summation is fixed, and lets compilers add several numbers at once.
    std::array<double, 8> lanes{};
    int i = 0;
    for (; i + 8 <= count; i += 8)
      for (int lane = 0; lane < 8; lane++)
        lanes[static_cast<size_t>(lane)] += static_cast<double>(weights[static_cast<size_t>(i + lane)]);
    for (; i < count; i++) lanes[0] += static_cast<double>(weights[static_cast<size_t>(i)]);
    for (const double lane : lanes) sum += lane;
  }
};

/// Draws a token: the first one at which the sum of the weights so far exceeds `random` times the sum of all.
int draw(const float* logits, int vocabulary, float best, float temperature, double random) {
  std::vector<double> sums;
  double total = 0;
  for (int begin = 0; begin < vocabulary; begin += kPart) {
    sums.push_back(Part(logits, vocabulary, begin, best, temperature).sum);
    total += sums.back();
  }
  double target = random * total;
  size_t p = 0;
  for (; p + 1 < sums.size() && target >= sums[p]; p++) target -= sums[p];
  // Rounding may leave a little of the target at the end. Then the last token with any weight is taken, in this part or
  // in one before.
  for (;; p--, target = INFINITY) {
    const int begin = static_cast<int>(p) * kPart;
    const Part part(logits, vocabulary, begin, best, temperature);
    int last = -1;
    for (int i = 0; i < part.count; i++) {
      const float weight = part.weights[static_cast<size_t>(i)];
      if (weight > 0) last = begin + i;
      target -= static_cast<double>(weight);
      if (target < 0) return last;
    }
    if (last >= 0) return last;
  }
}

/// The largest value that is not NaN; −INFINITY where all are NaN. The loop works in lanes, so that compilers compare
/// several values at once.
float maximum(const float* values, int count) {
  std::array<float, 32> lanes;
  lanes.fill(-INFINITY);
  const int whole = count / 32 * 32;
  for (int i = 0; i < whole; i += 32)
    for (int lane = 0; lane < 32; lane++) {
      float& most = lanes[static_cast<size_t>(lane)];
      most = values[i + lane] > most ? values[i + lane] : most;
    }
  for (int i = whole; i < count; i++) lanes[0] = values[i] > lanes[0] ? values[i] : lanes[0];
  return *std::max_element(lanes.begin(), lanes.end());
}

struct Candidate {
  float logit;
  int token;
  /// Orders the best candidate first, and the lower id first among equals.
  bool operator<(const Candidate& other) const {
    return logit != other.logit ? logit > other.logit : token < other.token;
  }
};

}  // namespace

Choice sample(const float* logits, int vocabulary, const Sampling& sampling, int position, bool with_probability) {
  const float best_logit = maximum(logits, vocabulary);
  if (best_logit == -INFINITY) return {0, 0};
  int best = 0;
  while (logits[best] != best_logit) best++;
  if (!std::isfinite(best_logit)) return {best, 0};
  const auto all_weights = [&] {
    double total = 0;
    for (int begin = 0; begin < vocabulary; begin += kPart) total += Part(logits, vocabulary, begin, best_logit, 1).sum;
    return total;
  };
  const auto weight = [&](float logit) { return static_cast<double>(exponential(logit - best_logit)); };
  const auto choice = [&](int token) {
    return Choice{token, with_probability ? static_cast<float>(weight(logits[token]) / all_weights()) : NAN};
  };
  if (sampling.temperature <= 0) return choice(best);
  const double random = uniform(sampling.seed, position);
  if (sampling.top_k <= 0 && sampling.top_p >= 1 && sampling.min_p <= 0)
    return choice(draw(logits, vocabulary, best_logit, sampling.temperature, random));

  std::vector<Candidate> list;
  list.reserve(static_cast<size_t>(vocabulary));
  for (int i = 0; i < vocabulary; i++)
    if (!std::isnan(logits[i])) list.push_back({logits[i], i});
  size_t keep = sampling.top_k > 0 ? std::min(list.size(), static_cast<size_t>(sampling.top_k)) : list.size();
  // Only as many candidates are sorted as top-k or top-p can need: the sorted head is widened until it holds enough
  // probability.
  size_t sorted = 0;
  auto sort_to = [&](size_t count) {
    count = std::min(count, keep);
    if (count <= sorted) return;
    std::partial_sort(list.begin() + static_cast<std::ptrdiff_t>(sorted),
                      list.begin() + static_cast<std::ptrdiff_t>(count), list.end());
    sorted = count;
  };
  if (sampling.top_k > 0) sort_to(keep);
  if (sampling.top_p < 1) {
    double mass = 0;
    if (keep == list.size()) {
      mass = all_weights();
    } else {
      for (size_t i = 0; i < keep; i++) mass += weight(list[i].logit);
    }
    double sum = 0;
    size_t i = 0;
    for (; i < keep; i++) {
      if (i == sorted) sort_to(std::max<size_t>(256, sorted * 4));
      sum += weight(list[i].logit);
      if (sum >= sampling.top_p * mass) {
        i++;
        break;
      }
    }
    keep = std::max<size_t>(1, i);
  }
  if (sampling.min_p > 0) {
    float least = best_logit + std::log(std::min(1.0f, sampling.min_p));
    auto end = std::partition(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(keep),
                              [&](const Candidate& c) { return c.logit >= least; });
    keep = std::max<size_t>(1, static_cast<size_t>(end - list.begin()));
  }
  // The candidates are sorted by id, so that the order of summation does not depend on the filters.
  std::sort(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(keep),
            [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  std::vector<float> kept(keep);
  for (size_t i = 0; i < keep; i++) kept[i] = list[i].logit;
  return choice(
      list[static_cast<size_t>(draw(kept.data(), static_cast<int>(keep), best_logit, sampling.temperature, random))]
          .token);
}

}  // namespace hearth
