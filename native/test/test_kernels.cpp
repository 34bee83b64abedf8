// Tests of the CPU kernels. The portable set is compared with double precision, every other set with portable, bit for
// bit.
//
//   node native/build.mjs --tests && dist/native/test_kernels [kernel set…]
// Without Node, or for Arm from x86, from the repository's root (X: only on x86, A: only for Arm):
//   CXX=c++                    F="-std=c++20 -O3 -ffp-contract=off -fno-math-errno -pthread"   O=$(mktemp -d)
//   CXX=aarch64-linux-gnu-g++  F="$F -static"   A="-march=armv8.2-a+dotprod+fp16"
//   X="-mavx2 -mfma -mf16c"    Y="$X -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi -mavx512vnni"
//   Z="$Y -mamx-tile -mamx-int8"
//   for f in portable dispatch; do $CXX $F -c native/cpu/$f.cpp -o $O/$f.o; done
//   $CXX $F $X -c native/cpu/avx2.cpp -o $O/avx2.o; $CXX $F $Y -c native/cpu/avx512.cpp -o $O/avx512.o
//   $CXX $F $Z -c native/cpu/amx.cpp -o $O/amx.o; $CXX $F $A -c native/cpu/neon.cpp -o $O/neon.o
//   $CXX $F native/test/test_kernels.cpp $O/*.o -o $O/test_kernels && $O/test_kernels
//   qemu-aarch64-static -cpu max $O/test_kernels; qemu-aarch64-static -cpu cortex-a76 $O/test_kernels  (without i8mm)
// The last line's number is the same on every architecture.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "../core/random.h"
#include "../cpu/kernels.h"
#include "guarded.h"

using namespace hearth::cpu;
using hearth::kFloatTypes;
using hearth::kQuantisedTypes;
using hearth::TensorType;
using hearth::type_traits;
using hearth::test::Guarded;

namespace {

int failures = 0;

[[gnu::format(printf, 2, 3)]] void check(bool ok, const char* format, ...) {
  if (ok) return;
  if (++failures > 20) return;
  va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "FAILED: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, "\n");
  va_end(arguments);
}

class Random : public hearth::Random {
 public:
  using hearth::Random::Random;
  /// A roughly normal number, or now and then an outlier, as in activations.
  float normal() {
    float sum = 0;
    for (int i = 0; i < 6; i++) sum += uniform();
    return sum * (integer(0, 99) == 0 ? 10.0f : 0.7f);
  }
  /// The bits of an F16 of either sign. The bits of its magnitude, as an integer, are within low..high.
  int half(int low, int high) {
    const int magnitude = integer(low, high);
    return bits() & 1 ? magnitude | 0x8000 : magnitude;
  }
  template <size_t N> int pick(const int (&choices)[N]) { return choices[bits() % N]; }
};

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}
template <class A, class B> int first_difference(const A& a, const B& b) {
  for (size_t i = 0; i < a.size(); i++) {
    bool same;
    if constexpr (std::is_same_v<std::decay_t<decltype(a[0])>, float>) same = same_bits(a[i], b[i]);
    else same = a[i] == b[i];
    if (!same) return static_cast<int>(i);
  }
  return -1;
}

double half_value(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const double magnitude = exponent == 31  ? (mantissa ? std::nan("") : std::numeric_limits<double>::infinity())
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(1024 + mantissa, exponent - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}

const Kernels& portable() { return *portable_kernels(); }

/// FNV-1a over portable's results. It is printed so that two architectures, or two compilers, can be compared.
uint64_t digest = 0xCBF29CE484222325u;
template <class Values> const Values& digested(const Values& values) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(values[0]); i++) digest = (digest ^ bytes[i]) * 0x100000001B3u;
  return values;
}

// ---- quantised groups ----------------------------------------------------------------------------------------------

enum class Range { usual, extreme };

const char* name_of(TensorType type) { return type_traits(type).name; }
constexpr bool is_k(TensorType type) { return unit_of(type).blocks > 1; }

