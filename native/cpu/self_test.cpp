// The CPU's part of the self-test.
#include "self_test.h"

#include <algorithm>
#include <cctype>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "../core/dequantize.h"
#include "../core/floats.h"
#include "../core/model.h"
#include "../core/random.h"
#include "kernels.h"

namespace hearth::cpu {

namespace {

/// One kernel of the table with its inputs, the same for every set.
struct Case {
  std::string kernel, shape;
  double tolerance, bytes, operations;
  /// Whether a set has it at all.
  std::function<bool(const Kernels&)> present;
  std::function<void(const Kernels&, std::vector<float>& out)> run;
  std::vector<double> wanted, scale;
};

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...) {
  char buffer[200];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

uint16_t to_half(float value) {
  uint16_t half;
  portable_kernels()->to_f16(&value, 1, &half);
  return half;
}

/// A quantised matrix times `columns` rows of activations, in groups of 16 weight rows as the backend cuts it.
Case quantised(TensorType type, bool packed, int rows, int blocks, int columns, Random& random) {
  const Unit unit = unit_of(type);
  blocks = (blocks + unit.blocks - 1) / unit.blocks * unit.blocks;
  const size_t row_bytes = unit.bytes * static_cast<size_t>(blocks / unit.blocks);
  auto weights = std::make_shared<std::vector<uint8_t>>(row_bytes * static_cast<size_t>(rows));
  for (uint8_t& byte : *weights) byte = static_cast<uint8_t>(random.bits());
  for (size_t i = 0; i < weights->size(); i += unit.bytes) {
    if (type == TensorType::MXFP4) (*weights)[i] = static_cast<uint8_t>(random.integer(115, 125));
    for (const int half : {type_traits(type).scale_at, type_traits(type).minimum_at})
      if (half >= 0) (*weights)[i + static_cast<size_t>(half) + 1] = static_cast<uint8_t>(random.integer(0x10, 0x24));
  }
  const int k = blocks * kBlock;
  std::vector<float> x(static_cast<size_t>(columns * k));
  random.fill(x);
  std::vector<int8_t> q(x.size());
  std::vector<float> scales(static_cast<size_t>(columns * blocks));
  std::vector<int32_t> sums(scales.size());
  std::vector<int32_t> order(static_cast<size_t>(columns));
  const Kernels& plain = *portable_kernels();
  for (int c = 0; c < columns; c++) {
    const auto at = static_cast<size_t>(c);
    order[at] = c;
    plain.quantize_row(&x[at * static_cast<size_t>(k)], k, &q[at * static_cast<size_t>(k)],
                       &scales[at * static_cast<size_t>(blocks)], &sums[at * static_cast<size_t>(blocks)]);
  }

  Case out{std::string(type_traits(type).name) + (packed ? " products, packed" : " products"),
           text("%d x %d, %d row%s", rows, k, columns, columns == 1 ? "" : "s"),
           2e-6 * std::sqrt(blocks),
           static_cast<double>(weights->size()),
           2.0 * rows * k * columns,
           nullptr,
           nullptr,
           {},
           {}};
  const Matrix matrix{type, weights->data(), rows, k, row_bytes};
  std::vector<std::vector<float>> values(static_cast<size_t>(rows), std::vector<float>(static_cast<size_t>(k)));
  for (int r = 0; r < rows; r++) dequantize_row(matrix, r, values[static_cast<size_t>(r)].data());
  for (int c = 0; c < columns; c++)
    for (const std::vector<float>& row : values) {
      double sum = 0, magnitude = 0;
      for (int i = 0; i < k; i++) {
        const auto at = static_cast<size_t>(c * k + i);
        const double term =
            static_cast<double>(row[static_cast<size_t>(i)]) * q[at] * static_cast<double>(scales[at / kBlock]);
        sum += term;
        magnitude += std::fabs(term);
      }
      out.wanted.push_back(sum);
      out.scale.push_back(magnitude);
    }
  struct Memory {
    std::vector<uint8_t> bytes;
    uint8_t* aligned = nullptr;
    const Kernels* owner = nullptr;
    uint8_t* get(size_t size) {
      bytes.resize(size + 64);
      return aligned = bytes.data() + (64 - reinterpret_cast<uintptr_t>(bytes.data()) % 64) % 64;
    }
  };
  auto scratch = std::make_shared<Memory>(), repacked = std::make_shared<Memory>(), tiles = std::make_shared<Memory>();
  const int groups = (rows + kGroupRows - 1) / kGroupRows;
  out.present = [packed, type](const Kernels& kernels) {
    return !packed || packed_layout(kernels, type).pack != nullptr;
  };
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    const auto rows_of = [&](int g) { return std::min(kGroupRows, rows - g * kGroupRows); };
    const size_t group_bytes = packed ? packed_group_bytes(type, blocks) : row_bytes * kGroupRows;
    if (packed && repacked->owner != &kernels) {
      uint8_t* to = repacked->get(group_bytes * static_cast<size_t>(groups));
      for (int g = 0; g < groups; g++)
        packed_layout(kernels, type)
            .pack(weights->data() + static_cast<size_t>(g * kGroupRows) * row_bytes, row_bytes, rows_of(g), blocks,
                  to + static_cast<size_t>(g) * group_bytes);
      repacked->owner = &kernels;
    }
    const uint8_t* from = packed ? repacked->aligned : weights->data();
    if (tiles->owner != &kernels) {
      uint8_t* to = tiles->get(tile_bytes(columns, blocks));
      for (int first = 0; first < columns; first += kTileRows)
        kernels.pack_tile(q.data(), scales.data(), sums.data(), k, &order[static_cast<size_t>(first)],
                          std::min(kTileRows, columns - first), to + tile_bytes(first, blocks));
      tiles->owner = &kernels;
    }
    if (!scratch->aligned) scratch->get(scratch_bytes(blocks));
    const auto group = [&](int first, int count) {
      return QuantGroup{from + static_cast<size_t>(first) * group_bytes,
                        packed ? group_bytes : row_bytes,
                        count,
                        blocks,
                        tiles->aligned,
                        columns,
                        y.data() + first * kGroupRows,
                        static_cast<size_t>(rows),
                        weights->data() + weights->size(),
                        scratch->aligned};
    };
    if (packed) return packed_layout(kernels, type).group(group(0, rows));
    for (int g = 0; g < groups; g++) quant_group(kernels, type)(group(g, rows_of(g)));
  };
  return out;
}

Case floats(TensorType type, int rows, int k, int columns, Random& random) {
  const auto element = static_cast<size_t>(type_traits(type).block_bytes);
  auto weights = std::make_shared<std::vector<uint8_t>>(static_cast<size_t>(rows * k) * element);
  std::vector<double> values(static_cast<size_t>(rows * k));
  for (size_t i = 0; i < values.size(); i++) {
    const float value = random.uniform();
    const auto bits = std::bit_cast<uint32_t>(value);
    const auto upper = static_cast<uint16_t>(type == TensorType::F16 ? to_half(value) : bits >> 16);
    if (type == TensorType::F32) std::memcpy(weights->data() + i * 4, &value, 4);
    else std::memcpy(weights->data() + i * 2, &upper, 2);
    values[i] = type == TensorType::F32   ? value
                : type == TensorType::F16 ? half_to_float(upper)
                                          : bfloat_to_float(upper);
  }
  auto x = std::make_shared<std::vector<float>>(static_cast<size_t>(columns * k));
  random.fill(*x);
  std::string name = type_traits(type).name;
  for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
  Case out{"group_" + name,
           text("%d x %d, %d row%s", rows, k, columns, columns == 1 ? "" : "s"),
           2e-6 * std::sqrt(k / 16.0),
           static_cast<double>(weights->size()),
           2.0 * rows * k * columns,
           [](const Kernels&) { return true; },
           nullptr,
           {},
           {}};
  for (int c = 0; c < columns; c++)
    for (int r = 0; r < rows; r++) {
      double sum = 0, magnitude = 0;
      for (int i = 0; i < k; i++) {
        const double term = values[static_cast<size_t>(r * k + i)] * (*x)[static_cast<size_t>(c * k + i)];
        sum += term;
        magnitude += std::fabs(term);
      }
      out.wanted.push_back(sum);
      out.scale.push_back(magnitude);
    }
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    FloatGroup group{
        weights->data(), static_cast<size_t>(k) * element, rows, k, x->data(), static_cast<size_t>(k), columns,
        y.data(),        static_cast<size_t>(rows)};
    float_group(kernels, type)(group);
  };
  return out;
}

