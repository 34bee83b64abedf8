// The CPU's part of the self-test.
#include "self_test.h"

#include <algorithm>
#include <cctype>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "../core/dequantize.h"
#include "../core/floats.h"
#include "../core/model.h"
#include "../core/random.h"
#include "kernels.h"

namespace hearth::cpu {

namespace {

/// One kernel of the table with its inputs, which are the same for every set.
struct Case {
  std::string kernel, shape;
  double tolerance, bytes, operations;
  /// Whether a set has this kernel at all.
  std::function<bool(const Kernels&)> present;
  std::function<void(const Kernels&, std::vector<float>& out)> run;
  /// For each output the exact value, and the size that its error is relative to.
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

/// The shape of a product as reports have it: the matrix, and the rows of activations.
std::string product_shape(int rows, int k, int columns) {
  return text("%d x %d, %d row%s", rows, k, columns, columns == 1 ? "" : "s");
}

/// A quantised matrix with random weights, and rows of activations quantised as the kernels take them.
struct QuantInput {
  TensorType type;
  int rows, blocks, columns;
  size_t row_bytes;
  std::vector<uint8_t> weights;  ///< [rows][row_bytes]
  std::vector<int8_t> q;         ///< [columns][k()]
  std::vector<float> scales;     ///< [columns][blocks]
  std::vector<int32_t> sums;     ///< [columns][blocks]

  int k() const { return blocks * kBlock; }
};

/// Random blocks whose scales are of a usual size.
std::vector<uint8_t> random_weights(TensorType type, size_t bytes, Random& random) {
  std::vector<uint8_t> weights(bytes);
  for (uint8_t& byte : weights) byte = static_cast<uint8_t>(random.bits());
  for (size_t i = 0; i < bytes; i += unit_of(type).bytes) {
    if (type == TensorType::MXFP4) weights[i] = static_cast<uint8_t>(random.integer(115, 125));
    for (const int half : {type_traits(type).scale_at, type_traits(type).minimum_at})
      if (half >= 0) weights[i + static_cast<size_t>(half) + 1] = static_cast<uint8_t>(random.integer(0x10, 0x24));
  }
  return weights;
}

/// `blocks` is rounded up to whole units of the type.
QuantInput quant_input(TensorType type, int rows, int blocks, int columns, Random& random) {
  const Unit unit = unit_of(type);
  const int units = (blocks + unit.blocks - 1) / unit.blocks;
  blocks = units * unit.blocks;
  const size_t row_bytes = unit.bytes * static_cast<size_t>(units);
  QuantInput out{type,    rows,      blocks,
                 columns, row_bytes, random_weights(type, row_bytes * static_cast<size_t>(rows), random),
                 {},      {},        {}};
  const auto k = static_cast<size_t>(out.k()), row_blocks = static_cast<size_t>(blocks);
  std::vector<float> x(static_cast<size_t>(columns) * k);
  random.fill(x);
  out.q.resize(x.size());
  out.scales.resize(static_cast<size_t>(columns) * row_blocks);
  out.sums.resize(out.scales.size());
  for (size_t c = 0; c < static_cast<size_t>(columns); c++)
    portable_kernels()->quantize_row(&x[c * k], out.k(), &out.q[c * k], &out.scales[c * row_blocks],
                                     &out.sums[c * row_blocks]);
  return out;
}

/// Computes the products of a QuantInput in double precision, as the case's wanted values.
void expect_products(const QuantInput& in, Case& out) {
  const int k = in.k();
  const Matrix matrix{in.type, in.weights.data(), in.rows, k, in.row_bytes};
  std::vector<std::vector<float>> values(static_cast<size_t>(in.rows), std::vector<float>(static_cast<size_t>(k)));
  for (int r = 0; r < in.rows; r++) dequantize_row(matrix, r, values[static_cast<size_t>(r)].data());
  for (int c = 0; c < in.columns; c++)
    for (const std::vector<float>& row : values) {
      double sum = 0, magnitude = 0;
      for (int i = 0; i < k; i++) {
        const auto at = static_cast<size_t>(c * k + i);
        const double term =
            static_cast<double>(row[static_cast<size_t>(i)]) * in.q[at] * static_cast<double>(in.scales[at / kBlock]);
        sum += term;
        magnitude += std::fabs(term);
      }
      out.wanted.push_back(sum);
      out.scale.push_back(magnitude);
    }
}

/// Memory that begins with a cache line.
class AlignedBytes {
 public:
  /// Makes room for `size` bytes. The contents are lost.
  void resize(size_t size) {
    bytes_.resize(size + 64);
    data_ = bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64;
  }
  uint8_t* data() const { return data_; }

