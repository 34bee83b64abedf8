// Compares the speed of the CPU kernels with the machine's own ceilings, which the same run measures: a plain read loop
// over the same memory (GB/s) and, where the CPU has an instruction for int8 dot products, a loop of nothing but this
// instruction (G multiply-adds a second).
//
//   node native/build.mjs --tests && dist/native/bench_kernels [kernel set] [threads] [repeats] [job]
//
// With `job`, only the jobs whose name contains it run. test_kernels.cpp says how to compile in other ways. Every
// figure is the median of interleaved repeats, because the speed of memory and the clock change from second to second
// on shared machines. Quantised groups stream 2880 × 2880 matrices (K-quants: 2816 wide) that no cache holds. Columns
// are activation rows.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "../cpu/ceilings.h"
#include "../cpu/kernels.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

using namespace hearth::cpu;
using hearth::TensorType;
using hearth::type_traits;

namespace {

constexpr int kWidth = 2880, kMatrices = 60;

/// This thread's time on a core, so that other work on the machine counts little. Where the system does not tell it,
/// wall time.
double thread_seconds() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
#else
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
#endif
}

/// Runs part(0..threads-1) on a thread each and returns the time of the slowest.
double time_parts(int threads, const std::function<void(int)>& part) {
  std::vector<double> times(static_cast<size_t>(threads));
  const auto timed = [&](int i) {
    const double start = thread_seconds();
    part(i);
    times[static_cast<size_t>(i)] = thread_seconds() - start;
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) others.emplace_back(timed, i);
  timed(0);
  for (std::thread& thread : others) thread.join();
  return *std::max_element(times.begin(), times.end());
}

constexpr size_t kHugePage = 2 << 20;

uint8_t* allocate(size_t bytes) {
  bytes = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  auto* p = static_cast<uint8_t*>(::operator new(bytes, std::align_val_t{kHugePage}));
#ifdef __linux__
  madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}
void release(uint8_t* p) { ::operator delete(p, std::align_val_t{kHugePage}); }

uint32_t random_state = 1;
uint32_t random_bits() { return random_state = random_state * 1664525u + 1013904223u, random_state >> 8; }
float random_float() { return static_cast<float>(random_bits() % 2001) / 500.0f - 2.0f; }

struct Job {
  std::string name;
  double bytes, multiply_adds;
  std::function<double()> run;
  std::vector<double> times = {};

