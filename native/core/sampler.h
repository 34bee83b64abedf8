// Chooses a token from one row of logits.
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
  float probability;  ///< probability of the token under softmax(logits) where it was asked for; else NaN
};

/// Applies the filters in llama.cpp's order: top-k, top-p, min-p, then temperature. The random number is a hash of the
/// seed and of `position`, which is the position of the token being chosen. So the outcome depends on nothing but
/// logits, seed and position. A greedy choice takes the lowest id among equal logits. A token whose logit is NaN is
/// never chosen.
Choice sample(const float* logits, int vocabulary, const Sampling& sampling, int position, bool with_probability);

}  // namespace hearth
