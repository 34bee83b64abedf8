// Compares correct kernels of every kind (correct.metal) with plain references. The emulator must give the right
// numbers and raise no false alarm in any mode.
#include <algorithm>
#include <cmath>

#include "kernel_test.h"

using namespace hearth::test;

namespace {

constexpr float kMxfp4[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0f, -0.5, -1, -1.5, -2, -3, -4, -6};

std::vector<_Float16> random_halves(size_t count) {
  std::vector<_Float16> halves(count);
  const auto values = random_values(count);
  for (size_t i = 0; i < count; i++) halves[i] = static_cast<_Float16>(values[i]);
  return halves;
}

}  // namespace

KERNEL_TEST(rmsnorm) {
  const uint32_t width = 2880, rows = all_sizes() ? 16 : 2, threads = all_sizes() ? 512 : 128;
  const auto x = random_values(width * rows), weight = random_values(width);
  auto y = unset<float>(width * rows);
  std::vector<float> want(width * rows);
  for (uint32_t i = 0; i < rows; i++) {
    double sum = 0;
    for (uint32_t j = 0; j < width; j++) sum += double(x[i * width + j]) * x[i * width + j];
    const double scale = 1 / std::sqrt(sum / width + 1e-5);
    for (uint32_t j = 0; j < width; j++) want[i * width + j] = static_cast<float>(x[i * width + j] * scale * weight[j]);
  }
  const struct {
    uint32_t n4;
    float inverse_n, epsilon;
  } args{width / 4, 1.0f / width, 1e-5f};
  Launch("rmsnorm_f32").bytes(0, args).read(1, x).read(2, weight).write(3, y).run({rows, 1, 1}, {threads, 1, 1});
  expect_close("y", y, want, 1e-5);
}

KERNEL_TEST(matvec_mxfp4) {
  const uint32_t width = 2880, rows = all_sizes() ? 720 : 30, blocks = width / 32, rows_a_simdgroup = 2;
  std::vector<uint8_t> weights(size_t{rows} * blocks * 17);
  const auto x = random_values(width);
  for (size_t i = 0; i < weights.size(); i++)
    weights[i] = static_cast<uint8_t>(i % 17 == 0 ? 118 + generator()() % 6 : generator()());
  std::vector<float> want(rows);
  for (uint32_t i = 0; i < rows; i++) {
    double sum = 0;
    for (uint32_t b = 0; b < blocks; b++) {
      const uint8_t* block = &weights[(size_t{i} * blocks + b) * 17];
      for (uint32_t j = 0; j < 16; j++)
        sum += std::ldexp(1.0, block[0] - 127) *
               (kMxfp4[block[1 + j] & 15] * x[b * 32 + j] + kMxfp4[block[1 + j] >> 4] * x[b * 32 + 16 + j]);
    }
    want[i] = static_cast<float>(sum);
  }
  const struct {
    uint32_t blocks, rows;
  } args{blocks, rows};
  auto y = unset<float>(rows);
  Launch("matvec_mxfp4")
      .constant(0, rows_a_simdgroup)
      .bytes(0, args)
      .read(1, weights)
      .read(2, x)
      .write(3, y)
      .threadgroup_memory(0, 64)
      .run({(rows + 3) / 4, 1, 1}, {64, 1, 1});
  expect_close("y", y, want, 1e-5);
}

KERNEL_TEST(matmul_f16) {
  const bool large = all_sizes();
  const uint32_t m = large ? 128 : 40, n = large ? 256 : 40, k = large ? 512 : 72;
  const auto a = random_halves(m * k), b = random_halves(n * k);
  std::vector<float> want(m * n);
  for (uint32_t i = 0; i < m; i++)
    for (uint32_t j = 0; j < n; j++) {
      double sum = 0;
      for (uint32_t l = 0; l < k; l++) sum += double(a[i * k + l]) * double(b[j * k + l]);
      want[i * n + j] = static_cast<float>(sum);
    }
  const struct {
    uint32_t m, n, k;
  } args{m, n, k};
  auto c = unset<float>(m * n);
  Launch("matmul_f16")
      .bytes(0, args)
      .read(1, a)
      .read(2, b)
      .write(3, c)
      .run({(n + 31) / 32, (m + 31) / 32, 1}, {128, 1, 1});
  expect_close("c", c, want, 1e-5);
}

KERNEL_TEST(attention_with_sink) {
  const uint32_t keys = all_sizes() ? 1000 : 37, heads = all_sizes() ? 64 : 8, heads_kv = heads / 8, length = 64;
  const auto q = random_values(heads * length), sinks = random_values(heads);
  const auto k = random_halves(size_t{keys} * heads_kv * length), v = random_halves(k.size());
  std::vector<float> want(heads * length);
  for (uint32_t h = 0; h < heads; h++) {
    const auto at = [&](uint32_t t, uint32_t j) { return (t * heads_kv + h / 8) * length + j; };
    std::vector<double> score(keys);
    double most = sinks[h], sum = 0;
    for (uint32_t t = 0; t < keys; t++) {
      for (uint32_t j = 0; j < length; j++) score[t] += 0.125 * q[h * length + j] * double(k[at(t, j)]);
      most = std::max(most, score[t]);
    }
    for (auto& s : score) sum += s = std::exp(s - most);
    sum += std::exp(sinks[h] - most);
    for (uint32_t j = 0; j < length; j++) {
      double out = 0;
      for (uint32_t t = 0; t < keys; t++) out += score[t] * double(v[at(t, j)]);
      want[h * length + j] = static_cast<float>(out / sum);
    }
  }
  const struct {
    uint32_t keys, heads, heads_kv;
    float scale;
    uint32_t window;
  } args{keys, heads, heads_kv, 0.125f, 0};
  auto out = unset<float>(heads * length);
  Launch("attn_sink_f16")
      .bytes(0, args)
      .read(1, q)
      .read(2, k)
      .read(3, v)
      .read(4, sinks)
      .write(5, out)
      .run({heads, 1, 1}, {128, 1, 1});
  expect_close("out", out, want, 1e-5);
}