  double median() const {
    std::vector<double> sorted = times;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

/// Matrices of one quantised type and layout, and the jobs that multiply them.
struct QuantBench {
  const Kernels& kernels;
  TensorType type;
  bool repacked;
  int threads;
  int blocks = kWidth / kBlock;
  size_t row_bytes = 0, group_bytes = 0, matrix_bytes = 0;
  uint8_t* weights = nullptr;
  int next = 0;

  QuantBench(const Kernels& k, TensorType weight_type, bool packed, int thread_count)
      : kernels(k), type(weight_type), repacked(packed), threads(thread_count) {
    const Unit unit = unit_of(type);
    blocks = blocks / unit.blocks * unit.blocks;
    row_bytes = static_cast<size_t>(blocks / unit.blocks) * unit.bytes;
    std::vector<uint8_t> matrix(row_bytes * kWidth);
    for (uint8_t& byte : matrix) byte = static_cast<uint8_t>(random_bits());
    for (size_t i = 0; i < matrix.size(); i += unit.bytes) {
      if (type == TensorType::MXFP4) matrix[i] = static_cast<uint8_t>(114 + random_bits() % 8);
      for (const int at : {type_traits(type).scale_at, type_traits(type).minimum_at})
        if (at >= 0) matrix[i + static_cast<size_t>(at) + 1] = 0x14;
    }
    group_bytes = repacked ? packed_group_bytes(type, blocks) : row_bytes * kGroupRows;
    matrix_bytes = group_bytes * (kWidth / kGroupRows);
    weights = allocate(matrix_bytes * kMatrices);
    if (repacked) {
      for (size_t group = 0; group < kWidth / kGroupRows; group++)
        packed_layout(kernels, type)
            .pack(matrix.data() + group * row_bytes * kGroupRows, row_bytes, kGroupRows, blocks,
                  weights + group * group_bytes);
    } else {
      std::memcpy(weights, matrix.data(), matrix_bytes);
    }
    for (size_t m = 1; m < kMatrices; m++) std::memcpy(weights + matrix_bytes * m, weights, matrix_bytes);
  }
  ~QuantBench() { release(weights); }
  QuantBench(const QuantBench&) = delete;
  QuantBench& operator=(const QuantBench&) = delete;

  Job job(int columns) {
    const auto n = static_cast<size_t>(columns), width = static_cast<size_t>(blocks * kBlock),
               row_blocks = width / kBlock;
    std::vector<float> x(n * width);
    for (float& v : x) v = random_float();
    std::vector<int8_t> q(x.size());
    std::vector<float> scales(n * row_blocks), y(n * kWidth);
    std::vector<int32_t> sums(scales.size()), order(n);
    std::vector<uint8_t> tiles(tile_bytes(columns, blocks));
    for (size_t c = 0; c < n; c++) {
      kernels.quantize_row(&x[c * width], blocks * kBlock, &q[c * width], &scales[c * row_blocks],
                           &sums[c * row_blocks]);
      order[c] = static_cast<int32_t>(c);
    }
    for (int c = 0; c < columns; c += kTileRows)
      kernels.pack_tile(q.data(), scales.data(), sums.data(), blocks * kBlock, &order[static_cast<size_t>(c)],
                        std::min(kTileRows, columns - c),
                        tiles.data() + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, blocks));
    const int count = std::clamp(400 / columns, 2, kMatrices);
    auto run = [this, columns, count, tiles = std::move(tiles), y = std::move(y)]() mutable {
      if (next + count > kMatrices) next = 0;
      const uint8_t* first = weights + matrix_bytes * static_cast<size_t>(next);
      next += count;
      return time_parts(threads, [&, first](int part) {
        const int groups = kWidth / kGroupRows, begin = groups * part / threads, end = groups * (part + 1) / threads;
        std::vector<uint8_t> memory(scratch_bytes(blocks) + 64);
        uint8_t* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
        // One call takes all repacked groups of a task, as in a step.
        const int together = repacked ? 8 : 1;
        for (int m = 0; m < count; m++)
          for (int group = begin; group < end; group += together) {
            const size_t row = static_cast<size_t>(group) * kGroupRows;
            const QuantGroup g{
                .weights = first + static_cast<size_t>(m) * matrix_bytes + static_cast<size_t>(group) * group_bytes,
                .row_bytes = repacked ? group_bytes : row_bytes,
                .rows = kGroupRows * std::min(together, end - group),
                .blocks = blocks,
                .tiles = tiles.data(),
                .columns = columns,
                .y = y.data() + row,
                .ldy = kWidth,
                .end = weights + matrix_bytes * kMatrices,
                .scratch = scratch};
            (repacked ? packed_layout(kernels, type).group : quant_group(kernels, type))(g);
          }
      });
    };
    return {std::string(type_traits(type).name) + (repacked ? " repacked × " : " × ") + std::to_string(columns),
            static_cast<double>(matrix_bytes) * count, static_cast<double>(width) * kWidth * columns * count, run};
  }
};

/// Multiplies F16 weights, which come from memory, with float columns.
Job float_job(const Kernels& kernels, const uint8_t* memory, size_t memory_bytes, int columns, int threads) {
  const size_t row_bytes = kWidth * 2;
  const size_t most = memory_bytes / row_bytes, wanted = static_cast<size_t>(std::max(32, 16 * 720 / columns));
  const int rows = static_cast<int>(std::min(most, wanted) / 32 * 32);
  const auto n = static_cast<size_t>(columns);
  std::vector<float> x(n * kWidth), y(n * static_cast<size_t>(rows));
  for (float& v : x) v = random_float();
  auto run = [&kernels, memory, rows, columns, threads, x = std::move(x), y = std::move(y)]() mutable {
    return time_parts(threads, [&](int part) {
      const int groups = rows / kGroupRows, begin = groups * part / threads, end = groups * (part + 1) / threads;
      for (int group = begin; group < end; group++)
        float_group(kernels, TensorType::F16)({.weights = memory + static_cast<size_t>(group) * kGroupRows * row_bytes,
                                               .row_bytes = row_bytes,
                                               .rows = kGroupRows,
                                               .k = kWidth,
                                               .x = x.data(),
                                               .ldx = kWidth,
                                               .columns = columns,
                                               .y = y.data() + group * kGroupRows,
                                               .ldy = static_cast<size_t>(rows)});
    });
  };
  return {"F16 × " + std::to_string(columns), static_cast<double>(rows) * static_cast<double>(row_bytes),
          static_cast<double>(rows) * kWidth * columns, run};
}

/// Attends with `rows` query rows, the last of `keys` positions, in the 8 heads of one KV head. The head length is 64,
/// and no cache level holds the keys and values.
Job attend_job(const Kernels& kernels, bool quantised, const uint8_t* memory, size_t memory_bytes, int rows, int keys,
               int threads) {
  constexpr int kHeads = 8, kLength = 64;
  // Any bytes are valid elements of a Q8_0 cache. Its scales are the same random halves as an F16 cache's elements.
  const size_t part_bytes = quantised ? q8_0_cache_bytes(kLength) : kLength * kCacheBlock * 2;
  const int blocks = keys / kCacheBlock;
  const int sequences =
      static_cast<int>(std::min<size_t>(memory_bytes / (2 * part_bytes * static_cast<size_t>(blocks)),
                                        static_cast<size_t>(std::max(threads, (1 << 18) / (keys * rows)))));
  std::vector<float> q(static_cast<size_t>(rows) * kHeads * kLength);
  for (float& v : q) v = random_float() * 0.1f;
  const auto attend = quantised ? kernels.attend_q8_0 : kernels.attend;
  auto run = [attend, part_bytes, memory, rows, keys, threads, blocks, sequences, q = std::move(q)]() {
    return time_parts(threads, [&](int part) {
      std::vector<const uint8_t*> key_blocks(static_cast<size_t>(blocks)), value_blocks(key_blocks.size());
      std::vector<float> out(q.size()), max(out.size() / kLength), sum(max.size());
      for (int s = sequences * part / threads; s < sequences * (part + 1) / threads; s++) {
        for (int b = 0; b < blocks; b++) {
          key_blocks[static_cast<size_t>(b)] = memory + static_cast<size_t>(s * blocks + b) * 2 * part_bytes;
          value_blocks[static_cast<size_t>(b)] = key_blocks[static_cast<size_t>(b)] + part_bytes;
        }
        attend({.q = q.data(),
                .q_row_stride = kHeads * kLength,
                .rows = rows,
                .heads = kHeads,
                .head_length = kLength,
                .scale = 0.125f,
                .first_position = keys - rows,
                .window = 0,
                .first_key = 0,
                .end_key = keys,
                .key_blocks = key_blocks.data(),
                .value_blocks = value_blocks.data(),
                .out = out.data(),
                .max = max.data(),
                .sum = sum.data()});
      }
    });
  };
  const double cached = static_cast<double>(keys) * kLength * sequences;
  const std::string name = quantised ? "attend Q8_0 " : "attend ";
  return {name + std::to_string(rows) + " rows × " + std::to_string(keys) + " keys",
          static_cast<double>(2 * part_bytes) * blocks * sequences, cached * 2 * kHeads * rows, run};
}

/// Runs an operation on rows of floats. GB/s counts its input once.
Job row_job(const char* name, int threads, std::function<void(const float*, float*)> operation) {
  constexpr int kRows = 32, kRepeats = 64;  // the rows stay in L2, as in a step
  std::vector<float> x(static_cast<size_t>(kRows) * kWidth), y(x.size());
  for (float& v : x) v = random_float();
  auto run = [threads, operation, x = std::move(x), y = std::move(y)]() mutable {
    return time_parts(threads, [&](int part) {
      for (int i = 0; i < kRepeats; i++)
        for (int r = kRows * part / threads; r < kRows * (part + 1) / threads; r++)
          operation(&x[static_cast<size_t>(r) * kWidth], &y[static_cast<size_t>(r) * kWidth]);
    });
  };
  return {name, static_cast<double>(kRows) * kWidth * 4 * kRepeats, 0, run};
}

struct Options {
  const Kernels* kernels;
  int threads, repeats;
  std::string wanted;  ///< a part of a job's name; empty: all jobs

