// Compares embed, norm, linear and qkv with the definition of their order (bit for bit) and with double precision.
#include <algorithm>
#include <cstring>

#include "support.h"

using namespace hearth;
using namespace hearth::test;
using namespace hearth::gpu;

namespace {

/// The kernel variant for so many rows. It is the smallest that takes them all at once, or the largest.
int columns_for(uint32_t rows) { return rows >= 5 ? 8 : rows >= 3 ? 4 : static_cast<int>(rows); }
/// A grid of so many threadgroups, in one row or in two.
msl::Size3 grid(uint32_t count) {
  return count % 3 == 0 ? msl::Size3{groups(count, 2), 2, 1} : msl::Size3{count, 1, 1};
}

}  // namespace

KERNEL_TEST(embed) {
  for (const TensorType type : kMatrixTypes) {
    const int block = type_traits(type).block;
    for (const uint32_t width : block == 256  ? std::vector<uint32_t>{256, 768}
                                : block == 32 ? std::vector<uint32_t>{32, 96, 2880}
                                              : std::vector<uint32_t>{7, 2880}) {
      if (!all_sizes() && width > 700) continue;
      const Weights table(type, 9, static_cast<int>(width), 0.1f, alignment_of(type));
      const std::vector<uint32_t> tokens = {8, 0, 3, 3};
      std::vector<float> want(tokens.size() * activation_stride(width), NAN), x = unset<float>(want.size());
      for (size_t r = 0; r < tokens.size(); r++) {
        const auto row = table.row(tokens[r]);
        std::copy(row.begin(), row.end(), want.begin() + static_cast<std::ptrdiff_t>(r * activation_stride(width)));
      }
      // MXFP4 has a negative zero, which the definition of the format in core/dequantize.h does not tell from zero.
      Launch("embed")
          .constant(1, id(type))
          .bytes(0, EmbedArgs{width})
          .read(1, table.data(), table.bytes())
          .read(2, tokens)
          .write(3, x)
          .bytes(30, kGo)
          .run({static_cast<uint32_t>(tokens.size()), 1, 1}, {64, 1, 1});
      for (float& value : x) value += 0.0f;
      for (float& value : want) value += 0.0f;
      expect_same_rows(type_name(type), x, want, tokens.size(), width);
    }
  }
}

KERNEL_TEST(quantised_values) {
  // The scales and minimums have every size and sign, and some are subnormal. The kernel must give what
  // core/dequantize.h gives, bit for bit.
  for (const TensorType type : kQuantisedTypes) {
    if (type == TensorType::MXFP4) continue;
    const TypeTraits& traits = type_traits(type);
    const uint32_t width = static_cast<uint32_t>(traits.block), rows = all_sizes() ? 400 : 3;
    Weights table(type, rows, traits.block);
    std::vector<uint32_t> tokens;
    std::vector<float> want;
    for (uint32_t r = 0; r < rows; r++) {
      for (const int at : {traits.scale_at, traits.minimum_at})
        if (at >= 0) {
          uint16_t half = static_cast<uint16_t>(generator()());
          if ((half & 0x7c00) == 0x7c00) half &= 0x83ff;
          memcpy(&table.memory[r * static_cast<uint32_t>(traits.block_bytes) + static_cast<size_t>(at)], &half, 2);
        }
      tokens.push_back(r);
      const auto row = table.row(r);
      want.insert(want.end(), row.begin(), row.end());
    }
    auto x = unset<float>(want.size());
    Launch("embed")
        .constant(0, width)
        .constant(1, id(type))
        .bytes(0, EmbedArgs{width})
        .read(1, table.data(), table.bytes())
        .read(2, tokens)
        .write(3, x)
        .bytes(30, kGo)
        .run({rows, 1, 1}, {32, 1, 1});
    for (size_t i = 0; i < x.size(); i++) x[i] += 0.0f, want[i] += 0.0f;  // turns negative zero into zero
    expect_same(type_name(type), x, want);
  }
}