/// The exact values of one block of a unit: value = scale × integer + minimum. They follow the published layouts
/// (ggml/src/ggml-quants.c).
struct Dequantised {
  int integers[32];
  double scale, minimum;
};
Dequantised dequantise(TensorType type, const uint8_t* unit, int block) {
  Dequantised out{};
  const auto half = [&](int at) { return half_value(static_cast<uint16_t>(unit[at] | unit[at + 1] << 8)); };
  const auto nibble = [&](int at, int i) { return i < 16 ? unit[at + i] & 15 : unit[at + i - 16] >> 4; };
  switch (type) {
    case TensorType::MXFP4: {
      static constexpr int kDoubled[8] = {0, 1, 2, 3, 4, 6, 8, 12};
      for (int i = 0; i < 32; i++) {
        const int q = nibble(1, i);
        out.integers[i] = q < 8 ? kDoubled[q] : -kDoubled[q - 8];
      }
      out.scale = std::ldexp(1.0, std::clamp<int>(unit[0], kMinExponent, kMaxExponent) - 128);
      break;
    }
    case TensorType::Q8_0:
      for (int i = 0; i < 32; i++) out.integers[i] = static_cast<int8_t>(unit[2 + i]);
      out.scale = half(0);
      break;
    case TensorType::Q4_0:
    case TensorType::Q4_1:
    case TensorType::Q5_0:
    case TensorType::Q5_1: {
      const bool minimum = type == TensorType::Q4_1 || type == TensorType::Q5_1,
                 fifth = type == TensorType::Q5_0 || type == TensorType::Q5_1;
      const int start = minimum ? 4 : 2;
      for (int i = 0; i < 32; i++) {
        out.integers[i] = nibble(fifth ? start + 4 : start, i);
        if (fifth) out.integers[i] += (unit[start + i / 8] >> i % 8 & 1) * 16;
        if (!minimum) out.integers[i] -= fifth ? 16 : 8;
      }
      out.scale = half(0);
      if (minimum) out.minimum = half(2);
      break;
    }
    case TensorType::Q4_K:
    case TensorType::Q5_K: {
      const bool fifth = type == TensorType::Q5_K;
      const uint8_t* packed = unit + 4;
      const int scale = block < 4 ? packed[block] % 64 : packed[block + 4] % 16 + packed[block - 4] / 64 * 16;
      const int minimum = block < 4 ? packed[block + 4] % 64 : packed[block + 4] / 16 + packed[block] / 64 * 16;
      for (int i = 0; i < 32; i++) {
        const int byte = unit[(fifth ? 48 : 16) + block / 2 * 32 + i];
        out.integers[i] = block % 2 ? byte / 16 : byte % 16;
        if (fifth) out.integers[i] += (unit[16 + i] >> block & 1) * 16;
      }
      out.scale = half(0) * scale;
      out.minimum = -half(2) * minimum;
      break;
    }
    case TensorType::Q6_K:
      for (int i = 0; i < 32; i++) {
        const int at = 32 * block + i, part = at / 128, in_part = at % 128, l = at % 32;
        const int low = unit[64 * part + in_part % 64], high = unit[128 + 32 * part + l] >> in_part / 32 * 2 & 3;
        const int q = (in_part < 64 ? low % 16 : low / 16) + 16 * high;
        out.integers[i] = static_cast<int8_t>(unit[192 + at / 16]) * (q - 32);
      }
      out.scale = half(208);
      break;
    default: check(false, "%s is not defined here", name_of(type));
  }
  return out;
}

struct QuantCase {
  TensorType type;
  Range range;
  int rows, columns, blocks;
};

struct QuantData {
  QuantCase c;
  size_t row_bytes;
  Guarded<uint8_t> weights;
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  QuantData(const QuantCase& quant_case, Random& random)
      : c(quant_case),
        row_bytes(static_cast<size_t>(c.blocks / unit_of(c.type).blocks) * unit_of(c.type).bytes),
        weights(row_bytes * static_cast<size_t>(c.rows)) {
    for (uint8_t& byte : weights) byte = static_cast<uint8_t>(random.bits());
    const Unit unit = unit_of(c.type);
    for (size_t i = 0; i < weights.size(); i += unit.bytes) {
      if (random.integer(0, 7) == 0) {  // gives the largest sums of either sign
        const int fill = c.type == TensorType::MXFP4  ? 0x7F
                         : c.type == TensorType::Q8_0 ? 0x80
                                                      : random.integer(0, 1) * 0xFF;
        std::fill_n(&weights[i], unit.bytes, static_cast<uint8_t>(fill));
        if (c.type == TensorType::Q6_K)
          std::fill_n(&weights[i + 192], 16, static_cast<uint8_t>(random.integer(0x7F, 0x80)));
      }
      if (c.type == TensorType::MXFP4 && c.range == Range::usual)
        weights[i] = static_cast<uint8_t>(random.integer(110, 125));
      if (c.type == TensorType::MXFP4 && c.range == Range::extreme) weights[i] = static_cast<uint8_t>(random.bits());
      // The extreme range takes any finite half, denormals included. The usual range takes halves of a usual size.
      for (const int at : {type_traits(c.type).scale_at, type_traits(c.type).minimum_at}) {
        if (at < 0) continue;
        const int high = c.range == Range::usual ? random.integer(0x0C, 0x24) : random.integer(0, 0x7B);
        weights[i + static_cast<size_t>(at)] = static_cast<uint8_t>(random.bits());
        weights[i + static_cast<size_t>(at) + 1] = static_cast<uint8_t>(high | (random.integer(0, 1) ? 0x80 : 0));
      }
    }
    const int k = c.blocks * kBlock;
    q.resize(static_cast<size_t>(c.columns) * static_cast<size_t>(k));
    scales.resize(static_cast<size_t>(c.columns) * static_cast<size_t>(c.blocks));
    sums.resize(scales.size());
    for (size_t b = 0; b < scales.size(); b++) {
      const bool full = random.integer(0, 7) == 0;
      for (size_t i = 0; i < 32; i++) {
        const int value = full ? (random.integer(0, 9) ? -127 : 127) : random.integer(-127, 127);
        q[b * 32 + i] = static_cast<int8_t>(value);
        sums[b] += value;
      }
      const int power = c.range == Range::usual ? random.integer(-12, 0) : random.integer(-40, 59);
      scales[b] = std::ldexp(1.0f + std::fabs(random.uniform()) * 0.99f, power);
    }
  }

  /// Packs the activations into tiles, as the kernel set does for itself.
  void pack_tiles(const Kernels& kernels, uint8_t* tiles) const {
    std::vector<int32_t> order(static_cast<size_t>(c.columns));
    for (int i = 0; i < c.columns; i++) order[static_cast<size_t>(i)] = i;
    for (int first = 0; first < c.columns; first += kTileRows)
      kernels.pack_tile(q.data(), scales.data(), sums.data(), c.blocks * kBlock, &order[static_cast<size_t>(first)],
                        std::min(kTileRows, c.columns - first), tiles + tile_bytes(first, c.blocks));
  }
};

constexpr float kUntouched = 12345.5f;