Case norm(int n, Random& random) {
  auto x = std::make_shared<std::vector<float>>(static_cast<size_t>(n)),
       w = std::make_shared<std::vector<float>>(static_cast<size_t>(n));
  random.fill(*x, 3);
  random.fill(*w);
  Case out{"rms_norm", text("%d", n), 2e-6, 12.0 * n, 4.0 * n, [](const Kernels&) { return true; }, nullptr, {}, {}};
  double sum = 0;
  for (float value : *x) sum += static_cast<double>(value) * value;
  for (size_t i = 0; i < x->size(); i++) {
    out.wanted.push_back((*x)[i] / std::sqrt(sum / n + 1e-5f) * (*w)[i]);
    out.scale.push_back(std::fabs(out.wanted.back()) + 1e-3);
  }
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    kernels.rms_norm(x->data(), w->data(), n, 1e-5f, y.data());
  };
  return out;
}

Case swiglu(int n, Random& random) {
  auto gate = std::make_shared<std::vector<float>>(static_cast<size_t>(n)),
       up = std::make_shared<std::vector<float>>(static_cast<size_t>(n));
  random.fill(*gate, 12);
  random.fill(*up, 12);
  Case out{"swiglu", text("%d", n), 4e-6, 12.0 * n, 8.0 * n, [](const Kernels&) { return true; }, nullptr, {}, {}};
  for (size_t i = 0; i < gate->size(); i++) {
    const double g = std::min<double>((*gate)[i], kSwigluLimit),
                 u = std::clamp<double>((*up)[i], -kSwigluLimit, kSwigluLimit);
    out.wanted.push_back(g / (1 + std::exp(-static_cast<double>(kSwigluAlpha) * g)) * (u + 1));
    out.scale.push_back(std::fabs(out.wanted.back()) + 1e-3);
  }
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    kernels.swiglu(gate->data(), up->data(), n, kSwigluAlpha, kSwigluLimit, y.data());
  };
  return out;
}

