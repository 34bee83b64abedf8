// Compares attention with attention_merge, and attention_rows, with double precision, and with each other bit for bit.
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

/// A layer's cache with several sequences in shuffled blocks, and the rows that attend to them.
struct FilledCache {
  explicit FilledCache(const AttentionCase& attention_case);

  /// The first position that a row sees.
  uint32_t first_seen(const RowInfo& row) const {
    return c.window && row.position >= c.window ? row.position - c.window + 1 : 0;
  }
  /// Where `keys` and `values` have what a row sees of position `p` in a KV head.
  uint32_t cell(const RowInfo& row, uint32_t p, uint32_t head) const {
    return (tables[row.table + p / 32] * 32 + p % 32) * c.heads_kv + head;
  }

  const AttentionCase& c;
  CacheShape shape{c.heads_kv, c.length, c.q8};
  std::vector<RowInfo> info;
  std::vector<uint32_t> tables;
  std::vector<RowTile> tiles;
  uint32_t slots = 0;
  std::vector<uint8_t> bytes;
  /// What the cache keeps of keys and values, by cell; empty where no row may look.
  std::vector<std::vector<float>> keys, values;

 private:
  void add_rows(uint32_t blocks);
  void fill(uint32_t blocks);
};

FilledCache::FilledCache(const AttentionCase& attention_case) : c(attention_case) {
  uint32_t blocks = 0;
  for (const Sequence& s : c.sequences) blocks += groups(s.first_position + s.rows, 32);
  add_rows(blocks);
  fill(blocks);
}

void FilledCache::add_rows(uint32_t blocks) {
  std::vector<uint32_t> block_of;
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
}

/// Keys and values that no row may see stay NaN.
void FilledCache::fill(uint32_t blocks) {
  bytes = shape.empty(blocks);
  keys.resize(blocks * 32 * c.heads_kv);
  values.resize(keys.size());
  for (const RowInfo& row : info)
    for (uint32_t p = first_seen(row); p <= row.position; p++)
      for (uint32_t head = 0; head < c.heads_kv; head++) {
        const uint32_t at = cell(row, p, head);
        if (!keys[at].empty()) continue;
        uint8_t* block = &bytes[tables[row.table + p / 32] * shape.block_bytes()];
        keys[at] = shape.store(block, head, false, p % 32, random_values(c.length));
        values[at] = shape.store(block, head, true, p % 32, random_values(c.length));
      }
}

/// One check of the attention kernels: its inputs, a run of each kernel and the reference.
struct AttentionCheck {
  const AttentionCase& c;

  FilledCache cache{c};
  uint32_t rows = static_cast<uint32_t>(cache.info.size()), width = c.heads * c.length;
  uint32_t stride = activation_stride(width), per_group = c.heads / c.heads_kv, slices = groups(per_group, 8);
  std::vector<float> q = random_rows(rows, width), sinks = random_values(c.heads);
  AttentionArgs args{rows,
                     0,
                     cache.slots,
                     c.heads,
                     c.heads_kv,
                     c.length,
                     c.window,
                     1 / std::sqrt(static_cast<float>(c.length)),
                     {cache.shape.block_bytes(), cache.shape.head_bytes()}};

  void check_all() const {
    const std::vector<float> want = wanted();
    const std::string name = "attention of " + std::to_string(rows) + " rows, head length " + std::to_string(c.length) +
                             ", window " + std::to_string(c.window);
    const std::vector<float> split = split_attention(rows, 3);
    expect_rows(name.c_str(), split, want, rows, width, 5e-6);
    if (rows > 3 && rows <= 40) expect_same_rows(name.c_str(), split_attention(3, 4), split, rows, width);
    if (c.length > 128) return;
    const std::string ending = c.length <= 64 ? "_d64" : "_d128";
    Launch tiled("attention_rows" + ending);
    tiled.constant(13, c.q8);
    expect_same_rows("attention_rows", tiled_attention(tiled), split, rows, width);
    if (per_group % 8 != 0 || c.q8) return;
    Launch matrix("attention_mm" + ending);
    expect_rows("attention on matrix units", tiled_attention(matrix), want, rows, width, 1e-5);
  }