/// Multiplies all rows with all columns. `repacked` uses the set's packed layout, whose kernels take many groups at
/// once.
std::vector<float> run_group(const Kernels& kernels, const QuantData& data, bool repacked = false) {
  const QuantCase& c = data.c;
  const size_t group_bytes = repacked ? packed_group_bytes(c.type, c.blocks) : kGroupRows * data.row_bytes;
  const auto groups = static_cast<size_t>((c.rows + kGroupRows - 1) / kGroupRows);
  const auto rows_of = [&](size_t g) { return std::min(kGroupRows, c.rows - static_cast<int>(g) * kGroupRows); };
  Guarded<uint8_t> packed(repacked ? groups * group_bytes : 0);
  for (size_t g = 0; repacked && g < groups; g++)
    packed_layout(kernels, c.type)
        .pack(data.weights.data() + g * kGroupRows * data.row_bytes, data.row_bytes, rows_of(g), c.blocks,
              packed.data() + g * group_bytes);
  const size_t ldy = static_cast<size_t>(c.rows) + 3;
  Guarded<float> y(ldy * static_cast<size_t>(c.columns) - 3);
  std::fill(y.begin(), y.end(), kUntouched);
  std::vector<uint8_t> scratch(scratch_bytes(c.blocks) + 64);
  uint8_t* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
  std::fill(scratch.begin(), scratch.end(), 0xEE);
  const Guarded<uint8_t>& weights = repacked ? packed : data.weights;
  Guarded<uint8_t> tiles(tile_bytes(c.columns, c.blocks));
  data.pack_tiles(kernels, tiles.data());
  QuantGroup group{.weights = weights.data(),
                   .row_bytes = repacked ? group_bytes : data.row_bytes,
                   .rows = c.rows,
                   .blocks = c.blocks,
                   .tiles = tiles.data(),
                   .columns = c.columns,
                   .y = y.data(),
                   .ldy = ldy,
                   .end = weights.end(),
                   .scratch = aligned};
  if (repacked) packed_layout(kernels, c.type).group(group);
  for (size_t g = 0; !repacked && g < groups; g++) {
    group.rows = rows_of(g);
    quant_group(kernels, c.type)(group);
    group.weights += group_bytes;
    group.y += kGroupRows;
  }
  for (size_t i = 0; i < y.size(); i++)
    if (i % ldy >= static_cast<size_t>(c.rows))
      check(y[i] == kUntouched, "%s %s: wrote between columns", kernels.name, name_of(c.type));
  for (const uint8_t* p = aligned + scratch_bytes(c.blocks); p < scratch.data() + scratch.size(); p++)
    check(*p == 0xEE, "%s %s: wrote past the scratch", kernels.name, name_of(c.type));
  return {y.begin(), y.end()};
}

void check_group_against_double(const QuantData& data) {
  const QuantCase& c = data.c;
  const std::vector<float> y = digested(run_group(portable(), data));
  for (int r = 0; r < c.rows; r++)
    for (int column = 0; column < c.columns; column++) {
      double sum = 0, magnitude = 0;
      const Unit unit = unit_of(c.type);
      for (int b = 0; b < c.blocks; b++) {
        const Dequantised weights = dequantise(c.type,
                                               data.weights.data() + static_cast<size_t>(r) * data.row_bytes +
                                                   static_cast<size_t>(b / unit.blocks) * unit.bytes,
                                               b % unit.blocks);
        const double scale = static_cast<double>(data.scales[static_cast<size_t>(column * c.blocks + b)]);
        int dot = 0, total = 0;
        for (int i = 0; i < 32; i++) {
          const int q = data.q[static_cast<size_t>((column * c.blocks + b) * 32 + i)];
          dot += weights.integers[i] * q;
          total += q;
        }
        sum += (dot * weights.scale + total * weights.minimum) * scale;
        magnitude += (std::fabs(dot * weights.scale) + std::fabs(total * weights.minimum)) * scale;
      }
      const double got = static_cast<double>(y[static_cast<size_t>(column * (c.rows + 3) + r)]);
      check(std::fabs(got - sum) <= (2 * c.blocks + 2) * 0x1p-23 * magnitude,
            "portable %s row %d column %d: %g, not %g", name_of(c.type), r, column, got, sum);
    }
}

void check_group(const Kernels& kernels, const QuantData& data) {
  const QuantCase& c = data.c;
  const std::vector<float> expected = run_group(portable(), data);
  const bool has_packed = packed_layout(kernels, c.type).pack;
  for (int repacked = 0; repacked <= (has_packed ? 1 : 0); repacked++) {
    const int at = first_difference(expected, run_group(kernels, data, repacked != 0));
    check(at < 0, "%s %s%s rows %d columns %d blocks %d %s: differs from portable at column %d row %d", kernels.name,
          name_of(c.type), repacked ? " repacked" : "", c.rows, c.columns, c.blocks,
          c.range == Range::usual ? "usual" : "extreme", at / (c.rows + 3), at % (c.rows + 3));
  }
}