 private:
  std::vector<uint8_t> bytes_;
  uint8_t* data_ = nullptr;
};

/// Runs the products of a QuantInput in groups of 16 weight rows, as the backend cuts them.
class QuantRun {
 public:
  QuantRun(QuantInput in, bool packed)
      : in_(std::move(in)),
        packed_(packed),
        group_bytes_(packed ? packed_group_bytes(in_.type, in_.blocks) : in_.row_bytes * kGroupRows) {
    scratch_.resize(scratch_bytes(in_.blocks));
  }

  void operator()(const Kernels& kernels, std::vector<float>& y) {
    // A set packs once, so that only its products are timed.
    if (owner_ != &kernels) {
      if (packed_) pack_weights(kernels);
      pack_tiles(kernels);
      owner_ = &kernels;
    }
    if (packed_) return packed_layout(kernels, in_.type).group(group(y, 0, in_.rows));
    for (int g = 0; g < groups(); g++) quant_group(kernels, in_.type)(group(y, g, rows_of(g)));
  }

 private:
  int groups() const { return (in_.rows + kGroupRows - 1) / kGroupRows; }
  int rows_of(int group) const { return std::min(kGroupRows, in_.rows - group * kGroupRows); }

  void pack_weights(const Kernels& kernels) {
    repacked_.resize(group_bytes_ * static_cast<size_t>(groups()));
    for (int g = 0; g < groups(); g++)
      packed_layout(kernels, in_.type)
          .pack(in_.weights.data() + static_cast<size_t>(g * kGroupRows) * in_.row_bytes, in_.row_bytes, rows_of(g),
                in_.blocks, repacked_.data() + static_cast<size_t>(g) * group_bytes_);
  }

  void pack_tiles(const Kernels& kernels) {
    std::vector<int32_t> order(static_cast<size_t>(in_.columns));
    std::iota(order.begin(), order.end(), 0);
    tiles_.resize(tile_bytes(in_.columns, in_.blocks));
    for (int first = 0; first < in_.columns; first += kTileRows)
      kernels.pack_tile(in_.q.data(), in_.scales.data(), in_.sums.data(), in_.k(), &order[static_cast<size_t>(first)],
                        std::min(kTileRows, in_.columns - first), tiles_.data() + tile_bytes(first, in_.blocks));
  }

  /// The arguments for `rows` rows from group number `first` on.
  QuantGroup group(std::vector<float>& y, int first, int rows) const {
    const uint8_t* from = packed_ ? repacked_.data() : in_.weights.data();
    return {from + static_cast<size_t>(first) * group_bytes_,
            packed_ ? group_bytes_ : in_.row_bytes,
            rows,
            in_.blocks,
            tiles_.data(),
            in_.columns,
            y.data() + first * kGroupRows,
            static_cast<size_t>(in_.rows),
            in_.weights.data() + in_.weights.size(),
            scratch_.data()};
  }

