// Rotary position embedding (arXiv 2104.09864) with linear scaling, YaRN (arXiv 2309.00071) or Llama 3's divisors.
#pragma once

#include <vector>

#include "model.h"

namespace hearth {

class Rope {
 public:
  /// `reference` rounds YaRN's correction bounds outwards where the model's publisher does, `llamacpp` always.
  Rope(const Config& config, RopeMode mode);

  /// cos[rope_length/2] and sin[rope_length/2] for one position, both scaled by YaRN's concentration.
  void table(int position, float* cos, float* sin) const;

 private:
  std::vector<double> frequencies_;
  double concentration_ = 1;
};

/// Rotates the first `length` dimensions of a head in place. Products and sums are rounded one by one.
void rotate(float* head, int length, RopeLayout layout, const float* cos, const float* sin);

}  // namespace hearth