/// Calls body(case) with every count of rows in a group and of columns in a tile, tiles beyond the first, every
/// remainder of blocks, 2880-wide rows, and many groups. K-quants have whole super-blocks instead.
template <class Body> void each_quant_case(Body body) {
  for (const TensorType type : kQuantisedTypes)
    for (const Range range : {Range::usual, Range::extreme}) {
      const int unit = unit_of(type).blocks;
      for (int rows = 1; rows <= 16; rows++)
        for (const int columns : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 20, 27, 33}) {
          static constexpr int kBlocks[] = {1, 2, 3, 4, 5, 6, 7, 8, 11, 13};
          for (int pass = 0; pass < (is_k(type) ? 1 : 2); pass++) {
            const int blocks =
                is_k(type) ? unit * (1 + (rows + columns) % 3) : kBlocks[(rows * 7 + columns + 5 * pass) % 10];
            body(QuantCase{type, range, rows, columns, blocks});
          }
        }
      for (int columns = 1; columns <= 49; columns++)
        body(QuantCase{type, range, 16, columns, is_k(type) ? unit : 4 + columns % 9});
      for (const int columns : {1, 2, 5, 16, 40}) body(QuantCase{type, range, 16, columns, is_k(type) ? 88 : 90});
      body(QuantCase{type, range, 9, 3, is_k(type) ? 88 : 91});
      // These are just more than the 20 blocks that AMX unpacks at once.
      for (const int blocks : {21, 22, 41}) body(QuantCase{type, range, 16, 30, is_k(type) ? 40 : blocks});
      // AMX reads up to 8 groups abreast. These cases have that many, and groups that are left over.
      for (const int rows : {64, 80, 128, 131, 200})
        for (const int columns : {1, 2, 3, 4, 5, 8, 13, 16, 17, 24, 30})
          for (const int blocks : {1, 7, 10}) body(QuantCase{type, range, rows, columns, is_k(type) ? unit : blocks});
    }
}

// ---- float groups --------------------------------------------------------------------------------------------------

void check_float_group(const Kernels* kernels, TensorType type, int rows, int columns, int k, Random& random) {
  const size_t bytes = type == TensorType::F32 ? 4 : 2, row_bytes = static_cast<size_t>(k) * bytes;
  Guarded<uint8_t> weights(row_bytes * static_cast<size_t>(rows));
  std::vector<double> values;
  for (size_t i = 0; i < weights.size(); i += bytes) {
    const int power = random.integer(-3, 3);
    const float w = std::ldexp(random.normal(), power);
    uint32_t bits = std::bit_cast<uint32_t>(w);
    if (type == TensorType::BF16) bits &= 0xFFFF0000u;
    double value = static_cast<double>(std::bit_cast<float>(bits));
    if (type == TensorType::BF16) bits >>= 16;
    if (type == TensorType::F16) {
      bits = static_cast<uint32_t>(random.half(0, 0x4FFF));
      value = half_value(static_cast<uint16_t>(bits));
    }
    std::memcpy(&weights[i], &bits, bytes);  // little-endian, as in GGUF
    values.push_back(value);
  }
  const size_t ldx = static_cast<size_t>(k) + 1, ldy = static_cast<size_t>(rows) + 2;
  Guarded<float> x(ldx * static_cast<size_t>(columns) - 1);
  for (float& v : x) v = random.normal();
  const auto run = [&](const Kernels& set) {
    Guarded<float> y(ldy * static_cast<size_t>(columns) - 2);
    std::fill(y.begin(), y.end(), kUntouched);
    float_group(set, type)({.weights = weights.data(),
                            .row_bytes = row_bytes,
                            .rows = rows,
                            .k = k,
                            .x = x.data(),
                            .ldx = ldx,
                            .columns = columns,
                            .y = y.data(),
                            .ldy = ldy});
    return std::vector<float>(y.begin(), y.end());
  };
  const std::vector<float> expected = run(portable());
  if (kernels) {
    const int at = first_difference(expected, run(*kernels));
    check(at < 0, "%s %s rows %d columns %d k %d: differs from portable at %d", kernels->name, name_of(type), rows,
          columns, k, at);
    return;
  }
  digested(expected);
  for (int c = 0; c < columns; c++)
    for (int r = 0; r < rows; r++) {
      double sum = 0, magnitude = 0;
      for (int i = 0; i < k; i++) {
        const double term = values[static_cast<size_t>(r * k + i)] *
                            static_cast<double>(x[static_cast<size_t>(c) * ldx + static_cast<size_t>(i)]);
        sum += term;
        magnitude += std::fabs(term);
      }
      const double got = static_cast<double>(expected[static_cast<size_t>(c) * ldy + static_cast<size_t>(r)]);
      check(std::fabs(got - sum) <= (k / 16 + 6) * 0x1p-24 * magnitude, "portable %s: %g, not %g", name_of(type), got,
            sum);
    }
}

void check_float_groups(const Kernels* kernels) {
  Random random(2);
  for (const TensorType type : kFloatTypes) {
    for (int rows = 1; rows <= 9; rows++)
      for (int columns = 1; columns <= 9; columns++)
        check_float_group(kernels, type, rows, columns, random.pick({1, 7, 15, 16, 17, 31, 32, 48, 97, 200}), random);
    check_float_group(kernels, type, 32, 17, 2880, random);
    check_float_group(kernels, type, 33, 1, 2883, random);
  }
}

// ---- rows of activations -------------------------------------------------------------------------------------------

struct Quantised {
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int32_t> sums;
};
Quantised quantise(const Kernels& kernels, const Guarded<float>& x) {
  Guarded<int8_t> q(x.size());
  Guarded<float> scales(x.size() / 32);
  Guarded<int32_t> sums(x.size() / 32);
  kernels.quantize_row(x.data(), static_cast<int>(x.size()), q.data(), scales.data(), sums.data());
  return {{q.begin(), q.end()}, {scales.begin(), scales.end()}, {sums.begin(), sums.end()}};
}

Guarded<float>& fill_activations(Guarded<float>& x, Random& random) {
  for (size_t b = 0; b < x.size(); b += 32) {
    const int kind = random.integer(0, 9);
    const float size =
        kind == 0 ? 0.0f : std::ldexp(1.0f, kind == 1 ? random.integer(-140, 125) : random.integer(-8, 8));
    for (size_t i = b; i < std::min(b + 32, x.size()); i++) x[i] = random.normal() * size;
    // With the scale 1, the odd multiples of 0.5 must be rounded to even.
    if (kind == 2)
      for (size_t i = b; i < std::min(b + 32, x.size()); i++)
        x[i] = i == b ? 127.0f : static_cast<float>(random.integer(-253, 253)) / 2;
    if (kind == 3) x[b] = std::numeric_limits<float>::infinity();
  }
  return x;
}

