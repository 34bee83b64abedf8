// Compares router, expert_lists, gate_up, down, down_sum and expert_sum with references and with each other. They must
// agree bit for bit, except on matrix units.
#include <algorithm>
#include <limits>
#include <numeric>

#include "support.h"

using namespace hearth;
using namespace hearth::test;
using namespace hearth::gpu;

namespace {

/// Random choices: `used` different experts for each row.
std::vector<Choice> random_choices(uint32_t rows, uint32_t experts, uint32_t used) {
  std::vector<Choice> out;
  std::vector<uint32_t> order(experts);
  std::iota(order.begin(), order.end(), 0);
  for (uint32_t r = 0; r < rows; r++) {
    std::shuffle(order.begin(), order.end(), generator());
    for (uint32_t u = 0; u < used; u++) out.push_back({order[u], std::fabs(random_values(1)[0])});
  }
  return out;
}

struct Lists {
  std::vector<uint32_t> lists;
  std::vector<ExpertTile> tiles;
  std::vector<uint32_t> count = {0};
};

Lists make_lists(const std::vector<Choice>& choices, uint32_t rows, uint32_t experts, uint32_t used, uint32_t tile) {
  Lists out;
  out.lists = unset<uint32_t>(experts * rows);
  out.tiles = unset<ExpertTile>(max_expert_tiles(rows, experts, used, tile));
  Launch("expert_lists")
      .bytes(0, ExpertListsArgs{rows, experts, used, tile})
      .read(1, choices)
      .write(2, out.lists)
      .write(3, out.tiles)
      .write(4, out.count)
      .bytes(30, kGo)
      .run({1, 1, 1}, {128, 1, 1});
  return out;
}

}  // namespace

KERNEL_TEST(router) {
  struct Case {
    TensorType type;
    uint32_t width, rows, experts, used;
  };
  const auto cases = all_sizes() ? std::vector<Case>{{TensorType::F32, 2880, 2, 32, 4},
                                                     {TensorType::F32, 45, 3, 5, 5},
                                                     {TensorType::BF16, 96, 20, 130, 8},
                                                     {TensorType::Q8_0, 64, 33, 8, 1}}
                                 : std::vector<Case>{{TensorType::F32, 45, 2, 7, 3}};
  for (const Case& c : cases) {
    const Weights w(c.type, c.experts, static_cast<int>(c.width));
    const auto x = random_rows(c.rows, c.width), norm = random_values(c.width);
    auto bias = random_values(c.experts);
    auto h = unset<float>(c.rows * activation_stride(c.width)), normed = h;
    auto choices = unset<Choice>(c.rows * c.used);
    Launch("router")
        .constant(1, id(c.type))
        .bytes(0, RouterArgs{c.width, c.experts, c.used, 1e-5f})
        .read(1, x)
        .read(2, norm)
        .read(3, w.data(), w.bytes())
        .read(4, bias)
        .write(5, h)
        .write(6, choices)
        .bytes(30, kGo)
        .run({c.rows, 1, 1}, {256, 1, 1});
    std::vector<uint32_t> identity(c.rows);
    Launch("norm")
        .constant(7, false)
        .bytes(0, NormArgs{c.width, 1e-5f})
        .read(1, x)
        .read(2, norm)
        .write(3, normed)
        .read(4, identity)
        .bytes(30, kGo)
        .run({c.rows, 1, 1}, {256, 1, 1});
    expect_same_rows("h", h, normed, c.rows, c.width);
    for (uint32_t r = 0; r < c.rows; r++) {
      std::vector<float> scores(c.experts);
      for (uint32_t e = 0; e < c.experts; e++)
        scores[e] = ordered_dot(w.row(e).data(), &normed[r * activation_stride(c.width)], c.width) + bias[e];
      std::vector<uint32_t> order(c.experts);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
      double total = 0;
      for (uint32_t u = 0; u < c.used; u++) total += std::exp(static_cast<double>(scores[order[u]]) - scores[order[0]]);
      for (uint32_t u = 0; u < c.used; u++) {
        const Choice& choice = choices[r * c.used + u];
        const double weight = std::exp(static_cast<double>(scores[order[u]]) - scores[order[0]]) / total;
        if (choice.expert != order[u])
          fail_test("row %u, choice %u: expert %u instead of %u", r, u, choice.expert, order[u]);
        if (!(std::fabs(choice.weight - weight) < 1e-6))
          fail_test("row %u, choice %u: weight %g instead of %g", r, u, double(choice.weight), weight);
      }
    }
  }
}