  bool wants(const std::string& name) const { return name.find(wanted) != std::string::npos; }
};

Options read_options(int count, char** arguments) {
  return {count > 1 ? find_kernels(arguments[1]) : available_kernels()[0], count > 2 ? std::atoi(arguments[2]) : 1,
          count > 3 ? std::atoi(arguments[3]) : 5, count > 4 ? arguments[4] : ""};
}

/// A bench for each quantised type and layout that has a wanted job. The others are not made, since each takes more
/// than 250 MB.
std::vector<std::unique_ptr<QuantBench>> quant_benches(const Options& options) {
  std::vector<std::unique_ptr<QuantBench>> benches;
  for (const TensorType type : hearth::kQuantisedTypes)
    for (const bool repacked : {false, true}) {
      if (repacked && !packed_layout(*options.kernels, type).pack) continue;
      const std::string name = std::string(type_traits(type).name) + (repacked ? " repacked" : "");
      if (name.find(options.wanted.substr(0, options.wanted.find(" × "))) == std::string::npos) continue;
      benches.push_back(std::make_unique<QuantBench>(*options.kernels, type, repacked, options.threads));
    }
  return benches;
}

/// Random F16 numbers of a usual size, more of them than a cache holds.
struct Halves {
  static constexpr size_t kBytes = size_t{256} << 20;
  uint8_t* data = allocate(kBytes);

