// Rotary position embedding (arXiv 2104.09864) with linear scaling, YaRN (arXiv 2309.00071) or Llama 3's divisors.
#pragma once

#include <vector>

#include "model.h"

namespace hearth {

class Rope {
 public:
  /// In the mode `reference` the bounds of YaRN's correction are rounded outwards where the model's publisher rounds
  /// them; in the mode `llamacpp` always.
  Rope(const Config& config, RopeMode mode);

  /// Fills cos[rope_length / 2] and sin[rope_length / 2] for one position. Both are scaled by YaRN's concentration.
  void table(int position, float* cos, float* sin) const;

 private:
  std::vector<double> frequencies_;
  double concentration_ = 1;
};

/// Rotates the first `length` dimensions of a head in place. Every product and every sum is rounded by itself.
void rotate(float* head, int length, RopeLayout layout, const float* cos, const float* sin);

}  // namespace hearth
