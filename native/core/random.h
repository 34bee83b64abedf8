// Seeded random numbers for sampling, tests and the self-test. A seed gives the same numbers on every machine.
#pragma once

#include <cstdint>

namespace hearth {

/// SplitMix64 (Steele, Lea, Flood 2014). Each call stands in a statement of its own: the compiler may choose the order
/// of two calls in one expression.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  /// A whole number from low to high, both included.
  int integer(int low, int high) { return low + static_cast<int>(bits() % static_cast<uint64_t>(high - low + 1)); }
  /// A number from −1 to 1.
  float uniform() { return static_cast<float>(static_cast<double>(bits() >> 11) * 0x1p-52 - 1.0); }
  template <class Values> void fill(Values& values, float scale = 1) {
    for (auto& value : values) value = uniform() * scale;
  }

 private:
  uint64_t state_;
};

}  // namespace hearth