void check_quantise(const Kernels* kernels) {
  Random random(3);
  for (const size_t k : {32u, 64u, 96u, 2880u, 4096u}) {
    Guarded<float> x(k);
    fill_activations(x, random);
    const Quantised expected = quantise(portable(), x);
    if (kernels) {
      const Quantised got = quantise(*kernels, x);
      check(first_difference(expected.q, got.q) < 0 && first_difference(expected.scales, got.scales) < 0 &&
                first_difference(expected.sums, got.sums) < 0,
            "%s quantize_row of %zu differs from portable", kernels->name, k);
      continue;
    }
    digested(expected.q);
    digested(expected.scales);
    for (size_t b = 0; b < k / 32; b++) {
      float largest = 0;
      int sum = 0;
      for (size_t i = b * 32; i < b * 32 + 32; i++) largest = std::max(largest, std::fabs(x[i]));
      const float d = std::clamp(largest / 127.0f, kMinScale, kMaxScale);
      check(same_bits(expected.scales[b], d), "portable quantize_row: scale %g, not %g", expected.scales[b], d);
      for (size_t i = b * 32; i < b * 32 + 32; i++) {
        const double exact = std::clamp(static_cast<double>(x[i]) / static_cast<double>(d), -127.0, 127.0);
        check(std::fabs(expected.q[i] - exact) <= 0.50001, "portable quantize_row: %d for %g", expected.q[i], exact);
        sum += expected.q[i];
      }
      check(expected.sums[b] == sum, "portable quantize_row: sum %d, not %d", expected.sums[b], sum);
    }
  }
}

void check_pack(const Kernels& kernels) {
  Random random(4);
  // The sets for x86 share AVX2's pack_tile, whose tiles have half sums.
  const bool half_sums = avx2_kernels() && kernels.pack_tile == avx2_kernels()->pack_tile;
  for (int columns = 1; columns <= kTileRows; columns++) {
    const int blocks = random.integer(1, 9), k = blocks * 32, available = 20;
    Guarded<int8_t> q(static_cast<size_t>(available * k));
    Guarded<float> scales(static_cast<size_t>(available * blocks));
    Guarded<int32_t> sums(scales.size());
    for (int8_t& v : q) v = static_cast<int8_t>(random.bits());
    for (float& v : scales) v = random.uniform();
    for (int32_t& v : sums) v = random.integer(-4000, 4000);
    int32_t rows[kTileRows];
    for (int32_t& row : rows) row = random.integer(0, available - 1);
    Guarded<uint8_t> tile(tile_bytes(columns, blocks));
    kernels.pack_tile(q.data(), scales.data(), sums.data(), k, rows, columns, tile.data());
    for (int b = 0; b < blocks; b++)
      for (int c = 0; c < columns; c++) {
        const uint8_t* block = tile.data() + tile_bytes(columns, b);
        const auto from = static_cast<size_t>(rows[c] * blocks + b);
        int16_t halves[2] = {};
        for (size_t i = 0; i < 32; i++) halves[i % 4 / 2] = static_cast<int16_t>(halves[i % 4 / 2] + q[from * 32 + i]);
        const void* sum = half_sums ? static_cast<const void*>(halves) : &sums[from];
        check(std::memcmp(block + c * 32, &q[from * 32], 32) == 0 &&
                  std::memcmp(block + columns * 32 + c * 4, &scales[from], 4) == 0 &&
                  std::memcmp(block + columns * 36 + c * 4, sum, 4) == 0,
              "%s pack_tile: column %d of %d, block %d", kernels.name, c, columns, b);
      }
  }
}

void check_exp() {
  double worst = 0;
  for (float x = -87.0f; x <= 88.0f; x += 0.00073f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::fabs(static_cast<double>(exp_f32(x)) - exact) / exact);
  }
  check(worst < 2e-7, "exp_f32: relative error %g", worst);
  const float infinity = std::numeric_limits<float>::infinity();
  check(exp_f32(0.0f) == 1.0f && exp_f32(-infinity) == 0.0f && exp_f32(-87.1f) == 0.0f, "exp_f32 at 0 and below −87");
  check(exp_f32(infinity) == exp_f32(88.0f) && std::isnan(exp_f32(std::nanf(""))), "exp_f32 of infinity and NaN");
}