KERNEL_TEST(mxfp4_values) {
  // The table has every code and every exponent that a model may have, also those whose products GPUs flush to zero.
  Weights table(TensorType::MXFP4, 241, 32);
  for (size_t e = 0; e < 241; e++) {
    table.memory[e * 17] = static_cast<uint8_t>(e);
    for (size_t i = 0; i < 16; i++) table.memory[e * 17 + 1 + i] = static_cast<uint8_t>(i | (15 - i) << 4);
  }
  std::vector<uint32_t> tokens;
  std::vector<float> want;
  for (uint32_t e = 2; e < 241; e += all_sizes() ? 1 : 30) {
    tokens.push_back(e);
    const auto row = table.row(e);
    want.insert(want.end(), row.begin(), row.end());
  }
  auto x = unset<float>(want.size());
  Launch("embed")
      .constant(0, 32u)
      .constant(1, id(TensorType::MXFP4))
      .bytes(0, EmbedArgs{32})
      .read(1, table.data(), table.bytes())
      .read(2, tokens)
      .write(3, x)
      .bytes(30, kGo)
      .flush_denormals()
      .run({static_cast<uint32_t>(tokens.size()), 1, 1}, {32, 1, 1});
  for (float& value : x) value += 0.0f;  // turns negative zero into zero
  expect_same("values", x, want);
}

KERNEL_TEST(norm) {
  for (const uint32_t width : all_sizes() ? std::vector<uint32_t>{1, 31, 96, 1030, 2880} : std::vector<uint32_t>{37})
    for (const bool gather : {false, true}) {
      const uint32_t rows = 3;
      const auto x = random_rows(5, width), weight = random_values(width);
      const std::vector<uint32_t> order = gather ? std::vector<uint32_t>{4, 0, 2} : std::vector<uint32_t>{0, 1, 2};
      std::vector<float> want(rows * activation_stride(width));
      for (uint32_t r = 0; r < rows; r++) {
        const float* from = &x[order[r] * activation_stride(width)];
        const double scale = 1 / std::sqrt(exact_dot(from, from, width) / width + 1e-5);
        for (uint32_t i = 0; i < width; i++)
          want[r * activation_stride(width) + i] = static_cast<float>(from[i] * scale * weight[i]);
      }
      auto y = unset<float>(want.size());
      Launch("norm")
          .constant(7, gather)
          .bytes(0, NormArgs{width, 1e-5f})
          .read(1, x)
          .read(2, weight)
          .write(3, y)
          .read(4, order)
          .bytes(30, kGo)
          .run({rows, 1, 1}, {256, 1, 1});
      expect_rows("y", y, want, rows, width, 1e-6);
    }
}

namespace {

struct LinearCase {
  TensorType type;
  uint32_t width, outputs, rows;
  bool has_bias, residual;
};

std::vector<float> run_linear(const LinearCase& c, const Weights& w, const std::vector<float>& bias,
                              const std::vector<float>& x, std::vector<float> y, int columns, uint32_t simdgroups,
                              bool fixed_width) {
  Launch launch("linear_c" + std::to_string(columns));
  if (fixed_width) launch.constant(0, c.width);
  launch.constant(1, id(c.type))
      .constant(4, c.has_bias)
      .constant(5, c.residual)
      .bytes(0, LinearArgs{c.width, c.rows, c.outputs})
      .read(1, w.data(), w.bytes())
      .read(2, bias)
      .read(3, x)
      .write(4, y)
      .bytes(30, kGo)
      .run(grid(product_groups(groups(c.outputs, 4), c.rows, static_cast<uint32_t>(columns), simdgroups)),
           {32 * simdgroups, 1, 1});
  return y;
}

void check_linear(const LinearCase& c) {
  const Weights w(c.type, c.outputs, static_cast<int>(c.width), 0.1f, alignment_of(c.type));
  const auto bias = random_values(c.outputs), x = random_rows(c.rows, c.width), y = random_rows(c.rows, c.outputs);
  std::vector<float> want(y), exact(y);
  const size_t in = activation_stride(c.width), out = activation_stride(c.outputs);
  for (uint32_t o = 0; o < c.outputs; o++) {
    const auto row = w.row(o);
    for (uint32_t r = 0; r < c.rows; r++) {
      const float value = ordered_dot(row.data(), &x[r * in], c.width);
      const float biased = c.has_bias ? value + bias[o] : value;
      want[r * out + o] = c.residual ? y[r * out + o] + biased : biased;
      exact[r * out + o] = static_cast<float>(exact_dot(row.data(), &x[r * in], c.width) +
                                              (c.has_bias ? static_cast<double>(bias[o]) : 0) +
                                              (c.residual ? static_cast<double>(y[r * out + o]) : 0));
    }
  }
  const std::string name = std::string("linear ") + type_name(c.type) + " " + std::to_string(c.width) + " × " +
                           std::to_string(c.outputs) + ", " + std::to_string(c.rows) + " rows";
  const auto got = run_linear(c, w, bias, x, y, columns_for(c.rows), 2, c.width % 64 == 0);
  expect_same_rows(name.c_str(), got, want, c.rows, c.outputs);
  expect_rows(name.c_str(), got, exact, c.rows, c.outputs, 3e-6);

  std::vector<float> matrix(y);
  Launch("linear_mm")
      .constant(1, id(c.type))
      .constant(4, c.has_bias)
      .constant(5, c.residual)
      .bytes(0, LinearArgs{c.width, c.rows, c.outputs})
      .read(1, w.data(), w.bytes())
      .read(2, bias)
      .read(3, x)
      .write(4, matrix)
      .bytes(30, kGo)
      .run({groups(c.outputs, kMatrixOutputs), groups(c.rows, kMatrixColumns), 1}, {128, 1, 1});
  expect_rows((name + ", matrix units").c_str(), matrix, exact, c.rows, c.outputs, 1e-5);
}

}  // namespace

