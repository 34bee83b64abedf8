// attention with attention_merge, and attention_rows: against double precision, and each other bit for bit.
#include <algorithm>
#include <cstring>

#include "support.h"

using namespace hearth;
using namespace hearth::test;
using namespace hearth::gpu;

namespace {

struct Sequence {
  uint32_t first_position, rows;
};
struct AttentionCase {
  uint32_t heads, heads_kv, length, window;
  std::vector<Sequence> sequences;
  bool q8 = false;
};

void check_attention(const AttentionCase& c) {
  const CacheShape shape{c.heads_kv, c.length, c.q8};
  const uint32_t head_bytes = shape.head_bytes(), block_bytes = shape.block_bytes(), per_group = c.heads / c.heads_kv;
  std::vector<RowInfo> info;
  std::vector<uint32_t> tables, block_of;
  std::vector<RowTile> tiles;
  uint32_t blocks = 0, slots = 0;
  for (const Sequence& s : c.sequences) blocks += groups(s.first_position + s.rows, 32);
  for (uint32_t b = 0; b < blocks; b++) block_of.push_back(b);
  std::shuffle(block_of.begin(), block_of.end(), generator());
  for (const Sequence& s : c.sequences) {
    const auto table = static_cast<uint32_t>(tables.size());
    for (uint32_t b = 0; b < groups(s.first_position + s.rows, 32); b++) tables.push_back(block_of[tables.size()]);
    for (uint32_t r = 0; r < s.rows; r += kAttentionRowTile)
      tiles.push_back({static_cast<uint32_t>(info.size()) + r, std::min<uint32_t>(kAttentionRowTile, s.rows - r)});
    for (uint32_t r = 0; r < s.rows; r++) {
      info.push_back({s.first_position + r, table});
      slots = std::max(slots, chunk_slots(s.first_position + r, c.window));
    }
  }
  const auto rows = static_cast<uint32_t>(info.size()), width = c.heads * c.length, stride = activation_stride(width);

  // Keys and values no row may see are NaN.
  std::vector<uint8_t> cache = shape.empty(blocks);
  std::vector<std::vector<float>> keys(blocks * 32 * c.heads_kv), values(keys.size());
  const auto cell = [&](const RowInfo& row, uint32_t p, uint32_t head) {
    return (tables[row.table + p / 32] * 32 + p % 32) * c.heads_kv + head;
  };
  for (const RowInfo& row : info)
    for (uint32_t p = c.window && row.position >= c.window ? row.position - c.window + 1 : 0; p <= row.position; p++)
      for (uint32_t head = 0; head < c.heads_kv; head++) {
        const uint32_t at = cell(row, p, head);
        if (!keys[at].empty()) continue;
        keys[at] =
            shape.store(&cache[tables[row.table + p / 32] * block_bytes], head, false, p % 32, random_values(c.length));
        values[at] =
            shape.store(&cache[tables[row.table + p / 32] * block_bytes], head, true, p % 32, random_values(c.length));
      }
  const auto q = random_rows(rows, width), sinks = random_values(c.heads);
  const AttentionArgs args{rows,
                           0,
                           slots,
                           c.heads,
                           c.heads_kv,
                           c.length,
                           c.window,
                           1 / std::sqrt(static_cast<float>(c.length)),
                           {block_bytes, head_bytes}};

  std::vector<float> want(rows * stride);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t head = 0; head < c.heads; head++) {
      const uint32_t position = info[r].position,
                     first = c.window && position >= c.window ? position - c.window + 1 : 0;
      const auto at = [&](uint32_t p) { return cell(info[r], p, head / per_group); };
      std::vector<double> score;
      double largest = sinks[head];
      for (uint32_t p = first; p <= position; p++) {
        double s = 0;
        for (uint32_t d = 0; d < c.length; d++)
          s += static_cast<double>(q[r * stride + head * c.length + d]) * static_cast<double>(keys[at(p)][d]);
        score.push_back(s * args.scale);
        largest = std::max(largest, score.back());
      }
      double total = std::exp(sinks[head] - largest);
      std::vector<double> out(c.length);
      for (uint32_t p = first; p <= position; p++) {
        const double share = std::exp(score[p - first] - largest);
        total += share;
        for (uint32_t d = 0; d < c.length; d++) out[d] += share * static_cast<double>(values[at(p)][d]);
      }
      for (uint32_t d = 0; d < c.length; d++)
        want[r * stride + head * c.length + d] = static_cast<float>(out[d] / total);
    }

