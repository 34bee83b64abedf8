// Choosing a token from one row of logits.
#pragma once

#include <cstdint>

namespace hearth {

struct Sampling {
  float temperature = 0;  ///< 0: greedy
  int top_k = 0;          ///< 0: all
  float top_p = 1;        ///< 1: all
  float min_p = 0;        ///< 0: all
  uint64_t seed = 0;
};

struct Choice {
  int token;
  float probability;  ///< of that token under softmax(logits), if asked for; else NaN
};

/// Filters in llama.cpp's order: top-k, top-p, min-p, then temperature. The random number is a hash of the seed and
/// `position` (that of the token being chosen), so the outcome depends on nothing but logits, seed and position.
/// Greedy takes the lowest id among equal logits; NaN logits are never chosen.
Choice sample(const float* logits, int vocabulary, const Sampling& sampling, int position, bool with_probability);

}  // namespace hearth
