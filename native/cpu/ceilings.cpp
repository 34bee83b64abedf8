#include "ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "../core/error.h"
#include "kernels.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hearth::cpu {

namespace {

/// Bytes to read, more than the caches hold. Servers have an L3 cache of hundreds of MB, from which a loop would read
/// faster than from memory.
size_t memory_to_read() {
  constexpr size_t kLeast = size_t{512} << 20;
#ifdef _SC_LEVEL3_CACHE_SIZE
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  if (cache > 0) return std::max(kLeast, size_t{3} * static_cast<size_t>(cache) / kLeast * kLeast);
#endif
  return kLeast;
}

constexpr int kRounds = 5;
constexpr long kTurns = 400000;

volatile uint64_t sink;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The median time of several rounds, in seconds. A single round may meet a burst of speed, or somebody else's work,
/// and then tells nothing about the machine.
template <class Round> double median_time(const Round& round) {
  double times[kRounds];
  for (double& time : times) {
    const double start = seconds();
    round();
    time = seconds() - start;
  }
  std::nth_element(times, times + kRounds / 2, times + kRounds);
  return times[kRounds / 2];
}

/// Adds up all words of `bytes` bytes. It reads in `Streams` places abreast, and prefetches each of them `Ahead` bytes
/// ahead.
template <size_t Streams, size_t Ahead> uint64_t sum_words(const uint8_t* memory, size_t bytes) {
  constexpr size_t kTurn = 256;
  const size_t stream = bytes / Streams / kTurn * kTurn;
  uint64_t sums[kTurn / 8] = {};
  for (size_t i = 0; i < stream; i += kTurn)
    for (size_t s = 0; s < Streams; s++) {
      const uint8_t* turn = memory + s * stream + i;
      if constexpr (Ahead > 0)
        for (size_t line = 0; line < kTurn; line += 64)
          __builtin_prefetch(turn + std::min(Ahead, stream - i - kTurn) + line);
      for (size_t j = 0; j < kTurn / 8; j++) {
        uint64_t word;
        std::memcpy(&word, turn + 8 * j, 8);
        sums[j] += word;
      }
    }
  uint64_t sum = 0;
  for (const uint64_t one : sums) sum += one;
  return sum;
}

/// The ways to read memory. The fastest one depends on the processor and on who else uses its memory.
using Read = uint64_t (*)(const uint8_t* memory, size_t bytes);
constexpr Read kReads[] = {sum_words<1, 0>, sum_words<4, 0>, sum_words<1, 2048>, sum_words<4, 1024>};

}  // namespace

void read_memory(const uint8_t* memory, size_t bytes) { sink = sink + sum_words<1, 0>(memory, bytes); }

#define HEARTH_SIXTEEN(line) ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" line "\n.endr"

namespace {

bool has_feature(const char* name) {
  for (const char* const* feature = cpu_features(); *feature; feature++)
    if (std::strcmp(*feature, name) == 0) return true;
  return false;
}

}  // namespace

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512vnni"))) static double vnni_instructions(long turns) {
  for (long t = 0; t < turns; t++)
    asm volatile(HEARTH_SIXTEEN("vpdpbusd %%zmm17, %%zmm16, %%zmm\\n")::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15");
  return static_cast<double>(turns) * 16 * 64;
}
/// Runs the multiplications alone. AVX2 must also widen and add their sums of two, which is not in the ceiling.
__attribute__((target("avx2"))) static double avx2_instructions(long turns) {
  for (long t = 0; t < turns; t++)
    asm volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13\nvpmaddubsw %%ymm15, %%ymm14, %%ymm\\n\n.endr" ::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13");
  return static_cast<double>(turns) * 14 * 32;
}
double dot_instructions(long turns) {
  return has_feature("avx512vnni") ? vnni_instructions(turns) : avx2_instructions(turns);
}
bool has_dot_instructions() { return has_feature("avx512vnni") || has_feature("avx2"); }