  Halves() {
    for (size_t i = 0; i < kBytes; i += 2) {
      const uint16_t half = static_cast<uint16_t>(0x2800 + random_bits() % 0x800);
      std::memcpy(data + i, &half, 2);
    }
  }
  ~Halves() { release(data); }
  Halves(const Halves&) = delete;
  Halves& operator=(const Halves&) = delete;
};

/// The jobs that measure what the machine can do at most. The first reads memory. The second runs the dot instruction,
/// where the CPU has one.
std::vector<Job> ceiling_jobs(const Halves& halves, int threads) {
  constexpr size_t kRead = Halves::kBytes / 2;
  constexpr long kTurns = 400000;
  std::vector<Job> jobs;
  jobs.push_back({"read loop", static_cast<double>(kRead), 0, [&halves, threads, start = size_t{0}]() mutable {
                    start = start == 0 ? kRead : 0;
                    return time_parts(threads, [&](int part) {
                      const size_t share = kRead / static_cast<size_t>(threads);
                      read_memory(halves.data + start + share * static_cast<size_t>(part), share);
                    });
                  }});
  if (has_dot_instructions())
    jobs.push_back({"int8 dot instruction", 0, dot_instructions(1) * kTurns * threads,
                    [threads] { return time_parts(threads, [](int) { dot_instructions(kTurns); }); }});
  if (tile_instructions(1) > 0)
    jobs.push_back({"int8 tile instruction", 0, tile_instructions(1) * kTurns / 4 * threads,
                    [threads] { return time_parts(threads, [](int) { tile_instructions(kTurns / 4); }); }});
  return jobs;
}

std::vector<Job> kernel_jobs(const Options& options, const std::vector<std::unique_ptr<QuantBench>>& benches,
                             const Halves& halves) {
  const Kernels* kernels = options.kernels;
  const int threads = options.threads;
  std::vector<Job> jobs;
  for (const std::unique_ptr<QuantBench>& bench : benches)
    for (const int columns : {1, 2, 4, 8, 16, 20, 32, 64, 128}) jobs.push_back(bench->job(columns));
  for (const int columns : {1, 4, 32, 128})
    jobs.push_back(float_job(*kernels, halves.data, Halves::kBytes, columns, threads));
  for (const auto& [rows, keys] : {std::pair{1, 1024}, {1, 16384}, {4, 4096}, {16, 4096}, {64, 4096}})
    for (const bool quantised : {false, true})
      jobs.push_back(attend_job(*kernels, quantised, halves.data, Halves::kBytes, rows, keys, threads));
  jobs.push_back(
      row_job("rms_norm", threads, [kernels, ones = std::vector<float>(kWidth, 1.0f)](const float* x, float* y) {
        kernels->rms_norm(x, ones.data(), kWidth, 1e-5f, y);
      }));
  jobs.push_back(row_job("swiglu", threads,
                         [kernels](const float* x, float* y) { kernels->swiglu(x, x, kWidth, 1.702f, 7.0f, y); }));
  jobs.push_back(row_job("axpy", threads, [kernels](const float* x, float* y) { kernels->axpy(0.5f, x, kWidth, y); }));
  jobs.push_back(row_job("quantize_row", threads, [kernels](const float* x, float* y) {
    auto* bytes = reinterpret_cast<int8_t*>(y);
    kernels->quantize_row(x, kWidth, bytes, y + kWidth / 4 + 16, reinterpret_cast<int32_t*>(y + kWidth / 2));
  }));
  jobs.erase(std::remove_if(jobs.begin(), jobs.end(), [&](const Job& job) { return !options.wants(job.name); }),
             jobs.end());
  return jobs;
}

void run_interleaved(std::vector<Job>& jobs, int repeats) {
  for (int i = 0; i <= repeats; i++)
    for (Job& job : jobs) {
      const double time = job.run();
      if (i > 0) job.times.push_back(time);  // the first turn is a warm-up
    }
}

/// Prints one line a job. The first of `jobs` are those of ceiling_jobs.
void print(const std::vector<Job>& jobs) {
  const double read = jobs[0].bytes / jobs[0].median();
  const double peak = has_dot_instructions() ? jobs[1].multiply_adds / jobs[1].median() : 0;
  for (const Job& job : jobs) {
    const double rate = job.bytes / job.median(), arithmetic = job.multiply_adds / job.median();
    std::printf("%-26s", job.name.c_str());
    if (job.bytes > 0) std::printf(" %7.1f GB/s %4.0f%% of read", rate / 1e9, 100 * rate / read);
    else std::printf(" %25s", "");
    if (job.multiply_adds > 0) std::printf(" %7.1f GMAC/s", arithmetic / 1e9);
    if (job.multiply_adds > 0 && peak > 0) std::printf(" %4.0f%% of int8 peak", 100 * arithmetic / peak);
    std::printf("\n");
  }
}

}  // namespace

int main(int count, char** arguments) {
  const Options options = read_options(count, arguments);
  if (!options.kernels || options.threads < 1 || options.repeats < 1) {
    std::fprintf(stderr, "usage: bench_kernels [kernel set of this CPU] [threads] [repeats] [job]\n");
    return 1;
  }
  const std::vector<std::unique_ptr<QuantBench>> benches = quant_benches(options);
  const Halves halves;
  std::vector<Job> jobs = ceiling_jobs(halves, options.threads);
  for (Job& job : kernel_jobs(options, benches, halves)) jobs.push_back(std::move(job));
  run_interleaved(jobs, options.repeats);
  std::printf("%s, %d thread%s\n", options.kernels->name, options.threads, options.threads == 1 ? "" : "s");
  print(jobs);
  return 0;
}
