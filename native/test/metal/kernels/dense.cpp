// ffn and heads: against the definition of their order, bit for bit, and the other kernels' results.
#include <algorithm>
#include <cstring>

#include "support.h"

using namespace hearth;
using namespace hearth::test;
using namespace hearth::gpu;

namespace {

struct FfnCase {
  TensorType gate, up;
  uint32_t width, hidden, rows;
  bool has_bias;
};

void check_ffn(const FfnCase& c) {
  const Weights gate(c.gate, c.hidden, static_cast<int>(c.width)), up(c.up, c.hidden, static_cast<int>(c.width));
  const auto gate_bias = random_values(c.hidden), up_bias = random_values(c.hidden), h = random_rows(c.rows, c.width);
  const size_t in = activation_stride(c.width), out = activation_stride(c.hidden);
  std::vector<float> want(c.rows * out);
  for (uint32_t o = 0; o < c.hidden; o++) {
    const auto g = gate.row(o), u = up.row(o);
    for (uint32_t r = 0; r < c.rows; r++) {
      float a = ordered_dot(g.data(), &h[r * in], c.width), b = ordered_dot(u.data(), &h[r * in], c.width);
      if (c.has_bias) a += gate_bias[o], b += up_bias[o];
      want[r * out + o] = a / (1.0f + std::exp(-a)) * b;
    }
  }
  const auto run = [&](const std::string& kernel, msl::Size3 grid, uint32_t threads) {
    auto act = unset<float>(want.size());
    Launch launch(kernel);
    if (c.width % 64 == 0) launch.constant(0, c.width);
    launch.constant(1, id(c.gate))
        .constant(2, id(c.up))
        .constant(4, c.has_bias)
        .bytes(0, LinearArgs{c.width, c.rows, c.hidden})
        .read(1, gate.data(), gate.bytes())
        .read(2, up.data(), up.bytes())
        .read(3, gate_bias)
        .read(4, up_bias)
        .read(5, h)
        .write(6, act)
        .bytes(30, kGo)
        .run(grid, {threads, 1, 1});
    return act;
  };
  const std::string name =
      std::string("ffn ") + type_name(c.gate) + ", " + type_name(c.up) + ", " + std::to_string(c.rows) + " rows";
  for (const uint32_t columns : {1u, 2u, 4u, 8u}) {
    // A small case runs every variant, a large one only the variant that the host would use.
    if (columns != (c.rows >= 5 ? 8u : c.rows >= 3 ? 4u : c.rows) && (!all_sizes() || c.rows > 8)) continue;
    const uint32_t simdgroups = 3, count = product_groups(groups(c.hidden, 2), c.rows, columns, simdgroups);
    expect_same_rows(name.c_str(), run("ffn_c" + std::to_string(columns), {groups(count, 2), 2, 1}, 32 * simdgroups),
                     want, c.rows, c.hidden);
  }
  expect_rows((name + ", matrix units").c_str(), run("ffn_mm", {groups(c.hidden, 32), groups(c.rows, 32), 1}, 128),
              want, c.rows, c.hidden, 1e-4);
}

}  // namespace

KERNEL_TEST(ffn) {
  using enum TensorType;
  if (!all_sizes()) return check_ffn({Q8_0, F16, 32, 5, 3, true});
  check_ffn({Q8_0, Q8_0, 2880, 3, 1, false});
  check_ffn({F16, F16, 45, 7, 2, true});
  check_ffn({F32, BF16, 71, 33, 8, false});
  check_ffn({BF16, F32, 96, 34, 33, false});
  check_ffn({Q8_0, Q8_0, 64, 9, 130, true});
  check_ffn({Q4_K, Q6_K, 768, 5, 3, false});
  check_ffn({Q4_0, Q5_K, 256, 3, 1, false});
}