/// Multiplies whole tiles of 16 rows of 64 bytes.
__attribute__((target("amx-tile,amx-int8"))) static double amx_instructions(long turns) {
  struct alignas(64) {
    uint8_t palette = 1, unused[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  asm volatile("ldtilecfg %0" ::"m"(shapes));
  for (long t = 0; t < turns; t++)
    asm volatile(
        "tdpbssd %tmm7, %tmm6, %tmm0\n\ttdpbssd %tmm7, %tmm6, %tmm1\n\t"
        "tdpbssd %tmm7, %tmm6, %tmm2\n\ttdpbssd %tmm7, %tmm6, %tmm3");
  asm volatile("tilerelease");
  return static_cast<double>(turns) * 4 * 16 * 16 * 64;
}
double tile_instructions(long turns) { return has_feature("amxint8") ? amx_instructions(turns) : 0; }
#elif defined(__aarch64__)
double dot_instructions(long turns) {
  for (long t = 0; t < turns; t++)
    asm volatile(".arch armv8.2-a+dotprod\n" HEARTH_SIXTEEN("sdot v\\n\\().4s, v16.16b, v17.16b")::
                     : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14",
                       "v15");
  return static_cast<double>(turns) * 16 * 16;
}
bool has_dot_instructions() { return has_feature("dotprod"); }
double tile_instructions(long) { return 0; }
#else
double dot_instructions(long) { return 0; }
bool has_dot_instructions() { return false; }
double tile_instructions(long) { return 0; }
#endif

namespace {

/// The bytes a second that all threads of the pool read from memory, more of it than the caches hold, in the fastest
/// way. `huge_pages` says whether its pages are huge or of the usual size.
double read_rate(ThreadPool& pool, [[maybe_unused]] bool huge_pages) {
  constexpr std::align_val_t kAlignment{size_t{2} << 20};
  const size_t bytes = memory_to_read();
  const auto release = [](uint8_t* memory) { ::operator delete(memory, kAlignment); };
  const std::unique_ptr<uint8_t, decltype(release)> memory(
      static_cast<uint8_t*>(::operator new(bytes, kAlignment, std::nothrow)), release);
  if (!memory) fail("no memory to measure the machine's bandwidth with (%zu MB)", bytes >> 20);
#ifdef __linux__
  madvise(memory.get(), bytes, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
  std::memset(memory.get(), 1, bytes);
  // The parts are small, so that a thread that loses its core for a moment leaves the rest to the others.
  constexpr int kParts = 64;
  const size_t part_bytes = bytes / kParts;
  double least = std::numeric_limits<double>::infinity();
  for (const Read read : kReads) {
    std::atomic<uint64_t> sum{0};
    least = std::min(least, median_time([&] {
                       pool.run(kParts, [&](int part, int) {
                         sum += read(memory.get() + part_bytes * static_cast<size_t>(part), part_bytes);
                       });
                     }));
    sink = sink + sum;
  }
  return static_cast<double>(bytes) / least;
}

}  // namespace

Ceilings measure_ceilings(ThreadPool& pool) {
  Ceilings ceilings{};
  const int threads = pool.threads();
  ceilings.read_bytes_per_second = read_rate(pool, true);
#ifdef __linux__
  ceilings.read_bytes_per_second = std::max(ceilings.read_bytes_per_second, read_rate(pool, false));
#endif
  const auto rate_of = [&](double (*instructions)(long), long turns) {
    const int parts = 16 * threads;
    const double time = median_time([&] { pool.run(parts, [&](int, int) { instructions(turns); }); });
    return instructions(1) * static_cast<double>(turns) * parts / time;
  };
  if (has_dot_instructions()) ceilings.multiply_adds_per_second = rate_of(dot_instructions, kTurns / 8);
  if (tile_instructions(1) > 0) ceilings.tile_multiply_adds_per_second = rate_of(tile_instructions, kTurns / 32);
  return ceilings;
}

}  // namespace hearth::cpu