Case silu(int n, Random& random) {
  auto gate = std::make_shared<std::vector<float>>(static_cast<size_t>(n)),
       up = std::make_shared<std::vector<float>>(static_cast<size_t>(n));
  random.fill(*gate, 12);
  random.fill(*up, 12);
  Case out{"silu_glu", text("%d", n), 4e-6, 12.0 * n, 6.0 * n, [](const Kernels&) { return true; }, nullptr, {}, {}};
  for (size_t i = 0; i < gate->size(); i++) {
    out.wanted.push_back((*gate)[i] / (1 + std::exp(-static_cast<double>((*gate)[i]))) * (*up)[i]);
    out.scale.push_back(std::fabs(out.wanted.back()) + 1e-3);
  }
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    kernels.silu_glu(gate->data(), up->data(), n, y.data());
  };
  return out;
}

Case axpy(int n, Random& random) {
  auto x = std::make_shared<std::vector<float>>(static_cast<size_t>(n));
  random.fill(*x);
  Case out{"axpy", text("%d", n), 1e-6, 12.0 * n, 2.0 * n, [](const Kernels&) { return true; }, nullptr, {}, {}};
  for (float value : *x) {
    out.wanted.push_back(1 + 0.375 * value);
    out.scale.push_back(1.5);
  }
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    std::fill(y.begin(), y.end(), 1.0f);
    kernels.axpy(0.375f, x->data(), n, y.data());
  };
  return out;
}