/// Checks an operation on rows, which takes n floats and gives n floats.
template <class Run> void check_row_operation(const Kernels* kernels, const char* name, Run run) {
  Random random(5);
  for (const size_t n : {1u, 5u, 15u, 16u, 17u, 33u, 64u, 2880u, 2895u}) {
    Guarded<float> a(n), b(n);
    for (float& v : a) v = random.normal() * 3;
    for (float& v : b) v = random.normal() * 3;
    const auto result = [&](const Kernels& set) {
      Guarded<float> y(n);
      for (size_t i = 0; i < n; i++) y[i] = a[i] - b[i];
      run.kernel(set, a.data(), b.data(), static_cast<int>(n), y.data());
      return std::vector<float>(y.begin(), y.end());
    };
    const std::vector<float> expected = result(portable());
    if (kernels) {
      const int at = first_difference(expected, result(*kernels));
      check(at < 0, "%s %s of %zu differs from portable at %d", kernels->name, name, n, at);
      continue;
    }
    digested(expected);
    for (size_t i = 0; i < n; i++) {
      const double exact = run.exact(a, b, i), got = static_cast<double>(expected[i]);
      check(std::fabs(got - exact) <= 1e-6 * std::fabs(exact) + 1e-6, "portable %s of %zu at %zu: %.9g, not %.9g", name,
            n, i, got, exact);
    }
  }
}
struct RmsNorm {
  void kernel(const Kernels& k, const float* a, const float* b, int n, float* y) const {
    k.rms_norm(a, b, n, 1e-5f, y);
  }
  double exact(const Guarded<float>& a, const Guarded<float>& b, size_t i) const {
    double squares = 0;
    for (const float v : a) squares += static_cast<double>(v) * static_cast<double>(v);
    return static_cast<double>(a[i]) / std::sqrt(squares / static_cast<double>(a.size()) + 1e-5) *
           static_cast<double>(b[i]);
  }
};
struct SwiGlu {
  void kernel(const Kernels& k, const float* a, const float* b, int n, float* y) const {
    k.swiglu(a, b, n, 1.702f, 7.0f, y);
  }
  double exact(const Guarded<float>& a, const Guarded<float>& b, size_t i) const {
    const double g = std::min(7.0, static_cast<double>(a[i])), u = std::clamp(static_cast<double>(b[i]), -7.0, 7.0);
    return g / (1 + std::exp(-1.702 * g)) * (u + 1);
  }
};
struct SiluGlu {
  void kernel(const Kernels& k, const float* a, const float* b, int n, float* y) const { k.silu_glu(a, b, n, y); }
  double exact(const Guarded<float>& a, const Guarded<float>& b, size_t i) const {
    const double g = static_cast<double>(a[i]);
    return g / (1 + std::exp(-g)) * static_cast<double>(b[i]);
  }
};
struct Axpy {
  void kernel(const Kernels& k, const float* a, const float*, int n, float* y) const { k.axpy(0.37f, a, n, y); }
  double exact(const Guarded<float>& a, const Guarded<float>& b, size_t i) const {
    return static_cast<double>(0.37f) * static_cast<double>(a[i]) + static_cast<double>(a[i] - b[i]);
  }
};

void check_halves(const Kernels& kernels) {
  // Every half, every midpoint between two of them and its neighbours, and values that overflow.
  Guarded<float> x(5 * 0x10000 + 3);
  size_t n = 0;
  for (int h = 0; h < 0x10000; h++) {
    const auto half = static_cast<uint16_t>(h);
    const double value = half_value(half), next = half_value(static_cast<uint16_t>(half + 1));
    const auto middle = static_cast<float>((value + next) / 2);
    for (const float v : {static_cast<float>(value), middle, std::nextafter(middle, 1e9f),
                          std::nextafter(middle, -1e9f), middle * 0x1.000002p0f})
      x[n++] = v;
  }
  x[n++] = 65519.99f;
  x[n++] = 65520.0f;
  x[n++] = -1e30f;
  Guarded<uint16_t> got(n), expected(n);
  portable().to_f16(x.data(), static_cast<int>(n), expected.data());
  kernels.to_f16(x.data(), static_cast<int>(n), got.data());
  check(first_difference(expected, got) < 0, "%s to_f16 differs from portable at %g", kernels.name,
        static_cast<double>(x[static_cast<size_t>(std::max(0, first_difference(expected, got)))]));
  if (&kernels != &portable()) return;
  for (size_t i = 0; i < n; i++) {
    const double v = static_cast<double>(x[i]), h = half_value(got[i]);
    if (std::isnan(v) || std::fabs(v) >= 65520) {
      check(std::isnan(v) ? std::isnan(h) : std::isinf(h) && (h > 0) == (v > 0), "portable to_f16 of %g: %g", v, h);
      continue;
    }
    for (const int step : {-1, 1}) {
      const double other = half_value(static_cast<uint16_t>(got[i] + step));
      if (std::isnan(other) || std::isinf(other) || (other > 0) != (h > 0)) continue;
      const double here = std::fabs(v - h), there = std::fabs(v - other);
      check(here < there || (here == there && got[i] % 2 == 0), "portable to_f16 of %.10g: %.10g", v, h);
    }
  }
}

// ---- attention -----------------------------------------------------------------------------------------------------

enum class Cache { f16, q8_0 };

struct AttendCase {
  Cache cache;
  int keys, rows, heads, head_length, window, first_key, end_key;

  int first_position() const { return keys - rows; }
  bool quantised() const { return cache == Cache::q8_0; }
  /// Whether query row `row` sees the key at position `key`.
  bool sees(int row, int key) const {
    const int position = first_position() + row;
    return key >= first_key && key < end_key && key <= position && (window == 0 || position - key < window);
  }
  bool any_row_sees(int key) const {
    for (int row = 0; row < rows; row++)
      if (sees(row, key)) return true;
    return false;
  }
  std::string in_words() const {
    return std::string(quantised() ? "Q8_0" : "F16") + " keys " + std::to_string(keys) + " rows " +
           std::to_string(rows) + " heads " + std::to_string(heads) + " length " + std::to_string(head_length) +
           " window " + std::to_string(window) + " chunk " + std::to_string(first_key) + "–" + std::to_string(end_key);
  }
};

struct AttendResult {
  std::vector<float> out, max, sum;
};

/// Random queries and a random cache for one case.
class AttendData {
 public:
  AttendData(const AttendCase& attend_case, Random& random)
      : c_(attend_case),
        exact_keys_(static_cast<size_t>(c_.keys * c_.head_length)),
        exact_values_(exact_keys_.size()),
        q_stride_(static_cast<size_t>(c_.heads * c_.head_length) + 5),
        q_(q_stride_ * static_cast<size_t>(c_.rows) - 5) {
    for (int block = 0; block * kCacheBlock < c_.keys; block++) add_block(block, random);
    for (float& v : q_) v = random.normal();
  }

