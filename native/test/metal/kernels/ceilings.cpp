// ceiling_read and ceiling_multiply_add: what each simdgroup sums up.
#include "support.h"

using namespace hearth;
using namespace hearth::test;

KERNEL_TEST(ceiling_read) {
  for (const uint32_t count :
       all_sizes() ? std::vector<uint32_t>{1, 64, 257, 1024, 5000} : std::vector<uint32_t>{1, 300})
    for (const uint32_t groups : {1u, 3u}) {
      const uint32_t threads = 64, all = groups * threads;
      std::vector<uint32_t> words(4 * count);
      for (uint32_t& word : words) word = static_cast<uint32_t>(generator()());
      std::vector<uint32_t> sums(all / gpu::kSimdWidth), want(sums.size());
      for (uint32_t i = 0; i < count; i++)
        for (uint32_t w = 0; w < 4; w++) want[i % all / gpu::kSimdWidth] += words[4 * i + w];
      Launch("ceiling_read")
          .bytes(0, gpu::CeilingArgs{count, 0, 0})
          .read(1, words)
          .write(2, sums)
          .read(gpu::kStopBuffer, &kGo, 4)
          .run({groups, 1, 1}, {threads, 1, 1});
      if (sums != want) fail_test("sums of %u words by %u threads are wrong", count, all);
    }
}

KERNEL_TEST(ceiling_multiply_add) {
  const uint32_t groups = 2, threads = 64;
  for (const uint32_t turns : {0u, 1u, 7u, 60u}) {
    std::vector<float> sums(groups * threads / gpu::kSimdWidth);
    Launch("ceiling_multiply_add")
        .bytes(0, gpu::CeilingArgs{turns, 0.5f, 1.0f})
        .write(1, sums)
        .read(gpu::kStopBuffer, &kGo, 4)
        .run({groups, 1, 1}, {threads, 1, 1});
    double want = 0;
    for (uint32_t lane = 0; lane < gpu::kSimdWidth; lane++)
      for (uint32_t c = 0; c < gpu::kCeilingChains; c++)
        for (double value : {static_cast<double>(lane), static_cast<double>(c), 1.0, 0.0}) {
          for (uint32_t turn = 0; turn < turns; turn++) value = value / 2 + 1;
          want += value;
        }
    expect_close("sums", sums, std::vector<float>(sums.size(), static_cast<float>(want)), 1e-5);
  }
}