/// Eight heads of one KV head over `keys` keys, F16 or Q8_0, with and without a window.
Case attention(bool q8_0, int keys, int window, Random& random) {
  constexpr int kHeads = 8, kLength = 64, kRows = 3;
  const int blocks = (keys + kCacheBlock - 1) / kCacheBlock, groups = cache_scales(kLength);
  const size_t bytes = q8_0 ? q8_0_cache_bytes(kLength) : static_cast<size_t>(kCacheBlock * kLength) * 2;
  struct Cache {
    std::vector<uint8_t> keys, values;
    std::vector<const uint8_t*> key_blocks, value_blocks;
    std::vector<float> q, out, max, sum;
  };
  auto cache = std::make_shared<Cache>();
  cache->keys.resize(bytes * static_cast<size_t>(blocks));
  cache->values.resize(cache->keys.size());
  std::vector<double> k(static_cast<size_t>(blocks * kCacheBlock * kLength)), v(k.size());
  const auto store = [&](uint8_t* block, size_t at, size_t scale_at, double& to) {
    if (!q8_0) {
      const uint16_t half = to_half(random.uniform());
      std::memcpy(block + at * 2, &half, 2);
      to = half_to_float(half);
      return;
    }
    const auto value = static_cast<int8_t>(random.integer(-127, 127));
    const uint16_t scale = to_half(1.0f / 127);
    block[at] = static_cast<uint8_t>(value);
    std::memcpy(block + static_cast<size_t>(kCacheBlock * kLength) + scale_at * 2, &scale, 2);
    to = static_cast<double>(value) * half_to_float(scale);
  };
  for (int j = 0; j < blocks * kCacheBlock; j++)
    for (int d = 0; d < kLength; d++) {
      const size_t block = static_cast<size_t>(j / kCacheBlock) * bytes, at = static_cast<size_t>(j * kLength + d);
      const int slot = j % kCacheBlock, group = d / kCacheScaled;
      store(&cache->keys[block], static_cast<size_t>(d * kCacheBlock + slot),
            static_cast<size_t>(group * kCacheBlock + slot), k[at]);
      store(&cache->values[block], static_cast<size_t>(slot * kLength + d), static_cast<size_t>(slot * groups + group),
            v[at]);
    }
  for (int b = 0; b < blocks; b++) {
    cache->key_blocks.push_back(&cache->keys[static_cast<size_t>(b) * bytes]);
    cache->value_blocks.push_back(&cache->values[static_cast<size_t>(b) * bytes]);
  }
  cache->q.resize(kRows * kHeads * kLength);
  random.fill(cache->q, 2);
  cache->max.resize(kRows * kHeads);
  cache->sum.resize(kRows * kHeads);
  const int first = keys - kRows;
  Case out{q8_0 ? "attend_q8_0" : "attend",
           text("%d rows of %d heads, %d keys, window %d", kRows, kHeads, keys, window),
           1e-5,
           2.0 * static_cast<double>(bytes) * (window > 0 ? std::min(keys, window) : keys) / kCacheBlock,
           4.0 * kRows * kHeads * kLength * (window > 0 ? std::min(keys, window) : keys),
           [](const Kernels&) { return true; },
           nullptr,
           {},
           {}};
  for (int r = 0; r < kRows; r++)
    for (int h = 0; h < kHeads; h++) {
      const int position = first + r, begin = window > 0 ? std::max(0, position - window + 1) : 0;
      std::vector<double> score;
      double top = -INFINITY, total = 0;
      for (int j = begin; j <= position; j++) {
        double s = 0;
        for (int d = 0; d < kLength; d++)
          s += static_cast<double>(cache->q[static_cast<size_t>((r * kHeads + h) * kLength + d)]) *
               k[static_cast<size_t>(j * kLength + d)];
        score.push_back(s / 8);
        top = std::max(top, score.back());
      }
      for (double& s : score) total += s = std::exp(s - top);
      for (int d = 0; d < kLength; d++) {
        double sum = 0;
        for (int j = begin; j <= position; j++)
          sum += score[static_cast<size_t>(j - begin)] * v[static_cast<size_t>(j * kLength + d)];
        out.wanted.push_back(sum / total);
        out.scale.push_back(1);
      }
    }
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    AttendChunk chunk{cache->q.data(),
                      kHeads * kLength,
                      kRows,
                      kHeads,
                      kLength,
                      0.125f,
                      first,
                      window,
                      0,
                      keys,
                      cache->key_blocks.data(),
                      cache->value_blocks.data(),
                      y.data(),
                      cache->max.data(),
                      cache->sum.data()};
    (q8_0 ? kernels.attend_q8_0 : kernels.attend)(chunk);
    for (size_t i = 0; i < y.size(); i++) y[i] /= cache->sum[i / kLength];
  };
  return out;
}

Case half_conversion(int n, Random& random) {
  auto x = std::make_shared<std::vector<float>>(static_cast<size_t>(n));
  random.fill(*x, 100);
  Case out{"to_f16", text("%d", n), 0x1p-11, 6.0 * n, 0, [](const Kernels&) { return true; }, nullptr, {}, {}};
  for (float value : *x) {
    out.wanted.push_back(value);
    out.scale.push_back(std::fabs(value) + 1e-4);
  }
  auto halves = std::make_shared<std::vector<uint16_t>>(x->size());
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    kernels.to_f16(x->data(), n, halves->data());
    for (size_t i = 0; i < y.size(); i++) y[i] = half_to_float((*halves)[i]);
  };
  return out;
}