 private:
  /// The definition, in double precision.
  std::vector<float> wanted() const {
    std::vector<float> want(rows * stride);
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t head = 0; head < c.heads; head++) {
        const std::vector<double> out = wanted_head(cache.info[r], &q[r * stride + head * c.length], head);
        for (uint32_t d = 0; d < c.length; d++) want[r * stride + head * c.length + d] = static_cast<float>(out[d]);
      }
    return want;
  }
  std::vector<double> wanted_head(const RowInfo& row, const float* query, uint32_t head) const {
    const uint32_t first = cache.first_seen(row);
    const auto at = [&](uint32_t p) { return cache.cell(row, p, head / per_group); };
    std::vector<double> score;
    double largest = sinks[head];
    for (uint32_t p = first; p <= row.position; p++) {
      double s = 0;
      for (uint32_t d = 0; d < c.length; d++)
        s += static_cast<double>(query[d]) * static_cast<double>(cache.keys[at(p)][d]);
      score.push_back(s * args.scale);
      largest = std::max(largest, score.back());
    }
    double total = std::exp(sinks[head] - largest);
    std::vector<double> out(c.length);
    for (uint32_t p = first; p <= row.position; p++) {
      const double share = std::exp(score[p - first] - largest);
      total += share;
      for (uint32_t d = 0; d < c.length; d++) out[d] += share * static_cast<double>(cache.values[at(p)][d]);
    }
    for (double& value : out) value /= total;
    return out;
  }

  /// attention and attention_merge, with so many rows a launch.
  std::vector<float> split_attention(uint32_t rows_at_once, uint32_t simdgroups) const {
    auto a = unset<float>(rows * stride);
    for (uint32_t first = 0; first < rows; first += rows_at_once) {
      AttentionArgs part = args;
      part.first_row = first;
      part.rows = std::min(rows_at_once, rows - first);
      auto part_out = unset<float>(part.rows * cache.slots * width);
      auto part_state = unset<float>(part.rows * cache.slots * c.heads * 2);
      Launch attention("attention"), merge("attention_merge");
      attention.constant(13, c.q8);
      fix_sizes(attention)
          .bytes(0, part)
          .read(1, q)
          .read(2, cache.bytes)
          .read(3, cache.info)
          .read(4, cache.tables)
          .write(5, part_out)
          .write(6, part_state)
          .bytes(30, kGo)
          .run({groups(cache.slots, simdgroups), c.heads_kv * slices, part.rows}, {32 * simdgroups, 1, 1});
      if (c.length == 64) merge.constant(8, c.length);
      merge.bytes(0, part)
          .read(1, part_out)
          .read(2, part_state)
          .read(3, cache.info)
          .read(4, sinks)
          .write(5, a)
          .bytes(30, kGo)
          .run({groups(c.heads, 2), part.rows, 1}, {64, 1, 1});
    }
    return a;
  }
  /// A kernel whose threadgroups take tiles of rows.
  std::vector<float> tiled_attention(Launch& launch) const {
    auto a = unset<float>(rows * stride);
    fix_sizes(launch)
        .bytes(0, args)
        .read(1, q)
        .read(2, cache.bytes)
        .read(3, cache.info)
        .read(4, cache.tables)
        .read(5, sinks)
        .write(6, a)
        .read(7, cache.tiles)
        .bytes(30, kGo)
        .run({static_cast<uint32_t>(cache.tiles.size()), c.heads_kv * slices, 1}, {256, 1, 1});
    return a;
  }
  /// Gives the kernel its sizes as constants in some of the cases, so that both ways are tested.
  Launch& fix_sizes(Launch& launch) const {
    return c.length == 64 ? launch.constant(8, c.length).constant(9, per_group) : launch;
  }
};

void check_attention(const AttentionCase& c) { AttentionCheck{c}.check_all(); }

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
