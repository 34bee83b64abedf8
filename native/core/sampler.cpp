#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hearth {

namespace {

/// splitmix64's finaliser (Steele, Lea, Flood 2014): a bijection that mixes every bit.
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ x >> 27) * 0x94D049BB133111EBull;
  return x ^ x >> 31;
}

/// Uniform in [0, 1), 53 bits.
double uniform(uint64_t seed, int position) {
  return static_cast<double>(mix(mix(seed) + static_cast<uint64_t>(position)) >> 11) * 0x1p-53;
}

struct Candidate {
  float logit;
  int token;
  /// Best first; the lower id among equals.
  bool operator<(const Candidate& other) const {
    return logit != other.logit ? logit > other.logit : token < other.token;
  }
};

}  // namespace

Choice sample(const float* logits, int vocabulary, const Sampling& sampling, int position) {
  int best = 0;
  float best_logit = -INFINITY;
  for (int i = 0; i < vocabulary; i++)
    if (logits[i] > best_logit) best_logit = logits[i], best = i;
  double total = 0;
  for (int i = 0; i < vocabulary; i++)
    if (!std::isnan(logits[i])) total += std::exp(logits[i] - best_logit);
  auto probability = [&](float logit) { return static_cast<float>(std::exp(logit - best_logit) / total); };
  if (sampling.temperature <= 0 || !std::isfinite(best_logit)) return {best, total > 0 ? probability(best_logit) : 0};

  std::vector<Candidate> list;
  list.reserve(static_cast<size_t>(vocabulary));
  for (int i = 0; i < vocabulary; i++)
    if (!std::isnan(logits[i])) list.push_back({logits[i], i});
  size_t keep = sampling.top_k > 0 ? std::min(list.size(), static_cast<size_t>(sampling.top_k)) : list.size();
  // Sort only as many as top-k or top-p can need: widen the sorted head until it holds enough probability.
  size_t sorted = 0;
  auto sort_to = [&](size_t count) {
    count = std::min(count, keep);
    if (count <= sorted) return;
    std::partial_sort(list.begin() + static_cast<std::ptrdiff_t>(sorted), list.begin() + static_cast<std::ptrdiff_t>(count), list.end());
    sorted = count;
  };
  if (sampling.top_k > 0) sort_to(keep);
  if (sampling.top_p < 1) {
    double mass = total;
    if (keep < list.size()) {
      mass = 0;
      for (size_t i = 0; i < keep; i++) mass += std::exp(list[i].logit - best_logit);
    }
    double sum = 0;
    size_t i = 0;
    for (; i < keep; i++) {
      if (i == sorted) sort_to(std::max<size_t>(256, sorted * 4));
      sum += std::exp(list[i].logit - best_logit);
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
  // A fixed order of summation whatever the filters did: by id.
  std::sort(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(keep),
            [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  double sum = 0;
  for (size_t i = 0; i < keep; i++) sum += std::exp(static_cast<double>(list[i].logit - best_logit) / sampling.temperature);
  double target = uniform(sampling.seed, position) * sum;
  for (size_t i = 0; i < keep; i++) {
    target -= std::exp(static_cast<double>(list[i].logit - best_logit) / sampling.temperature);
    if (target < 0) return {list[i].token, probability(list[i].logit)};
  }
  return {list[keep - 1].token, probability(list[keep - 1].logit)};
}

}  // namespace hearth