  AttendResult run(const Kernels& set) const {
    const auto states = static_cast<size_t>(c_.rows * c_.heads);
    Guarded<float> out(states * static_cast<size_t>(c_.head_length)), max(states), sum(states);
    for (Guarded<float>* written : {&out, &max, &sum}) std::fill(written->begin(), written->end(), kUntouched);
    const auto attend = c_.quantised() ? set.attend_q8_0 : set.attend;
    attend({.q = q_.data(),
            .q_row_stride = q_stride_,
            .rows = c_.rows,
            .heads = c_.heads,
            .head_length = c_.head_length,
            .scale = scale(),
            .first_position = c_.first_position(),
            .window = c_.window,
            .first_key = c_.first_key,
            .end_key = c_.end_key,
            .key_blocks = key_blocks_.data(),
            .value_blocks = value_blocks_.data(),
            .out = out.data(),
            .max = max.data(),
            .sum = sum.data()});
    return {{out.begin(), out.end()}, {max.begin(), max.end()}, {sum.begin(), sum.end()}};
  }

  /// Compares one query head of one row with double precision.
  void check_head(const AttendResult& got, int row, int head) const {
    const int length = c_.head_length;
    const std::string what = c_.in_words();
    const auto state = static_cast<size_t>(row * c_.heads + head);
    const Exact exact = exact_head(row, head);
    if (exact.sum == 0) {
      check(got.max[state] == -std::numeric_limits<float>::infinity() && got.sum[state] == 0,
            "portable attend, %s: a row without keys", what.c_str());
    } else {
      check(std::fabs(static_cast<double>(got.max[state]) - exact.max) < 1e-5 &&
                std::fabs(static_cast<double>(got.sum[state]) - exact.sum) < 2e-5 * exact.sum,
            "portable attend, %s: max %g sum %g, not %g and %g", what.c_str(), static_cast<double>(got.max[state]),
            static_cast<double>(got.sum[state]), exact.max, exact.sum);
    }
    for (int d = 0; d < length; d++) {
      const size_t at = state * static_cast<size_t>(length) + static_cast<size_t>(d);
      const double here = static_cast<double>(got.out[at]), wanted = exact.out[static_cast<size_t>(d)];
      check(std::fabs(here - wanted) <= 2e-5 * exact.sum, "portable attend, %s: row %d head %d d %d: %g, not %g",
            what.c_str(), row, head, d, here, wanted);
    }
  }

 private:
  /// The exact results for one query head of one row. Without a visible key, the sum is 0.
  struct Exact {
    std::vector<double> out;
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
  };
  /// The exact values of one element of a key and of the same element of a value.
  struct Pair {
    double key, value;
  };

  float scale() const { return 1.0f / std::sqrt(static_cast<float>(c_.head_length)); }

  void add_block(int block, Random& random) {
    const int length = c_.head_length;
    const size_t bytes =
        c_.quantised() ? q8_0_cache_bytes(length) : static_cast<size_t>(length * kCacheBlock) * sizeof(uint16_t);
    auto& keys = *storage_.emplace_back(std::make_unique<Guarded<uint8_t>>(bytes));
    auto& values = *storage_.emplace_back(std::make_unique<Guarded<uint8_t>>(bytes));
    bool used = false;
    for (int slot = 0; slot < kCacheBlock; slot++) {
      const int key = block * kCacheBlock + slot;
      const bool seen = c_.any_row_sees(key);
      used = used || seen;
      Scales scales;
      for (int d = 0; d < length; d++) {
        const Pair exact = c_.quantised() ? store_q8_0(keys, values, slot, d, seen, scales, random)
                                          : store_f16(keys, values, slot, d, seen, random);
        if (key >= c_.keys) continue;
        exact_keys_[static_cast<size_t>(key * length + d)] = exact.key;
        exact_values_[static_cast<size_t>(key * length + d)] = exact.value;
      }
    }
    // A block that no row sees need not exist.
    key_blocks_.push_back(used ? keys.data() : nullptr);
    value_blocks_.push_back(used ? values.data() : nullptr);
  }

  /// A position's scales in a group of 32 dimensions.
  struct Scales {
    uint16_t key = 0, value = 0;
  };

  static void put_half(Guarded<uint8_t>& bytes, int at, uint16_t half) { std::memcpy(bytes.data() + at, &half, 2); }
  /// Gives a random half, or NaN for a position that no row sees: such a position may hold anything.
  static uint16_t random_half(bool seen, int low, int high, Random& random) {
    return static_cast<uint16_t>(seen ? random.half(low, high) : 0x7E00);
  }

  Pair store_q8_0(Guarded<uint8_t>& keys, Guarded<uint8_t>& values, int slot, int d, bool seen, Scales& scales,
                  Random& random) const {
    const int length = c_.head_length, elements = length * kCacheBlock, group = d / kCacheScaled;
    if (d % kCacheScaled == 0) {
      scales.key = random_half(seen, 0, 0x2000, random);
      scales.value = random_half(seen, 0, 0x2000, random);
      put_half(keys, elements + 2 * (group * kCacheBlock + slot), scales.key);
      put_half(values, elements + 2 * (slot * cache_scales(length) + group), scales.value);
    }
    const int key = random.integer(-127, 127), value = random.integer(-127, 127);
    keys[static_cast<size_t>(d * kCacheBlock + slot)] = static_cast<uint8_t>(key);
    values[static_cast<size_t>(slot * length + d)] = static_cast<uint8_t>(value);
    return {key * half_value(scales.key), value * half_value(scales.value)};
  }

