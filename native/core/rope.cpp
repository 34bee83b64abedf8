#include "rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hearth {

Rope::Rope(const Config& config, RopeMode mode) {
  const int half = config.head_length / 2;
  const double base = config.rope_base, factor = config.rope_factor;
  // The dimension whose wavelength makes `turns` turns within the original context (YaRN, section 3.2).
  auto dimension = [&](double turns) {
    return half * std::log(config.rope_original_context / (turns * 2 * std::numbers::pi)) / std::log(base);
  };
  double low = dimension(config.rope_beta_fast), high = dimension(config.rope_beta_slow);
  if (mode == RopeMode::llamacpp) {
    low = std::max(0.0, std::floor(low));
    high = std::min(config.head_length - 1.0, std::ceil(high));
  }
  for (int i = 0; i < half; i++) {
    double frequency = std::pow(base, -static_cast<double>(i) / half);
    double keep = 1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
    if (factor > 1) frequency *= keep + (1 - keep) / factor;
    frequencies_.push_back(frequency);
  }
  if (factor > 1) concentration_ = 0.1 * std::log(factor) + 1;
}

void Rope::table(int position, float* cos, float* sin) const {
  for (size_t i = 0; i < frequencies_.size(); i++) {
    double angle = position * frequencies_[i];
    cos[i] = static_cast<float>(std::cos(angle) * concentration_);
    sin[i] = static_cast<float>(std::sin(angle) * concentration_);
  }
}

void rotate(float* head, int head_length, const float* cos, const float* sin) {
  const int half = head_length / 2;
  for (int i = 0; i < half; i++) {
    float a = head[i], b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

}  // namespace hearth