KERNEL_TEST(linear) {
  for (const TensorType type : kMatrixTypes) {
    const int block = type_traits(type).block;
    const bool odd = block == 1;
    if (!all_sizes()) {
      check_linear({type, odd ? 45u : block == 32 ? 96u : 256u, 6, 3, true, true});
      continue;
    }
    if (type != TensorType::MXFP4 && type != TensorType::Q8_0 && !odd) {
      check_linear({type, block == 32 ? 1056u : 2816u, 9, 1, true, true});
      check_linear({type, block == 32 ? 96u : 512u, 5, 4, false, false});
      check_linear({type, 256, 7, 33, true, false});
      continue;
    }
    check_linear({type, 2880, 9, 1, true, true});
    check_linear({type, 2880, 5, 8, true, true});
    check_linear({type, odd ? 1031u : 1056u, 7, 2, false, false});
    check_linear({type, odd ? 5u : 32u, 3, 20, true, false});
    check_linear({type, odd ? 63u : 96u, 4, 33, false, true});
  }
  if (all_sizes()) check_linear({TensorType::MXFP4, 64, 8, 130, true, true});
}

KERNEL_TEST(linear_variants_agree) {
  // The bits never depend on the variant, on the simdgroups of a threadgroup or on the number of rows.
  const LinearCase c{TensorType::MXFP4, all_sizes() ? 608u : 96u, 10, 5, true, true};
  const Weights w(c.type, c.outputs, static_cast<int>(c.width));
  const auto bias = random_values(c.outputs), x = random_rows(c.rows, c.width), y = random_rows(c.rows, c.outputs);
  const auto first = run_linear(c, w, bias, x, y, 1, 1, false);
  for (const int columns : {2, 4, 8})
    expect_same_rows("variant", run_linear(c, w, bias, x, y, columns, columns == 4 ? 4 : 3, true), first, c.rows,
                     c.outputs);
}

KERNEL_TEST(stop_word) {
  const LinearCase c{TensorType::F32, 32, 4, 1, false, false};
  const Weights w(c.type, c.outputs, 32);
  const auto x = random_rows(1, 32);
  auto y = random_rows(1, 4);
  const auto before = y;
  Launch("linear_c1")
      .constant(1, id(c.type))
      .constant(4, false)
      .constant(5, false)
      .bytes(0, LinearArgs{32, 1, 4})
      .read(1, w.data(), w.bytes())
      .bytes(2, 0.0f)
      .read(3, x)
      .write(4, y)
      .bytes(30, 1u)
      .run({1, 1, 1}, {32, 1, 1});
  expect_same_rows("y", y, before, 1, 4);
}

namespace {

struct QkvCase {
  TensorType q, k, v;
  uint32_t width, rows, heads, heads_kv, length;
  bool has_bias = true, interleaved = false, raw = false;
};

/// What one check of a qkv kernel reads: weights, rows, angles of RoPE and the rows' places in the cache.
struct QkvInputs {
  QkvCase c;

  uint32_t q_length = c.heads * c.length, kv = c.heads_kv * c.length, pairs = c.length / 2;
  uint32_t blocks = 4 + groups(c.rows, 32);
  uint32_t head_bytes = 32 * c.length * 2, block_bytes = 2 * c.heads_kv * head_bytes;
  Weights wq{c.q, q_length, static_cast<int>(c.width)}, wk{c.k, kv, static_cast<int>(c.width)},
      wv{c.v, kv, static_cast<int>(c.width)};
  std::vector<float> bq = random_values(q_length), bk = random_values(kv), bv = random_values(kv);
  std::vector<float> h = random_rows(c.rows, c.width), rope = random_angles();
  std::vector<uint32_t> tables = shuffled_tables();
  std::vector<RowInfo> info = row_places();