  Pair store_f16(Guarded<uint8_t>& keys, Guarded<uint8_t>& values, int slot, int d, bool seen, Random& random) const {
    const uint16_t key = random_half(seen, 0x2000, 0x3C00, random), value = random_half(seen, 0x2000, 0x3C00, random);
    put_half(keys, 2 * (d * kCacheBlock + slot), key);
    put_half(values, 2 * (slot * c_.head_length + d), value);
    return {half_value(key), half_value(value)};
  }

  Exact exact_head(int row, int head) const {
    const int length = c_.head_length;
    const float* q = q_.data() + static_cast<size_t>(row) * q_stride_ + static_cast<size_t>(head * length);
    std::vector<double> scores;
    std::vector<int> seen;
    Exact exact{.out = std::vector<double>(static_cast<size_t>(length))};
    for (int key = 0; key < c_.keys; key++) {
      if (!c_.sees(row, key)) continue;
      double dot = 0;
      for (int d = 0; d < length; d++)
        dot += static_cast<double>(q[d]) * exact_keys_[static_cast<size_t>(key * length + d)];
      scores.push_back(dot * static_cast<double>(scale()));
      seen.push_back(key);
      exact.max = std::max(exact.max, scores.back());
    }
    for (size_t i = 0; i < seen.size(); i++) {
      const double p = std::exp(scores[i] - exact.max);
      exact.sum += p;
      for (int d = 0; d < length; d++)
        exact.out[static_cast<size_t>(d)] += p * exact_values_[static_cast<size_t>(seen[i] * length + d)];
    }
    return exact;
  }

  AttendCase c_;
  std::vector<std::unique_ptr<Guarded<uint8_t>>> storage_;
  std::vector<const uint8_t*> key_blocks_, value_blocks_;
  std::vector<double> exact_keys_, exact_values_;  ///< [keys][head_length]
  size_t q_stride_;
  Guarded<float> q_;
};

/// Compares `kernels` with portable. With nullptr it compares portable with double precision.
void check_attend(const Kernels* kernels, const AttendCase& c, Random& random) {
  const AttendData data(c, random);
  const AttendResult expected = data.run(portable());
  if (kernels) {
    const AttendResult got = data.run(*kernels);
    const std::string what = c.in_words();
    check(first_difference(expected.max, got.max) < 0, "%s attend, %s: maxima", kernels->name, what.c_str());
    check(first_difference(expected.sum, got.sum) < 0, "%s attend, %s: sums", kernels->name, what.c_str());
    check(first_difference(expected.out, got.out) < 0, "%s attend, %s: outputs", kernels->name, what.c_str());
    return;
  }
  digested(expected.max);
  digested(expected.sum);
  digested(expected.out);
  for (int row = 0; row < c.rows; row++)
    for (int head = 0; head < c.heads; head++) data.check_head(expected, row, head);
}

void check_attention(const Kernels* kernels) {
  Random random(6);
  for (int i = 0; i < 300; i++) {
    AttendCase c{};
    c.cache = i % 2 ? Cache::q8_0 : Cache::f16;
    c.keys = i < 6 ? 4097 : random.pick({1, 31, 32, 33, 128, 129, 300});
    c.rows = i < 6 ? 1 + i / 2 : std::min(c.keys, random.pick({1, 2, 3, 16, 33, 64}));
    c.heads = i < 6 ? 8 : random.integer(1, 8);
    c.head_length = i < 6 ? 64 : random.pick({32, 64, 64, 80, 128, 8, 72, 256});
    c.window = random.pick({0, 0, 1, 5, 128});
    c.first_key = random.integer(0, 1) ? 0 : random.integer(0, c.keys / kCacheBlock) * kCacheBlock;
    c.end_key = random.integer(0, 1) ? c.keys : random.integer(c.first_key, c.keys);
    check_attend(kernels, c, random);
  }
}

// --------------------------------------------------------------------------------------------------------------------

/// Compares `kernels` with portable. With nullptr it compares portable with double precision.
void check_all(const Kernels* kernels) {
  const Kernels& set = kernels ? *kernels : portable();
  const int before = failures;
  Random random(1);
  each_quant_case([&](const QuantCase& c) {
    const QuantData data(c, random);
    if (kernels) check_group(*kernels, data);
    else if (c.range == Range::usual) check_group_against_double(data);
  });
  check_float_groups(kernels);
  check_quantise(kernels);
  check_pack(set);
  check_row_operation(kernels, "rms_norm", RmsNorm{});
  check_row_operation(kernels, "swiglu", SwiGlu{});
  check_row_operation(kernels, "silu_glu", SiluGlu{});
  check_row_operation(kernels, "axpy", Axpy{});
  check_halves(set);
  check_attention(kernels);
  std::printf("%-8s %s", set.name, failures == before ? "ok" : "FAILED");
  if (!kernels) std::printf(", results %016llx", static_cast<unsigned long long>(digest));
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  std::printf("features:");
  for (const char* const* f = cpu_features(); *f; f++) std::printf(" %s", *f);
  std::printf("\n");
  std::vector<const Kernels*> sets;
  for (int i = 1; i < count; i++) {
    const Kernels* set = find_kernels(arguments[i]);
    check(set != nullptr, "no kernel set %s here", arguments[i]);
    if (set) sets.push_back(set);
  }
  if (count == 1)
    for (const Kernels* const* k = available_kernels(); *k; k++) sets.push_back(*k);
  check_exp();
  for (const Kernels* set : sets) check_all(set == &portable() ? nullptr : set);
  if (failures > 0) std::fprintf(stderr, "%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
