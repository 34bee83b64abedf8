// Rotary position embedding with YaRN scaling (arXiv 2309.00071), as gpt-oss uses it.
#pragma once

#include <vector>

#include "model.h"

namespace hearth {

class Rope {
 public:
  /// `reference` keeps YaRN's correction bounds as they are (openai/gpt-oss), `llamacpp` rounds them outwards.
  Rope(const Config& config, RopeMode mode);

  /// cos[D/2] and sin[D/2] for one position, both scaled by YaRN's concentration.
  void table(int position, float* cos, float* sin) const;

 private:
  std::vector<double> frequencies_;
  double concentration_ = 1;
};

/// Rotates one head in place: pairs (i, i + D/2), the NEOX layout. Products and sums are rounded one by one.
void rotate(float* head, int head_length, const float* cos, const float* sin);

}  // namespace hearth