 private:
  std::vector<float> random_angles() const {
    std::vector<float> out(c.rows * pairs * 2);
    for (uint32_t i = 0; i < c.rows * pairs; i++) {
      const float angle = random_values(1, 3.0f)[0];
      out[2 * i] = std::cos(angle) * 1.3f;
      out[2 * i + 1] = std::sin(angle) * 1.3f;
    }
    return out;
  }
  /// Row 0 is alone in the first table. The others are in the second from position 30 on, across a block's end.
  std::vector<uint32_t> shuffled_tables() const {
    std::vector<uint32_t> out = {2};
    for (uint32_t b = 0; b < groups(30 + c.rows, 32); b++) out.push_back(b % 2 == 0 ? blocks - 1 - b / 2 : b / 2);
    return out;
  }
  std::vector<RowInfo> row_places() const {
    std::vector<RowInfo> out = {{7, 0}};
    for (uint32_t r = 1; r < c.rows; r++) out.push_back({29 + r, 1});
    return out;
  }
};

/// What a qkv kernel writes: queries, and either the cache's keys and values or, with c.raw, rows of them.
struct QkvOutputs {
  explicit QkvOutputs(const QkvInputs& in)
      : q(unset<float>(in.c.rows * activation_stride(in.q_length))),
        raw_kv(unset<float>(in.c.rows * activation_stride(2 * in.kv))),
        cache(in.blocks * in.block_bytes, kUntouched) {}