/// q × scale of each value, which must be within half a step of it.
Case quantisation(int n, Random& random) {
  auto x = std::make_shared<std::vector<float>>(static_cast<size_t>(n));
  random.fill(*x, 5);
  Case out{"quantize_row",
           text("%d", n),
           0.501 / 127,
           5.0 * n,
           2.0 * n,
           [](const Kernels&) { return true; },
           nullptr,
           {},
           {}};
  for (int i = 0; i < n; i++) {
    double most = 0;
    for (int j = i / kBlock * kBlock; j < (i / kBlock + 1) * kBlock; j++)
      most = std::max(most, std::fabs(static_cast<double>((*x)[static_cast<size_t>(j)])));
    out.wanted.push_back((*x)[static_cast<size_t>(i)]);
    out.scale.push_back(most);
  }
  auto q = std::make_shared<std::vector<int8_t>>(x->size());
  auto scales = std::make_shared<std::vector<float>>(x->size() / kBlock);
  auto sums = std::make_shared<std::vector<int32_t>>(x->size() / kBlock);
  out.run = [=](const Kernels& kernels, std::vector<float>& y) {
    kernels.quantize_row(x->data(), n, q->data(), scales->data(), sums->data());
    for (size_t i = 0; i < y.size(); i++) y[i] = static_cast<float>((*q)[i]) * (*scales)[i / kBlock];
  };
  return out;
}

std::vector<std::function<Case(Random&)>> cases(bool full) {
  const int width = full ? 2880 : 96, rows = full ? 2880 : 37, blocks = width / kBlock;
  std::vector<std::function<Case(Random&)>> list;
  for (const int columns : {1, 4, 33})
    for (const TensorType type : kQuantisedTypes)
      for (const bool packed : {false, true}) {
        // gpt-oss's own types in all sizes; others, and large batches, on a part of the rows.
        const bool own = type == TensorType::MXFP4 || type == TensorType::Q8_0;
        if ((packed && !own) || (!own && columns == 4)) continue;
        const int share = columns == 33 || !own ? rows / 4 : rows;
        list.push_back([=](Random& random) { return quantised(type, packed, share, blocks, columns, random); });
      }
  for (const TensorType type : kFloatTypes)
    list.push_back([=](Random& random) { return floats(type, full ? 1024 : 32, width + 5, 3, random); });
  list.push_back([=](Random& random) { return norm(width, random); });
  list.push_back([=](Random& random) { return swiglu(width + 3, random); });
  list.push_back([=](Random& random) { return silu(width + 3, random); });
  list.push_back([=](Random& random) { return axpy(width + 3, random); });
  list.push_back([=](Random& random) { return half_conversion(width + 3, random); });
  list.push_back([=](Random& random) { return quantisation(width, random); });
  for (const bool q8_0 : {false, true}) {
    list.push_back([=](Random& random) { return attention(q8_0, full ? 4100 : 133, 0, random); });
    list.push_back([=](Random& random) { return attention(q8_0, full ? 1000 : 133, 128, random); });
  }
  return list;
}

KernelCheck check(const Case& test, const Kernels& kernels, const std::vector<float>& portable) {
  KernelCheck out{"cpu", kernels.name, test.kernel,    test.shape, 0, test.tolerance, false, "",
                  0,     test.bytes,   test.operations};
  std::vector<float> got(test.wanted.size(), NAN);
  test.run(kernels, got);
  size_t different = 0;
  for (size_t i = 0; i < got.size(); i++) {
    out.error = deviation(out.error, got[i], test.wanted[i], test.scale[i]);
    different += !portable.empty() && std::bit_cast<uint32_t>(got[i]) != std::bit_cast<uint32_t>(portable[i]);
  }
  if (!(out.error <= test.tolerance))
    out.problem = text("deviates from the reference by %.2g, more than %.2g", out.error, test.tolerance);
  else if (different > 0)
    out.problem = text("%zu of %zu values are not the portable kernel's bits", different, got.size());
  out.ok = out.problem.empty();
  out.milliseconds = time_of([&] { test.run(kernels, got); });
  return out;
}

}  // namespace

void self_test(const SelfTestOptions& options) {
  Random random(options.seed);
  for (const auto& make : cases(options.full)) {
    if (options.stopped()) return;
    const Case test = make(random);
    std::vector<float> portable;
    if (test.present(*portable_kernels())) {
      portable.resize(test.wanted.size());
      test.run(*portable_kernels(), portable);
    }
    // The packed layout is each set's own; its results are those of the file's layout.
    for (auto* set = available_kernels(); *set && !options.stopped(); set++)
      if (test.present(**set))
        options.report(check(test, **set, *set == portable_kernels() ? std::vector<float>{} : portable));
  }
}

}  // namespace hearth::cpu
