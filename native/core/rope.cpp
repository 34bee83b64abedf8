#include "rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hearth {

Rope::Rope(const Config& config, RopeMode mode) {
  const int half = config.rope_length / 2;
  const bool yarn = config.rope_scaling == RopeScaling::yarn && config.rope_factor > 1;
  const double base = config.rope_base, factor = config.rope_factor;
  // The dimension that makes `turns` full turns within the original context (YaRN, section 3.2).
  auto dimension = [&](double turns) {
    return half * std::log(config.rope_original_context / (turns * 2 * std::numbers::pi)) / std::log(base);
  };
  double low = dimension(config.rope_beta_fast), high = dimension(config.rope_beta_slow);
  if (config.yarn_truncate || mode == RopeMode::llamacpp) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(0.0, low);
  high = std::min(config.rope_length - 1.0, high);
  for (int i = 0; i < half; i++) {
    double frequency = std::pow(base, -static_cast<double>(i) / half);
    double keep = 1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
    if (yarn) frequency *= keep + (1 - keep) / factor;
    else frequency /= factor;
    if (config.rope_divisors) frequency /= config.rope_divisors[i];
    frequencies_.push_back(frequency);
  }
  concentration_ = config.rope_attention_factor;
  if (yarn) concentration_ *= 0.1 * std::log(factor) + 1;
}

void Rope::table(int position, float* cos, float* sin) const {
  for (size_t i = 0; i < frequencies_.size(); i++) {
    double angle = position * frequencies_[i];
    cos[i] = static_cast<float>(std::cos(angle) * concentration_);
    sin[i] = static_cast<float>(std::sin(angle) * concentration_);
  }
}

void rotate(float* head, int length, RopeLayout layout, const float* cos, const float* sin) {
  const int half = length / 2;
  const int step = layout == RopeLayout::halves ? 1 : 2, apart = layout == RopeLayout::halves ? half : 1;
  for (int i = 0; i < half; i++) {
    float &first = head[i * step], &second = head[i * step + apart];
    const float a = first, b = second;
    first = a * cos[i] - b * sin[i];
    second = b * cos[i] + a * sin[i];
  }
}

}  // namespace hearth