  /// The byte of the cache before the launch.
  static constexpr uint8_t kUntouched = 0x5a;
  std::vector<float> q, raw_kv;
  std::vector<uint8_t> cache;
};

/// One head of a row, before its RoPE.
std::vector<float> wanted_head(const QkvInputs& in, const Weights& w, const std::vector<float>& bias, uint32_t row,
                               uint32_t head) {
  const QkvCase& c = in.c;
  std::vector<float> out(c.length);
  for (uint32_t d = 0; d < c.length; d++)
    out[d] = ordered_dot(w.row(head * c.length + d).data(), &in.h[row * activation_stride(c.width)], c.width) +
             (c.has_bias ? bias[head * c.length + d] : 0.0f);
  return out;
}

/// The reference, in the order of the kernels.
QkvOutputs wanted_qkv(const QkvInputs& in) {
  const QkvCase& c = in.c;
  QkvOutputs want(in);
  for (uint32_t r = 0; r < c.rows; r++) {
    const float* rope = &in.rope[r * in.pairs * 2];
    for (uint32_t head = 0; head < c.heads; head++) {
      auto query = wanted_head(in, in.wq, in.bq, r, head);
      if (!c.raw) turn_pairs(query, rope, c.interleaved);
      memcpy(&want.q[r * activation_stride(in.q_length) + head * c.length], query.data(), 4 * c.length);
    }
    const uint32_t block = in.tables[in.info[r].table + in.info[r].position / 32], slot = in.info[r].position % 32;
    for (uint32_t head = 0; head < c.heads_kv; head++) {
      auto key = wanted_head(in, in.wk, in.bk, r, head);
      if (!c.raw) turn_pairs(key, rope, c.interleaved);
      const auto value = wanted_head(in, in.wv, in.bv, r, head);
      float* raw = &want.raw_kv[r * activation_stride(2 * in.kv) + head * c.length];
      memcpy(raw, key.data(), 4 * c.length);
      memcpy(raw + in.kv, value.data(), 4 * c.length);
      if (c.raw) continue;
      uint8_t* to = &want.cache[block * in.block_bytes + head * in.head_bytes];
      for (uint32_t d = 0; d < c.length; d++) {
        const auto key_half = static_cast<_Float16>(key[d]), value_half = static_cast<_Float16>(value[d]);
        memcpy(to + (d * 32 + slot) * 2, &key_half, 2);
        memcpy(to + in.block_bytes / 2 + (slot * c.length + d) * 2, &value_half, 2);
      }
    }
  }
  return want;
}

QkvOutputs run_qkv(const QkvInputs& in, const std::string& kernel, msl::Size3 threadgroups, uint32_t threads) {
  const QkvCase& c = in.c;
  QkvOutputs out(in);
  Launch launch(kernel);
  launch.constant(1, id(c.q))
      .constant(2, id(c.k))
      .constant(3, id(c.v))
      .constant(4, c.has_bias)
      .constant(10, c.interleaved)
      .constant(11, c.raw)
      .bytes(0, QkvArgs{c.width, c.rows, c.heads, c.heads_kv, c.length, {in.block_bytes, in.head_bytes}})
      .read(1, in.wq.data(), in.wq.bytes())
      .read(2, in.wk.data(), in.wk.bytes())
      .read(3, in.wv.data(), in.wv.bytes())
      .read(4, in.bq)
      .read(5, in.bk)
      .read(6, in.bv)
      .read(7, in.h)
      .read(8, in.rope)
      .read(9, in.info)
      .read(10, in.tables)
      .write(11, out.q)
      .bytes(30, kGo);
  if (c.raw) launch.write(12, out.raw_kv);
  else launch.write(12, out.cache);
  launch.run(threadgroups, {threads, 1, 1});
  return out;
}

/// Compares the halves of two caches with a tolerance. What the reference leaves untouched has to be untouched.
void expect_close_caches(const char* what, const std::vector<uint8_t>& got, const std::vector<uint8_t>& want) {
  const auto untouched = [&](size_t i) { return want[i] == QkvOutputs::kUntouched; };
  std::vector<float> stored, want_stored;
  for (size_t i = 0; i < got.size(); i += 2) {
    _Float16 a, b;
    memcpy(&a, &got[i], 2);
    memcpy(&b, &want[i], 2);
    stored.push_back(static_cast<float>(a));
    want_stored.push_back(static_cast<float>(b));
    if (untouched(i) && untouched(i + 1)) stored.back() = want_stored.back() = a == b ? 0.0f : NAN;
  }
  expect_close(what, stored, want_stored, 1e-3);
}

void check_qkv(const QkvCase& c) {
  const QkvInputs in{c};
  const QkvOutputs want = wanted_qkv(in);

  const uint32_t columns = static_cast<uint32_t>(columns_for(c.rows)), simdgroups = 3;
  const uint32_t quads = (c.heads + 2 * c.heads_kv) * (c.length / 4);
  const QkvOutputs product = run_qkv(in, "qkv_c" + std::to_string(columns),
                                     grid(product_groups(quads, c.rows, columns, simdgroups)), 32 * simdgroups);
  expect_same_rows("q", product.q, want.q, c.rows, in.q_length);
  expect_same("cache", product.cache, want.cache);
  if (c.raw) expect_same_rows("k and v", product.raw_kv, want.raw_kv, c.rows, 2 * in.kv);

  const QkvOutputs matrix =
      run_qkv(in, "qkv_mm", {groups(4 * quads, kMatrixOutputs), groups(c.rows, kMatrixColumns), 1}, 128);
  expect_rows("q, matrix units", matrix.q, want.q, c.rows, in.q_length, 1e-5);
  if (c.raw) expect_rows("k and v, matrix units", matrix.raw_kv, want.raw_kv, c.rows, 2 * in.kv, 1e-5);
  else expect_close_caches("cache, matrix units", matrix.cache, want.cache);
}

}  // namespace

KERNEL_TEST(qkv) {
  using enum TensorType;
  check_qkv({MXFP4, Q8_0, F16, 32, 3, 2, 1, 8});
  check_qkv({F16, F16, Q8_0, 32, 2, 2, 1, 8, false, true});
  check_qkv({F16, F16, Q8_0, 32, 3, 1, 1, 8, false, true, true});
  if (!all_sizes()) return;
  check_qkv({Q8_0, Q8_0, Q8_0, 2880, 1, 2, 1, 8});
  check_qkv({BF16, F32, BF16, 45, 2, 3, 3, 24});
  check_qkv({Q8_0, Q8_0, Q8_0, 96, 8, 2, 1, 64});
  check_qkv({Q8_0, F16, MXFP4, 64, 20, 4, 2, 16});
  check_qkv({F16, F16, F16, 32, 33, 1, 1, 128});
  check_qkv({Q8_0, Q8_0, F16, 96, 20, 3, 1, 40, true, true});
  check_qkv({BF16, BF16, BF16, 64, 33, 4, 2, 16, true, false, true});
  check_qkv({Q4_K, Q4_K, Q6_K, 256, 2, 2, 1, 16});
  check_qkv({Q5_0, Q4_1, Q5_1, 96, 20, 2, 1, 16});
}