namespace {

struct HeadsCase {
  uint32_t rows, heads, heads_kv, length;
  bool interleaved, has_norm, q8 = false;
  float scale = 2;
};

void check_heads(const HeadsCase& c) {
  const CacheShape shape{c.heads_kv, c.length, c.q8};
  const uint32_t pairs = c.length / 2, kv = c.heads_kv * c.length, head_bytes = shape.head_bytes(),
                 block_bytes = shape.block_bytes();
  const auto q = random_rows(c.rows, c.heads * c.length, 2), kv_rows = random_rows(c.rows, 2 * kv, c.scale);
  const auto q_norm = random_values(c.length), k_norm = random_values(c.length),
             rope = random_values(c.rows * c.length);
  // There is one sequence from position 30 on. Its blocks are in no order.
  const uint32_t blocks = groups(30 + c.rows, 32) + 1;
  std::vector<uint32_t> tables;
  std::vector<RowInfo> info;
  for (uint32_t b = 0; b + 1 < blocks; b++) tables.push_back(blocks - 1 - b);
  for (uint32_t r = 0; r < c.rows; r++) info.push_back({30 + r, 0});
  std::vector<uint8_t> cache = shape.empty(blocks), want_cache(cache);
  auto want_q = q;
  const size_t q_stride = activation_stride(c.heads * c.length), kv_stride = activation_stride(2 * kv);
  for (uint32_t r = 0; r < c.rows; r++)
    for (uint32_t head = 0; head < c.heads + 2 * c.heads_kv; head++) {
      const uint32_t kind = head < c.heads                ? 0
                            : head < c.heads + c.heads_kv ? 1
                                                          : 2,
                     own = kind == 0 ? head : (head - c.heads) % c.heads_kv;
      const float* from =
          kind == 0 ? &q[r * q_stride + own * c.length] : &kv_rows[r * kv_stride + (kind - 1) * kv + own * c.length];
      std::vector<float> x(from, from + c.length);
      if (c.has_norm && kind < 2) {
        float lanes[32] = {};
        for (uint32_t d = 0; d < c.length; d++) lanes[d % 32] = std::fma(x[d], x[d], lanes[d % 32]);
        const float scale = 1.0f / std::sqrt(lane_sum(lanes) / static_cast<float>(c.length) + 1e-6f);
        for (uint32_t d = 0; d < c.length; d++) x[d] = x[d] * scale * (kind == 0 ? q_norm : k_norm)[d];
      }
      if (kind < 2) turn_pairs(x, &rope[r * pairs * 2], c.interleaved);
      if (kind == 0)
        std::copy(x.begin(), x.end(), want_q.begin() + static_cast<std::ptrdiff_t>(r * q_stride + own * c.length));
      else
        shape.store(&want_cache[tables[info[r].position / 32] * block_bytes], own, kind == 2, info[r].position % 32, x);
    }
  auto got = q;
  Launch launch("heads");
  if (c.length % 64 == 0) launch.constant(8, c.length);
  launch.constant(10, c.interleaved)
      .constant(12, c.has_norm)
      .constant(13, c.q8)
      .bytes(0, HeadsArgs{c.heads, c.heads_kv, c.length, 1e-6f, {block_bytes, head_bytes}})
      .write(1, got)
      .read(2, kv_rows)
      .read(3, q_norm)
      .read(4, k_norm)
      .read(5, rope)
      .read(6, info)
      .read(7, tables)
      .write(8, cache)
      .bytes(30, kGo)
      .run({groups(c.heads + 2 * c.heads_kv, 3), c.rows, 1}, {96, 1, 1});
  expect_same_rows("q", got, want_q, c.rows, c.heads * c.length);
  expect_same("cache", cache, want_cache);
}

}  // namespace

KERNEL_TEST(heads) {
  if (!all_sizes()) {
    check_heads({3, 2, 1, 40, true, true});
    return check_heads({3, 2, 1, 40, false, false, true});
  }
  check_heads({1, 4, 2, 128, false, true});
  check_heads({33, 3, 1, 64, false, true});
  check_heads({5, 2, 2, 24, true, false});
  check_heads({2, 1, 1, 256, true, true});
  check_heads({130, 1, 1, 8, false, true});
  check_heads({33, 2, 1, 128, false, false, true});
  check_heads({5, 3, 3, 24, true, true, true});
  check_heads({2, 1, 1, 200, true, false, true});
  // These values are beyond the largest F16, or all but zero.
  check_heads({3, 1, 1, 64, false, false, false, 1e5f});
  check_heads({3, 1, 1, 64, false, false, true, 1e5f});
  check_heads({3, 1, 1, 64, false, false, true, 1e-20f});
}