KERNEL_TEST(router_ties_and_nan) {
  // Where all scores are equal, the lowest numbers win. Where they are NaN, the choices stay valid and different.
  const uint32_t width = 32, experts = 40, used = 4;
  const Weights w(TensorType::F32, experts, static_cast<int>(width), 0.0f);
  const std::vector<float> norm(width, 1.0f), bias(experts, 0.25f);
  for (const bool poisoned : {false, true}) {
    auto x = random_rows(1, width);
    if (poisoned) x[3] = NAN;
    auto h = unset<float>(width);
    auto choices = unset<Choice>(used);
    Launch("router")
        .constant(1, id(TensorType::F32))
        .bytes(0, RouterArgs{width, experts, used, 1e-5f})
        .read(1, x)
        .read(2, norm)
        .read(3, w.data(), w.bytes())
        .read(4, bias)
        .write(5, h)
        .write(6, choices)
        .bytes(30, kGo)
        .run({1, 1, 1}, {256, 1, 1});
    for (uint32_t u = 0; u < used; u++)
      if (choices[u].expert != u || choices[u].weight != 0.25f)
        fail_test("choice %u: expert %u, weight %g", u, choices[u].expert, double(choices[u].weight));
  }
}

KERNEL_TEST(expert_lists) {
  struct Case {
    uint32_t rows, experts, used, tile;
  };
  const auto cases = all_sizes() ? std::vector<Case>{{2, 32, 4, 2}, {20, 32, 4, 8}, {33, 3, 2, 8}, {200, 128, 4, 32}}
                                 : std::vector<Case>{{5, 6, 2, 2}};
  for (const Case& c : cases) {
    const auto choices = random_choices(c.rows, c.experts, c.used);
    const Lists got = make_lists(choices, c.rows, c.experts, c.used, c.tile);
    uint32_t tile = 0;
    for (uint32_t e = 0; e < c.experts; e++) {
      std::vector<uint32_t> want;
      for (uint32_t i = 0; i < choices.size(); i++)
        if (choices[i].expert == e) want.push_back(i);
      expect_same("list", std::vector<uint32_t>(&got.lists[e * c.rows], &got.lists[e * c.rows] + want.size()), want);
      for (uint32_t first = 0; first < want.size(); first += c.tile, tile++) {
        if (tile >= got.tiles.size()) return fail_test("more tiles than max_expert_tiles");
        const ExpertTile& t = got.tiles[tile];
        if (t.expert != e || t.first != first ||
            t.count != std::min<uint32_t>(c.tile, static_cast<uint32_t>(want.size()) - first))
          fail_test("tile %u: expert %u, %u + %u", tile, t.expert, t.first, t.count);
      }
    }
    if (got.count[0] != tile) fail_test("%u tiles instead of %u", got.count[0], tile);
  }
}

namespace {

struct ExpertCase {
  TensorType gate, up, down;
  uint32_t width, hidden, rows, experts, used;
  bool clamped = true;
};

float swiglu(float gate, float up, bool clamped) {
  if (!clamped) return gate / (1.0f + std::exp(-gate)) * up;
  const float g = std::min(gate, 7.0f), u = std::clamp(up, -7.0f, 7.0f);
  return g / (1.0f + std::exp(-1.702f * g)) * (u + 1.0f);
}

/// One check of the experts' kernels: its inputs, a run of each kernel and the references.
struct ExpertCheck {
  ExpertCase c;