  QuantInput in_;
  bool packed_;
  size_t group_bytes_;
  const Kernels* owner_ = nullptr;  ///< the set that packed repacked_ and tiles_
  AlignedBytes repacked_, tiles_, scratch_;
};

/// A quantised matrix times `columns` rows of activations, in the file's layout or in the kernels' own.
Case quantised(TensorType type, bool packed, int rows, int blocks, int columns, Random& random) {
  QuantInput in = quant_input(type, rows, blocks, columns, random);
  Case out{std::string(type_traits(type).name) + (packed ? " products, packed" : " products"),
           product_shape(rows, in.k(), columns),
           2e-6 * std::sqrt(in.blocks),
           static_cast<double>(in.weights.size()),
           2.0 * rows * in.k() * columns,
           [packed, type](const Kernels& kernels) { return !packed || packed_layout(kernels, type).pack != nullptr; },
           nullptr,
           {},
           {}};
  expect_products(in, out);
  out.run = [run = std::make_shared<QuantRun>(std::move(in), packed)](const Kernels& kernels, std::vector<float>& y) {
    (*run)(kernels, y);
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
           product_shape(rows, k, columns),
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

/// Query rows of the heads that share one KV head, and a cache that they attend to.
struct AttentionInput {
  static constexpr int kHeads = 8, kLength = 64, kRows = 3;

  bool q8_0;
  int length;  ///< keys in the cache; the rows of queries are the last of them
  int window;  ///< 0: none
  std::vector<uint8_t> keys, values;
  std::vector<const uint8_t*> key_blocks, value_blocks;
  std::vector<double> exact_keys, exact_values;  ///< [position][kLength]: what the cache holds
  std::vector<float> q;                          ///< [kRows][kHeads][kLength]

  int position(int row) const { return length - kRows + row; }
  /// The first key that the row at `position` sees.
  int first_key(int position) const { return window > 0 ? std::max(0, position - window + 1) : 0; }
};

/// Stores a random element in a block of the cache, at element number `at` with scale number `scale_at`. Gives its
/// exact value.
double store_random(bool q8_0, uint8_t* block, int at, int scale_at, Random& random) {
  if (!q8_0) {
    const uint16_t half = to_half(random.uniform());
    std::memcpy(block + at * 2, &half, 2);
    return half_to_float(half);
  }
  const auto value = static_cast<int8_t>(random.integer(-127, 127));
  const uint16_t scale = to_half(1.0f / 127);
  block[at] = static_cast<uint8_t>(value);
  std::memcpy(block + kCacheBlock * AttentionInput::kLength + scale_at * 2, &scale, 2);
  return static_cast<double>(value) * half_to_float(scale);
}

AttentionInput attention_input(bool q8_0, int length, int window, Random& random) {
  constexpr int kLength = AttentionInput::kLength;
  const int blocks = (length + kCacheBlock - 1) / kCacheBlock, groups = cache_scales(kLength);
  const size_t bytes = q8_0 ? q8_0_cache_bytes(kLength) : static_cast<size_t>(kCacheBlock * kLength) * 2;
  AttentionInput in{q8_0, length, window, {}, {}, {}, {}, {}, {}, {}};
  in.keys.resize(bytes * static_cast<size_t>(blocks));
  in.values.resize(in.keys.size());
  for (size_t b = 0; b < static_cast<size_t>(blocks); b++) {
    in.key_blocks.push_back(&in.keys[b * bytes]);
    in.value_blocks.push_back(&in.values[b * bytes]);
  }
  for (int j = 0; j < blocks * kCacheBlock; j++)
    for (int d = 0; d < kLength; d++) {
      const size_t block = static_cast<size_t>(j / kCacheBlock) * bytes;
      const int slot = j % kCacheBlock, group = d / kCacheScaled;
      in.exact_keys.push_back(
          store_random(q8_0, &in.keys[block], d * kCacheBlock + slot, group * kCacheBlock + slot, random));
      in.exact_values.push_back(
          store_random(q8_0, &in.values[block], slot * kLength + d, slot * groups + group, random));
    }
  in.q.resize(AttentionInput::kRows * AttentionInput::kHeads * kLength);
  random.fill(in.q, 2);
  return in;
}

/// Computes one head of one row in double precision and appends it to the case's wanted values.
void expect_head(const AttentionInput& in, int row, int head, Case& out) {
  constexpr int kLength = AttentionInput::kLength;
  const int position = in.position(row), begin = in.first_key(position);
  const float* q = &in.q[static_cast<size_t>((row * AttentionInput::kHeads + head) * kLength)];
  std::vector<double> score;
  double top = -INFINITY, total = 0;
  for (int j = begin; j <= position; j++) {
    double s = 0;
    for (int d = 0; d < kLength; d++)
      s += static_cast<double>(q[d]) * in.exact_keys[static_cast<size_t>(j * kLength + d)];
    score.push_back(s / 8);
    top = std::max(top, score.back());
  }
  for (double& s : score) total += s = std::exp(s - top);
  for (int d = 0; d < kLength; d++) {
    double sum = 0;
    for (int j = begin; j <= position; j++)
      sum += score[static_cast<size_t>(j - begin)] * in.exact_values[static_cast<size_t>(j * kLength + d)];
    out.wanted.push_back(sum / total);
    out.scale.push_back(1);
  }
}

/// Attention of eight heads of one KV head to `keys` keys, F16 or Q8_0, with or without a window.
Case attention(bool q8_0, int keys, int window, Random& random) {
  using Input = AttentionInput;
  // The input holds addresses of its own memory, so it is shared and never copied.
  const auto in = std::make_shared<const Input>(attention_input(q8_0, keys, window, random));
  const int seen = window > 0 ? std::min(keys, window) : keys;
  const size_t bytes = in->keys.size() / in->key_blocks.size();
  Case out{q8_0 ? "attend_q8_0" : "attend",
           text("%d rows of %d heads, %d keys, window %d", Input::kRows, Input::kHeads, keys, window),
           1e-5,
           2.0 * static_cast<double>(bytes) * seen / kCacheBlock,
           4.0 * Input::kRows * Input::kHeads * Input::kLength * seen,
           [](const Kernels&) { return true; },
           nullptr,
           {},
           {}};
  for (int r = 0; r < Input::kRows; r++)
    for (int h = 0; h < Input::kHeads; h++) expect_head(*in, r, h, out);
  constexpr size_t kStates = Input::kRows * Input::kHeads;
  out.run = [in, max = std::vector<float>(kStates), sum = std::vector<float>(kStates)](const Kernels& kernels,
                                                                                       std::vector<float>& y) mutable {
    const AttendChunk chunk{.q = in->q.data(),
                            .q_row_stride = Input::kHeads * Input::kLength,
                            .rows = Input::kRows,
                            .heads = Input::kHeads,
                            .head_length = Input::kLength,
                            .scale = 0.125f,
                            .first_position = in->position(0),
                            .window = in->window,
                            .first_key = 0,
                            .end_key = in->length,
                            .key_blocks = in->key_blocks.data(),
                            .value_blocks = in->value_blocks.data(),
                            .out = y.data(),
                            .max = max.data(),
                            .sum = sum.data()};
    (in->q8_0 ? kernels.attend_q8_0 : kernels.attend)(chunk);
    for (size_t i = 0; i < y.size(); i++) y[i] /= sum[i / Input::kLength];
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

/// Quantisation of a row. q × scale of each value must be within half a step of the value.
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
        // gpt-oss's own types are tested in all sizes. Other types, and large batches, are tested on a part of the
        // rows.
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
    // Portable has no packed layout, so packed products are only compared with double precision here. test_kernels.cpp
    // compares their bits.
    for (auto* set = available_kernels(); *set && !options.stopped(); set++)
      if (test.present(**set))
        options.report(check(test, **set, *set == portable_kernels() ? std::vector<float>{} : portable));
  }
}

}  // namespace hearth::cpu