  const auto constants = [&](Launch& launch, bool matrices = false) -> Launch& {
    if (!matrices) launch.constant(13, c.q8);
    if (c.length == 64) launch.constant(8, c.length).constant(9, per_group);
    return launch;
  };
  const uint32_t slices = groups(per_group, 8);
  // All rows in one launch, then in slices of other sizes.
  std::vector<float> split;
  for (const uint32_t slice : rows > 3 && rows <= 40 ? std::vector<uint32_t>{rows, 3} : std::vector<uint32_t>{rows}) {
    const uint32_t simdgroups = slice == rows ? 3 : 4;
    auto a = unset<float>(rows * stride);
    for (uint32_t first = 0; first < rows; first += slice) {
      AttentionArgs part = args;
      part.first_row = first;
      part.rows = std::min(slice, rows - first);
      auto part_out = unset<float>(part.rows * slots * width);
      auto part_state = unset<float>(part.rows * slots * c.heads * 2);
      Launch attention("attention"), merge("attention_merge");
      constants(attention)
          .bytes(0, part)
          .read(1, q)
          .read(2, cache)
          .read(3, info)
          .read(4, tables)
          .write(5, part_out)
          .write(6, part_state)
          .bytes(30, kGo)
          .run({groups(slots, simdgroups), c.heads_kv * slices, part.rows}, {32 * simdgroups, 1, 1});
      if (c.length == 64) merge.constant(8, c.length);
      merge.bytes(0, part)
          .read(1, part_out)
          .read(2, part_state)
          .read(3, info)
          .read(4, sinks)
          .write(5, a)
          .bytes(30, kGo)
          .run({groups(c.heads, 2), part.rows, 1}, {64, 1, 1});
    }
    const std::string name = "attention of " + std::to_string(rows) + " rows, head length " + std::to_string(c.length) +
                             ", window " + std::to_string(c.window);
    expect_rows(name.c_str(), a, want, rows, width, 5e-6);
    if (split.empty()) split = a;
    expect_same_rows(name.c_str(), a, split, rows, width);
  }
  if (c.length > 128) return;
  auto a = unset<float>(rows * stride);
  Launch launch(c.length <= 64 ? "attention_rows_d64" : "attention_rows_d128");
  constants(launch)
      .bytes(0, args)
      .read(1, q)
      .read(2, cache)
      .read(3, info)
      .read(4, tables)
      .read(5, sinks)
      .write(6, a)
      .read(7, tiles)
      .bytes(30, kGo)
      .run({static_cast<uint32_t>(tiles.size()), c.heads_kv * slices, 1}, {256, 1, 1});
  expect_same_rows("attention_rows", a, split, rows, width);
  if (per_group % 8 != 0 || c.q8) return;
  a = unset<float>(rows * stride);
  Launch matrix(c.length <= 64 ? "attention_mm_d64" : "attention_mm_d128");
  constants(matrix, true)
      .bytes(0, args)
      .read(1, q)
      .read(2, cache)
      .read(3, info)
      .read(4, tables)
      .read(5, sinks)
      .write(6, a)
      .read(7, tiles)
      .bytes(30, kGo)
      .run({static_cast<uint32_t>(tiles.size()), c.heads_kv * slices, 1}, {256, 1, 1});
  expect_rows("attention on matrix units", a, want, rows, width, 1e-5);
}

}  // namespace

KERNEL_TEST(attention) {
  if (!all_sizes()) {
    check_attention({4, 2, 8, 0, {{2, 1}, {30, 3}, {129, 1}}});
    check_attention({2, 1, 40, 0, {{30, 3}}, true});
    return check_attention({8, 1, 8, 40, {{60, 2}}});
  }
  check_attention({8, 1, 64, 0, {{0, 1}, {31, 1}, {32, 1}, {127, 1}, {128, 1}, {300, 8}}});
  check_attention({8, 1, 64, 128, {{5, 1}, {127, 2}, {255, 1}, {256, 1}, {700, 9}}});
  check_attention({2, 2, 8, 33, {{0, 33}, {200, 20}}});
  check_attention({10, 1, 24, 0, {{40, 2}}});
  check_attention({2, 1, 128, 100, {{90, 40}}});
  check_attention({16, 1, 72, 50, {{100, 3}}});
  check_attention({1, 1, 200, 0, {{64, 1}}});
  check_attention({2, 1, 64, 0, {{4200, 2}}});
  check_attention({1, 1, 16, 0, {{0, 130}}});
  check_attention({1, 1, 32, 4100, {{4150, 2}}});
  check_attention({6, 2, 128, 0, {{0, 1}, {127, 2}, {300, 9}}, true});
  check_attention({8, 1, 64, 128, {{5, 1}, {255, 1}, {700, 33}}, true});
  check_attention({3, 1, 24, 0, {{40, 2}, {4150, 1}}, true});
  check_attention({2, 1, 200, 50, {{64, 3}}, true});
}