  Weights gate{c.gate, c.experts * c.hidden, static_cast<int>(c.width)},
      up{c.up, c.experts * c.hidden, static_cast<int>(c.width)},
      down{c.down, c.experts * c.width, static_cast<int>(c.hidden)};
  std::vector<float> gate_bias = random_values(c.experts * c.hidden), up_bias = random_values(c.experts * c.hidden),
                     down_bias = random_values(c.experts * c.width);
  std::vector<float> h = random_rows(c.rows, c.width, 3.0f), x = random_rows(c.rows, c.width);
  std::vector<Choice> choices = random_choices(c.rows, c.experts, c.used);
  /// Floats from one row to the next, for rows of c.width and rows of c.hidden values.
  size_t in = activation_stride(c.width), mid = activation_stride(c.hidden);
  size_t assigned = c.rows * c.used;
  ExpertArgs up_args{c.width,
                     c.hidden,
                     c.rows,
                     c.used,
                     c.clamped ? 1.702f : 1.0f,
                     c.clamped ? 7.0f : std::numeric_limits<float>::max(),
                     c.clamped ? 1.0f : 0.0f},
      down_args{c.hidden, c.width, c.rows, c.used, 0, 0, 0};

  /// x with the experts' outputs added, in the order of the kernels and in double precision.
  struct Sums {
    std::vector<float> ordered, exact;
  };

  void check_all() const {
    const std::vector<float> want_act = wanted_activations();
    const std::vector<float> act = gate_up(1, nullptr);
    expect_same_rows("activations", act, want_act, assigned, c.hidden);

    // From here on the input is the kernel's own activations, so that a deviation in them is not reported twice.
    const Sums want = wanted_sums(act);
    const std::vector<float> got = down_sum(act);
    expect_same_rows("down_sum", got, want.ordered, c.rows, c.width);
    expect_rows("down_sum", got, want.exact, c.rows, c.width, 1e-5);

    for (const int columns : {2, 4, 8, 1}) {
      if (columns != 8 && (!all_sizes() || c.width > 1000 || c.rows > 20)) continue;
      const Lists lists = make_lists(choices, c.rows, c.experts, c.used, columns == 4 ? 4 : kExpertTile);
      expect_same_rows("grouped activations", gate_up(columns, &lists), want_act, assigned, c.hidden);
      expect_same_rows("down and expert_sum", expert_sum(grouped_down(columns, lists, act)), want.ordered, c.rows,
                       c.width);
    }

    const Lists lists = make_lists(choices, c.rows, c.experts, c.used, kMatrixColumns);
    expect_rows("activations, matrix units", matrix_gate_up(lists), want_act, assigned, c.hidden, 1e-4);
    expect_rows("down, matrix units", expert_sum(matrix_down(lists, act)), want.exact, c.rows, c.width, 1e-5);
  }

 private:
  std::vector<float> wanted_activations() const {
    std::vector<float> out(assigned * mid);
    for (uint32_t i = 0; i < assigned; i++)
      for (uint32_t o = 0; o < c.hidden; o++) {
        const int64_t row = choices[i].expert * c.hidden + o;
        const float* from = &h[i / c.used * in];
        out[i * mid + o] =
            swiglu(ordered_dot(gate.row(row).data(), from, c.width) + gate_bias[static_cast<size_t>(row)],
                   ordered_dot(up.row(row).data(), from, c.width) + up_bias[static_cast<size_t>(row)], c.clamped);
      }
    return out;
  }
  Sums wanted_sums(const std::vector<float>& act) const {
    Sums out{x, x};
    for (uint32_t r = 0; r < c.rows; r++)
      for (uint32_t o = 0; o < c.width; o++) {
        float total = x[r * in + o];
        double sum = total;
        for (uint32_t u = 0; u < c.used; u++) {
          const uint32_t i = r * c.used + u;
          const auto row = down.row(choices[i].expert * c.width + o);
          const float bias = down_bias[choices[i].expert * c.width + o];
          total = std::fma(choices[i].weight, ordered_dot(row.data(), &act[i * mid], c.hidden) + bias, total);
          sum += choices[i].weight * (exact_dot(row.data(), &act[i * mid], c.hidden) + bias);
        }
        out.ordered[r * in + o] = total;
        out.exact[r * in + o] = static_cast<float>(sum);
      }
    return out;
  }

  /// Without lists, each threadgroup computes for one choice.
  std::vector<float> gate_up(int columns, const Lists* lists) const {
    auto act = unset<float>(assigned * mid);
    const Lists none{{0}, {{}}, {0}};
    const Lists& l = lists ? *lists : none;
    Launch launch("gate_up_c" + std::to_string(columns));
    if (c.width % 64 == 0) launch.constant(0, c.width);
    launch.constant(1, id(c.gate))
        .constant(2, id(c.up))
        .constant(6, lists == nullptr)
        .bytes(0, up_args)
        .read(1, gate.data(), gate.bytes())
        .read(2, up.data(), up.bytes())
        .read(3, gate_bias)
        .read(4, up_bias)
        .read(5, h)
        .read(6, choices)
        .read(7, l.lists)
        .read(8, l.tiles)
        .read(9, l.count)
        .write(10, act)
        .bytes(30, kGo)
        .run({groups(c.hidden, 4), static_cast<uint32_t>(lists ? l.tiles.size() : assigned), 1}, {64, 1, 1});
    return act;
  }
  std::vector<float> matrix_gate_up(const Lists& lists) const {
    auto act = unset<float>(assigned * mid);
    Launch("gate_up_mm")
        .constant(1, id(c.gate))
        .constant(2, id(c.up))
        .bytes(0, up_args)
        .read(1, gate.data(), gate.bytes())
        .read(2, up.data(), up.bytes())
        .read(3, gate_bias)
        .read(4, up_bias)
        .read(5, h)
        .read(7, lists.lists)
        .read(8, lists.tiles)
        .read(9, lists.count)
        .write(10, act)
        .bytes(30, kGo)
        .run({groups(c.hidden, 32), static_cast<uint32_t>(lists.tiles.size()), 1}, {128, 1, 1});
    return act;
  }

  std::vector<float> down_sum(const std::vector<float>& act) const {
    auto out = x;
    Launch("down_sum")
        .constant(1, id(c.down))
        .bytes(0, down_args)
        .read(1, down.data(), down.bytes())
        .read(2, down_bias)
        .read(3, act)
        .read(4, choices)
        .write(5, out)
        .bytes(30, kGo)
        .run({groups(c.width, 8), c.rows, 1}, {64, 1, 1});
    return out;
  }
  std::vector<float> grouped_down(int columns, const Lists& lists, const std::vector<float>& act) const {
    Launch launch("down_c" + std::to_string(columns));
    launch.constant(0, c.hidden);
    return run_down(launch, lists, act, groups(c.width, 8), 64);
  }
  std::vector<float> matrix_down(const Lists& lists, const std::vector<float>& act) const {
    Launch launch("down_mm");
    return run_down(launch, lists, act, groups(c.width, kMatrixOutputs), 128);
  }
  std::vector<float> run_down(Launch& launch, const Lists& lists, const std::vector<float>& act, uint32_t across,
                              uint32_t threads) const {
    auto out = unset<float>(assigned * in);
    launch.constant(1, id(c.down))
        .bytes(0, down_args)
        .read(1, down.data(), down.bytes())
        .read(2, down_bias)
        .read(3, act)
        .read(4, lists.lists)
        .read(5, lists.tiles)
        .read(6, lists.count)
        .write(7, out)
        .bytes(30, kGo)
        .run({across, static_cast<uint32_t>(lists.tiles.size()), 1}, {threads, 1, 1});
    return out;
  }
  std::vector<float> expert_sum(const std::vector<float>& out) const {
    auto sum = x;
    Launch("expert_sum")
        .bytes(0, down_args)
        .read(1, out)
        .read(2, choices)
        .write(3, sum)
        .bytes(30, kGo)
        .run({groups(c.width, 64), c.rows, 1}, {64, 1, 1});
    return sum;
  }
};

void check_experts(const ExpertCase& c) { ExpertCheck{c}.check_all(); }

}  // namespace

KERNEL_TEST(experts) {
  using enum TensorType;
  if (!all_sizes()) return check_experts({MXFP4, MXFP4, MXFP4, 32, 32, 3, 3, 2});
  check_experts({MXFP4, MXFP4, MXFP4, 2880, 32, 1, 2, 2});
  check_experts({MXFP4, MXFP4, MXFP4, 32, 2880, 2, 2, 1});
  check_experts({MXFP4, MXFP4, MXFP4, 96, 32, 8, 4, 2});
  check_experts({Q8_0, MXFP4, BF16, 32, 96, 20, 5, 2});
  check_experts({F16, F32, F32, 45, 7, 33, 6, 4, false});
  check_experts({Q4_K, Q5_K, Q5_0, 256, 64, 3, 3, 2, false});
  check_experts({MXFP4, MXFP4, MXFP4, 32, 32, 130, 12, 2});
}
