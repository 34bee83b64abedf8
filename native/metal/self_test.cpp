// The GPU's part of the self-test. Each kernel runs by itself on random inputs, as the backend launches it. Plain loops
// in double precision compute what its outputs should be.
#include "self_test.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "../core/dequantize.h"
#include "../core/error.h"
#include "../core/floats.h"
#include "../core/kv_blocks.h"
#include "../core/random.h"
#include "../core/sampler.h"
#include "device/gpu.h"
#include "kernel_args.h"
#include "kernels.h"

namespace hearth::metal {

namespace {

struct Shape {
  int E, H, K, D, F, X, U, V;
};
constexpr Shape kFull = {2880, 64, 8, 64, 2880, 32, 4, 50257}, kSmall = {96, 8, 1, 32, 64, 8, 3, 300};

/// Threads of the kernels on matrix units, and how far their sums may deviate: the hardware chooses the order in which
/// these kernels add.
constexpr uint32_t kMatrixThreads = 128;
constexpr double kMatrixTolerance = 2e-4;
constexpr double kProductTolerance = 2e-5, kAttentionTolerance = 2e-4, kExactTolerance = 0;

uint32_t u32(int n) { return static_cast<uint32_t>(n); }
uint32_t ceil_div(uint32_t a, uint32_t b) { return (a + b - 1) / b; }
int stride(int width) { return static_cast<int>(gpu::activation_stride(u32(width))); }
size_t at(int row, int width, int column) {
  return static_cast<size_t>(row) * static_cast<size_t>(stride(width)) + static_cast<size_t>(column);
}

using Values = std::vector<double>;

/// The kernels of one device, and memory for one check after another.
class Bench {
 public:
  Bench(std::shared_ptr<gpu::Device> device, const SelfTestOptions& options, const Shape& shape)
      : device_(device), kernels_(device), options_(options), shape(shape), random(options.seed) {
    stop_ = buffer(4);
    *stop_.data<uint32_t>() = 0;
  }

  /// A buffer with a view on all of it.
  struct Memory {
    std::shared_ptr<gpu::Buffer> buffer;
    size_t bytes = 0;
    gpu::View view() const { return {buffer.get(), 0, bytes}; }
    template <class T> T* data() const { return static_cast<T*>(buffer->contents()); }
  };
  Memory buffer(size_t bytes) { return {device_->buffer(std::max<size_t>(bytes, 4)), std::max<size_t>(bytes, 4)}; }
  template <class T> Memory copy(const std::vector<T>& values) {
    Memory out = buffer(values.size() * sizeof(T));
    std::memcpy(out.data<T>(), values.data(), values.size() * sizeof(T));
    return out;
  }
  Memory floats(int count, float scale = 1) {
    Memory out = buffer(static_cast<size_t>(count) * 4);
    for (int i = 0; i < count; i++) out.data<float>()[i] = random.uniform() * scale;
    return out;
  }
  /// Rows of activations. Their padding is NaN, because no kernel may use it.
  Memory rows(int count, int width, float scale = 1) {
    Memory out = buffer(static_cast<size_t>(count) * static_cast<size_t>(stride(width)) * 4);
    std::fill_n(out.data<float>(), static_cast<size_t>(count) * static_cast<size_t>(stride(width)), NAN);
    for (int r = 0; r < count; r++)
      for (int i = 0; i < width; i++) out.data<float>()[at(r, width, i)] = random.uniform() * scale;
    return out;
  }

  /// A matrix of random weights of about ±1, in the layout of model files.
  struct Weights {
    Memory memory;
    Matrix matrix;
  };
  Weights weights(TensorType type, int64_t rows, int columns) {
    const TypeTraits& traits = type_traits(type);
    const size_t row_bytes =
        static_cast<size_t>((columns + traits.block - 1) / traits.block) * static_cast<size_t>(traits.block_bytes);
    Memory memory = buffer(row_bytes * static_cast<size_t>(rows));
    auto* data = memory.data<uint8_t>();
    if (type == TensorType::F32) {
      for (size_t i = 0; i < memory.bytes / 4; i++) memory.data<float>()[i] = random.uniform();
    } else {
      for (size_t i = 0; i + 8 <= memory.bytes; i += 8) {
        const uint64_t bits = random.bits();
        std::memcpy(data + i, &bits, 8);
      }
      for (size_t i = 0; i < memory.bytes; i += static_cast<size_t>(traits.block_bytes)) {
        if (type == TensorType::MXFP4) data[i] = static_cast<uint8_t>(random.integer(122, 126));
        else if (is_quantised(type)) {
          // These scales and minimums make weights of at most about 1.
          const int high = traits.block == 256 ? 0x10 : 0x20;
          for (const int at : {traits.scale_at, traits.minimum_at})
            if (at >= 0) {
              data[i + static_cast<size_t>(at)] = 0;
              data[i + static_cast<size_t>(at) + 1] = static_cast<uint8_t>(random.integer(high - 4, high));
            }
        }
        // These halves are below 2 and of either sign, and none is infinite.
        else
          data[i + 1] = static_cast<uint8_t>(
              (random.bits() & 0x80) |
              static_cast<uint64_t>(type == TensorType::F16 ? random.integer(0x30, 0x3b) : random.integer(0x3d, 0x3f)));
      }
    }
    return {memory, {type, data, rows, columns, row_bytes}};
  }

  struct Binding {
    int index;
    gpu::View view;
  };
  struct Launch {
    std::string kernel;
    Constants constants;
    std::vector<char> args;
    std::vector<Binding> bindings;
    gpu::Size grid;
    uint32_t threads;
  };
  template <class Args>
  Launch launch(const std::string& kernel, const Constants& constants, const Args& args, std::vector<Binding> bindings,
                gpu::Size grid, uint32_t threads) {
    std::vector<char> bytes(sizeof args);
    std::memcpy(bytes.data(), &args, sizeof args);
    return {kernel, constants, std::move(bytes), std::move(bindings), grid, threads};
  }

  uint32_t simdgroups(const std::string& kernel, const Constants& constants) {
    return kernels_.simdgroups(kernel, constants);
  }

  /// Runs the launches in order, and repeats that until they have run `times` times. Returns the seconds that the GPU
  /// took for one repetition.
  double run(const std::vector<Launch>& launches, int times) {
    auto commands = device_->command_buffer();
    for (int i = 0; i < times; i++)
      for (const Launch& launch : launches) {
        gpu::Pipeline& pipeline = kernels_.pipeline(launch.kernel, launch.constants);
        commands->pipeline(pipeline);
        commands->bytes(0, launch.args.data(), launch.args.size());
        for (const Binding& binding : launch.bindings) commands->buffer(binding.index, binding.view);
        commands->buffer(gpu::kStopBuffer, stop_.view());
        commands->dispatch(launch.grid, {std::min(launch.threads, pipeline.max_threads()), 1, 1});
        commands->barrier();
      }
    commands->commit();
    commands->wait();
    return commands->seconds() / times;
  }

  /// One check: runs the launches once, asks `judge` for the worst deviation of the outputs, then measures the time.
  template <class Judge>
  void check(const std::string& kernel, const std::string& text, double tolerance, double bytes, double operations,
             const std::vector<Launch>& launches, const Judge& judge) {
    if (options_.stopped()) return;
    KernelCheck out{"metal", device_->info().name, kernel, text, 0, tolerance, false, "", 0, bytes, operations};
    try {
      run(launches, 1);
      out.error = judge();
      if (!(out.error <= tolerance)) {
        char problem[120];
        std::snprintf(problem, sizeof problem, "deviates from the reference by %.2g, more than %.2g", out.error,
                      tolerance);
        out.problem = problem;
      }
      if (options_.full) out.milliseconds = run(launches, 20) * 1000;
    } catch (const Error& error) {
      out.problem = error.what();
      out.error = INFINITY;
    }
    out.ok = out.problem.empty();
    options_.report(out);
  }
  bool stopped() const { return options_.stopped(); }
  /// Stands in for a buffer that a kernel names but does not read with these constants.
  gpu::View unused() const { return stop_.view(); }

 private:
  std::shared_ptr<gpu::Device> device_;
  KernelSet kernels_;
  const SelfTestOptions& options_;
  Memory stop_;

 public:
  const Shape shape;
  Random random;
};

/// W[row]·x in double precision, and the sum of the absolute values of its terms.
struct Dot {
  double sum = 0, magnitude = 0;
};
Dot dot(const Matrix& matrix, int64_t row, const float* x, std::vector<float>& scratch) {
  scratch.resize(static_cast<size_t>(matrix.columns) + 32);
  dequantize_row(matrix, row, scratch.data());
  Dot out;
  for (int i = 0; i < matrix.columns; i++) {
    const double term = static_cast<double>(scratch[static_cast<size_t>(i)]) * x[i];
    out.sum += term;
    out.magnitude += std::fabs(term);
  }
  return out;
}

const char* name_of(TensorType type) { return type_traits(type).name; }
std::string suffix(int columns) { return "_c" + std::to_string(columns); }
std::string rows_text(int rows) { return rows == 1 ? "1 row" : std::to_string(rows) + " rows"; }

void test_embed(Bench& bench) {
  const Shape& s = bench.shape;
  const auto table = bench.weights(TensorType::Q8_0, 64, s.E);
  const std::vector<uint32_t> tokens = {3, 0, 63};
  const auto ids = bench.copy(tokens), x = bench.rows(3, s.E);
  bench.check("embed", "Q8_0, 3 rows", kExactTolerance, 3.0 * static_cast<double>(table.matrix.row_bytes) + 12.0 * s.E,
              0,
              {bench.launch("embed", {{kType, u32(static_cast<int>(table.matrix.type))}, {kColumns, u32(s.E)}},
                            gpu::EmbedArgs{u32(s.E)}, {{1, table.memory.view()}, {2, ids.view()}, {3, x.view()}},
                            {3, 1, 1}, 256)},
              [&] {
                double worst = 0;
                std::vector<float> row(static_cast<size_t>(s.E) + 32);
                for (int r = 0; r < 3; r++) {
                  dequantize_row(table.matrix, tokens[static_cast<size_t>(r)], row.data());
                  for (int i = 0; i < s.E; i++)
                    worst = deviation(worst, x.data<float>()[at(r, s.E, i)], row[static_cast<size_t>(i)], 1);
                }
                return worst;
              });
}

/// norm(x)·w of one row in double precision.
Values normed(const float* x, const float* w, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += static_cast<double>(x[i]) * x[i];
  Values out;
  for (int i = 0; i < n; i++) out.push_back(x[i] / std::sqrt(sum / n + 1e-5f) * w[i]);
  return out;
}

void test_norm(Bench& bench) {
  const Shape& s = bench.shape;
  const auto x = bench.rows(5, s.E, 3), w = bench.floats(s.E), y = bench.rows(3, s.E);
  const std::vector<uint32_t> order = {4, 0, 2};
  const auto gather = bench.copy(order);
  for (const bool gathered : {false, true}) {
    std::vector<Bench::Binding> bindings = {{1, x.view()}, {2, w.view()}, {3, y.view()}};
    bindings.push_back({4, gathered ? gather.view() : bench.unused()});
    bench.check("norm", gathered ? "3 rows, gathered" : "3 rows", 5e-6, 28.0 * s.E, 12.0 * s.E,
                {bench.launch("norm", {{kGather, gathered}, {kColumns, u32(s.E)}}, gpu::NormArgs{u32(s.E), 1e-5f},
                              bindings, {3, 1, 1}, kReduceThreads)},
                [&] {
                  double worst = 0;
                  for (int r = 0; r < 3; r++) {
                    const Values wanted = normed(
                        x.data<float>() + at(gathered ? static_cast<int>(order[static_cast<size_t>(r)]) : r, s.E, 0),
                        w.data<float>(), s.E);
                    for (int i = 0; i < s.E; i++)
                      worst = deviation(worst, y.data<float>()[at(r, s.E, i)], wanted[static_cast<size_t>(i)], 1);
                  }
                  return worst;
                });
  }
}

gpu::Size matrix_grid(uint32_t outputs, uint32_t rows) {
  return {ceil_div(outputs, gpu::kMatrixOutputs), ceil_div(rows, gpu::kMatrixColumns), 1};
}

void test_linear(Bench& bench) {
  const Shape& s = bench.shape;
  struct Case {
    TensorType type;
    int rows, outputs;
    bool bias, residual, matrices = false;
  };
  std::vector<Case> cases = {{TensorType::Q8_0, 1, s.E, true, true},
                             {TensorType::Q8_0, 2, s.E, true, false},
                             {TensorType::Q8_0, 4, s.E, false, false},
                             {TensorType::Q8_0, 20, s.E, true, true},
                             {TensorType::Q8_0, 1, s.V, false, false},
                             {TensorType::F32, 3, s.X + 1, true, false},
                             {TensorType::F16, 1, s.E, false, true},
                             {TensorType::BF16, 8, s.E, true, false},
                             {TensorType::MXFP4, 1, s.E, false, false},
                             {TensorType::Q8_0, 40, s.E, true, true, true},
                             {TensorType::F16, 33, s.E - 3, false, false, true},
                             {TensorType::Q4_K, 1, s.E, false, true},
                             {TensorType::Q6_K, 1, s.E, false, true},
                             {TensorType::Q5_K, 2, s.E, false, false},
                             {TensorType::Q4_0, 1, s.E, false, false},
                             {TensorType::Q4_1, 3, s.E, false, false},
                             {TensorType::Q5_0, 1, s.E, false, false},
                             {TensorType::Q5_1, 2, s.E, false, false},
                             {TensorType::Q4_K, 20, s.E, false, true},
                             {TensorType::Q4_K, 40, s.E, false, true, true}};
  for (const TensorType type : kMatrixTypes)
    if (std::none_of(cases.begin(), cases.end(), [&](const Case& c) { return c.type == type; }))
      cases.push_back({type, 1, s.E, false, false});
  for (const Case& c : cases) {
    if (bench.stopped()) return;
    const int width = s.H * s.D;
    const auto w = bench.weights(c.type, c.outputs, width);
    const auto bias = bench.floats(c.outputs), x = bench.rows(c.rows, width), y = bench.rows(c.rows, c.outputs);
    const std::vector<float> before(y.data<float>(), y.data<float>() + y.bytes / 4);
    const int columns = columns_for(c.rows);
    const std::string kernel = c.matrices ? "linear_mm" : "linear" + suffix(columns);
    const Constants set = {
        {kType, u32(static_cast<int>(c.type))}, {kColumns, u32(width)}, {kHasBias, c.bias}, {kResidual, c.residual}};
    std::vector<Bench::Binding> bindings = {{1, w.memory.view()}, {3, x.view()}, {4, y.view()}};
    bindings.push_back({2, c.bias ? bias.view() : bench.unused()});
    const uint32_t groups = c.matrices ? kMatrixThreads / gpu::kSimdWidth : bench.simdgroups(kernel, set);
    const gpu::Size grid = c.matrices
                               ? matrix_grid(u32(c.outputs), u32(c.rows))
                               : gpu::Size{gpu::product_groups(ceil_div(u32(c.outputs), gpu::kOutputsPerSimdgroup),
                                                               u32(c.rows), u32(columns), groups),
                                           1, 1};
    bench.check(kernel,
                std::string(name_of(c.type)) + ", " + std::to_string(c.outputs) + " x " + std::to_string(width) + ", " +
                    rows_text(c.rows),
                c.matrices ? kMatrixTolerance : kProductTolerance, static_cast<double>(w.matrix.bytes()),
                2.0 * c.rows * c.outputs * width,
                {bench.launch(kernel, set, gpu::LinearArgs{u32(width), u32(c.rows), u32(c.outputs)}, bindings, grid,
                              groups * gpu::kSimdWidth)},
                [&] {
                  double worst = 0;
                  std::vector<float> scratch;
                  for (int o = 0; o < c.outputs; o++)
                    for (int r = 0; r < c.rows; r++) {
                      Dot sum = dot(w.matrix, o, x.data<float>() + at(r, width, 0), scratch);
                      if (c.bias) sum.sum += bias.data<float>()[o];
                      if (c.residual) sum.sum += before[at(r, c.outputs, o)];
                      worst = deviation(worst, y.data<float>()[at(r, c.outputs, o)], sum.sum, sum.magnitude);
                    }
                  return worst;
                });
  }
}

void test_feed_forward(Bench& bench) {
  const Shape& s = bench.shape;
  struct Case {
    TensorType gate, up;
    int rows;
    bool bias;
  };
  using enum TensorType;
  for (const Case& c : {Case{Q8_0, Q8_0, 1, false},
                        {Q4_K, Q6_K, 1, false},
                        {F16, F16, 2, true},
                        {Q5_0, Q4_0, 3, false},
                        {Q4_K, Q4_K, 20, false},
                        {Q8_0, Q8_0, 40, true}}) {
    if (bench.stopped()) return;
    const bool matrices = c.rows >= static_cast<int>(gpu::kMatrixColumns);
    const int width = s.H * s.D, columns = columns_for(c.rows);
    const auto gate = bench.weights(c.gate, s.F, width), up = bench.weights(c.up, s.F, width);
    const auto gate_bias = bench.floats(s.F), up_bias = bench.floats(s.F), h = bench.rows(c.rows, width, 0.05f),
               act = bench.rows(c.rows, s.F);
    const std::string kernel = matrices ? "ffn_mm" : "ffn" + suffix(columns);
    const Constants set = {{kType, u32(static_cast<int>(c.gate))},
                           {kTypeB, u32(static_cast<int>(c.up))},
                           {kColumns, u32(width)},
                           {kHasBias, c.bias}};
    const uint32_t groups = matrices ? kMatrixThreads / gpu::kSimdWidth : bench.simdgroups(kernel, set);
    const gpu::Size grid =
        matrices ? matrix_grid(2 * u32(s.F), u32(c.rows))
                 : gpu::Size{gpu::product_groups(ceil_div(u32(s.F), 2), u32(c.rows), u32(columns), groups), 1, 1};
    bench.check(kernel,
                std::string(name_of(c.gate)) + " and " + name_of(c.up) + ", " + std::to_string(s.F) + " x " +
                    std::to_string(width) + ", " + rows_text(c.rows),
                matrices ? kMatrixTolerance : kProductTolerance,
                static_cast<double>(gate.matrix.bytes() + up.matrix.bytes()), 4.0 * c.rows * s.F * width,
                {bench.launch(kernel, set, gpu::LinearArgs{u32(width), u32(c.rows), u32(s.F)},
                              {{1, gate.memory.view()},
                               {2, up.memory.view()},
                               {3, gate_bias.view()},
                               {4, up_bias.view()},
                               {5, h.view()},
                               {6, act.view()}},
                              grid, groups * gpu::kSimdWidth)},
                [&] {
                  double worst = 0;
                  std::vector<float> scratch;
                  for (int f = 0; f < s.F; f++)
                    for (int r = 0; r < c.rows; r++) {
                      const float* x = h.data<float>() + at(r, width, 0);
                      Dot g = dot(gate.matrix, f, x, scratch), u = dot(up.matrix, f, x, scratch);
                      if (c.bias) g.sum += gate_bias.data<float>()[f], u.sum += up_bias.data<float>()[f];
                      worst =
                          deviation(worst, act.data<float>()[at(r, s.F, f)], g.sum / (1 + std::exp(-g.sum)) * u.sum,
                                    1 + g.magnitude * (1 + std::fabs(u.sum)) + u.magnitude * (1 + std::fabs(g.sum)));
                    }
                  return worst;
                });
  }
}

/// The cache of one layer. It holds one sequence in shuffled blocks.
struct Sequence {
  Bench::Memory cache, tables, infos;
  std::vector<uint32_t> blocks;
  gpu::CacheInfo info;
  bool q8 = false;

  static uint32_t head_bytes(const Shape& s, bool q8) {
    return u32(32 * (q8 ? s.D + 2 * KvBlocks::scale_groups(s.D) : 2 * s.D));
  }
  double key(const Shape& s, int position, int head, int d) const {
    return element(s, position, head, 0, d * 32 + position % 32, d / KvBlocks::kScaled * 32 + position % 32);
  }
  double value(const Shape& s, int position, int head, int d) const {
    return element(s, position, head, info.block_bytes / 2, position % 32 * s.D + d,
                   position % 32 * KvBlocks::scale_groups(s.D) + d / KvBlocks::kScaled);
  }

 private:
  double element(const Shape& s, int position, int head, uint32_t part, int number, int scale) const {
    const uint8_t* from = cache.data<uint8_t>() +
                          static_cast<size_t>(blocks[static_cast<size_t>(position / 32)]) * info.block_bytes + part +
                          static_cast<size_t>(head) * info.head_bytes;
    const auto half = [&](size_t at) {
      uint16_t bits;
      std::memcpy(&bits, from + at, 2);
      return half_to_float(bits);
    };
    if (!q8) return half(2 * static_cast<size_t>(number));
    return static_cast<double>(static_cast<int8_t>(from[number])) * half(static_cast<size_t>(32 * s.D + 2 * scale));
  }
};
Sequence sequence(Bench& bench, int positions, int first, int rows, bool q8 = false) {
  const Shape& s = bench.shape;
  Sequence out;
  const int blocks = (positions + 31) / 32;
  for (int b = 0; b < blocks; b++) out.blocks.push_back(u32((b * 7 + 3) % blocks == b ? b : b));
  for (size_t b = out.blocks.size(); b > 1; b--) std::swap(out.blocks[b - 1], out.blocks[bench.random.bits() % b]);
  out.q8 = q8;
  out.info = {2 * u32(s.K) * Sequence::head_bytes(s, q8), Sequence::head_bytes(s, q8)};
  out.cache = bench.buffer(static_cast<size_t>(blocks) * out.info.block_bytes);
  // All halves are from ±0.125 to ±1, also those beyond the end of the sequence.
  for (size_t i = 0; i < out.cache.bytes / 2; i++)
    out.cache.data<uint16_t>()[i] = static_cast<uint16_t>((bench.random.bits() & 0x83ff) |
                                                          static_cast<uint64_t>(bench.random.integer(12, 14) << 10));
  // In a Q8_0 cache the codes are any bytes, and the scales bring the elements to about the same size.
  for (size_t head = 0; q8 && head < out.cache.bytes; head += out.info.head_bytes)
    for (size_t i = head + static_cast<size_t>(32 * s.D); i < head + out.info.head_bytes; i += 2)
      out.cache.data<uint16_t>()[i / 2] = static_cast<uint16_t>(
          (bench.random.bits() & 0x03ff) | static_cast<uint64_t>(bench.random.integer(5, 7) << 10));
  out.tables = bench.copy(out.blocks);
  std::vector<gpu::RowInfo> infos;
  for (int r = 0; r < rows; r++) infos.push_back({u32(first + r), 0});
  out.infos = bench.copy(infos);
  return out;
}

/// One check of a qkv kernel: its inputs and outputs, its launch and the reference.
struct QkvCheck {
  Bench& bench;
  int rows;
  /// Llama's heads turn pairs of neighbours and have no biases. gpt-oss's heads turn an element of the first half with
  /// one of the second half and have biases.
  bool llama;

  /// The position of the first row. The rows after the second lie in the cache's next block.
  int first = 30;
  const Shape& s = bench.shape;
  int q_length = s.H * s.D, kv_length = s.K * s.D;
  Bench::Weights wq = bench.weights(TensorType::Q8_0, q_length, s.E),
                 wk = bench.weights(TensorType::Q8_0, kv_length, s.E),
                 wv = bench.weights(TensorType::Q8_0, kv_length, s.E);
  Bench::Memory bq = bench.floats(q_length), bk = bench.floats(kv_length), bv = bench.floats(kv_length);
  Bench::Memory h = bench.rows(rows, s.E, 0.1f), q = bench.rows(rows, q_length), rope = bench.floats(rows * s.D);
  Sequence seq = sequence(bench, first + rows, first, rows);
  mutable std::vector<float> scratch;

  Bench::Launch launch(const std::string& kernel, bool matrices) const {
    const uint32_t type = u32(static_cast<int>(TensorType::Q8_0));
    const Constants set = {{kType, type},      {kTypeB, type},        {kTypeC, type}, {kColumns, u32(s.E)},
                           {kHasBias, !llama}, {kInterleaved, llama}, {kRaw, 0}};
    const uint32_t groups = matrices ? kMatrixThreads / gpu::kSimdWidth : bench.simdgroups(kernel, set),
                   outputs = u32((s.H + 2 * s.K) * s.D);
    const gpu::Size grid =
        matrices ? matrix_grid(outputs, u32(rows))
                 : gpu::Size{gpu::product_groups(outputs / 4, u32(rows), u32(columns_for(rows)), groups), 1, 1};
    const gpu::QkvArgs args{u32(s.E), u32(rows), u32(s.H), u32(s.K), u32(s.D), seq.info};
    return bench.launch(kernel, set, args,
                        {{1, wq.memory.view()},
                         {2, wk.memory.view()},
                         {3, wv.memory.view()},
                         {4, bq.view()},
                         {5, bk.view()},
                         {6, bv.view()},
                         {7, h.view()},
                         {8, rope.view()},
                         {9, seq.infos.view()},
                         {10, seq.tables.view()},
                         {11, q.view()},
                         {12, seq.cache.view()}},
                        grid, groups * gpu::kSimdWidth);
  }

  double worst_deviation() const {
    double worst = 0;
    for (int r = 0; r < rows; r++)
      worst = std::max({worst, worst_query_deviation(r), worst_key_deviation(r), worst_value_deviation(r)});
    return worst;
  }

 private:
  /// Output `o` of a product for row `r`.
  Dot product(const Bench::Weights& w, const Bench::Memory& bias, int r, int o) const {
    Dot sum = dot(w.matrix, o, h.data<float>() + at(r, s.E, 0), scratch);
    if (!llama) sum.sum += bias.data<float>()[o];
    return sum;
  }

  /// Where the two elements of pair `i` lie in their head.
  int lower(int i) const { return llama ? 2 * i : i; }
  int upper(int i) const { return llama ? 2 * i + 1 : i + s.D / 2; }
  /// Pair `i` of a head for row `r`, turned by RoPE, and the scale of its sums.
  struct Pair {
    double low, high, scale;
  };
  Pair turned_pair(const Bench::Weights& w, const Bench::Memory& bias, int r, int head, int i) const {
    const Dot a = product(w, bias, r, head * s.D + lower(i)), b = product(w, bias, r, head * s.D + upper(i));
    const float* turn =
        rope.data<float>() + (static_cast<size_t>(r) * static_cast<size_t>(s.D / 2) + static_cast<size_t>(i)) * 2;
    return {a.sum * turn[0] - b.sum * turn[1], b.sum * turn[0] + a.sum * turn[1], a.magnitude + b.magnitude};
  }

  double worst_query_deviation(int r) const {
    double worst = 0;
    for (int head = 0; head < s.H; head++)
      for (int i = 0; i < s.D / 2; i++) {
        const Pair wanted = turned_pair(wq, bq, r, head, i);
        const float* got = q.data<float>() + at(r, q_length, head * s.D);
        worst = deviation(worst, got[lower(i)], wanted.low, wanted.scale);
        worst = deviation(worst, got[upper(i)], wanted.high, wanted.scale);
      }
    return worst;
  }
  double worst_key_deviation(int r) const {
    double worst = 0;
    for (int head = 0; head < s.K; head++)
      for (int i = 0; i < s.D / 2; i++) {
        const Pair wanted = turned_pair(wk, bk, r, head, i);
        worst = deviation(worst, seq.key(s, first + r, head, lower(i)), wanted.low, wanted.scale);
        worst = deviation(worst, seq.key(s, first + r, head, upper(i)), wanted.high, wanted.scale);
      }
    return worst;
  }
  double worst_value_deviation(int r) const {
    double worst = 0;
    for (int head = 0; head < s.K; head++)
      for (int i = 0; i < s.D; i++) {
        const Dot wanted = product(wv, bv, r, head * s.D + i);
        worst = deviation(worst, seq.value(s, first + r, head, i), wanted.sum, wanted.magnitude);
      }
    return worst;
  }
};

void test_qkv(Bench& bench) {
  const Shape& s = bench.shape;
  for (const int rows : {1, 2, 3, 9, 34}) {
    if (bench.stopped()) return;
    const bool matrices = rows >= static_cast<int>(gpu::kMatrixColumns), llama = rows == 3;
    const QkvCheck c{bench, rows, llama};
    const std::string kernel = matrices ? "qkv_mm" : "qkv" + suffix(columns_for(rows));
    const int outputs = c.q_length + 2 * c.kv_length;
    bench.check(kernel, "Q8_0, " + std::to_string(outputs) + " x " + std::to_string(s.E) + ", " + rows_text(rows), 1e-3,
                static_cast<double>(c.wq.matrix.bytes() + c.wk.matrix.bytes() + c.wv.matrix.bytes()),
                2.0 * rows * outputs * s.E, {c.launch(kernel, matrices)}, [&] { return c.worst_deviation(); });
  }
}

void test_heads(Bench& bench) {
  const Shape& s = bench.shape;
  struct Case {
    int rows;
    bool interleaved, norm, q8;
  };
  for (const Case& c :
       {Case{1, false, true, false}, {9, true, true, false}, {9, false, false, true}, {33, true, true, true}}) {
    if (bench.stopped()) return;
    const int q_length = s.H * s.D, kv_length = s.K * s.D, first = 30;
    const auto q = bench.rows(c.rows, q_length), kv = bench.rows(c.rows, 2 * kv_length), q_norm = bench.floats(s.D),
               k_norm = bench.floats(s.D);
    const auto rope = bench.floats(c.rows * s.D);
    const std::vector<float> before(q.data<float>(), q.data<float>() + q.bytes / 4);
    const Sequence seq = sequence(bench, first + c.rows, first, c.rows, c.q8);
    const Constants set = {
        {kHeadLength, u32(s.D)}, {kInterleaved, c.interleaved}, {kHasNorm, c.norm}, {kQ8Cache, c.q8}};
    const uint32_t groups = bench.simdgroups("heads", set);
    bench.check(
        "heads", rows_text(c.rows) + (c.norm ? ", with norms" : "") + (c.q8 ? ", Q8_0 cache" : ""), c.q8 ? 5e-3 : 1e-3,
        c.rows * (8.0 * q_length + 8.0 * kv_length + seq.info.block_bytes / 32), 0,
        {bench.launch("heads", set, gpu::HeadsArgs{u32(s.H), u32(s.K), u32(s.D), 1e-5f, seq.info},
                      {{1, q.view()},
                       {2, kv.view()},
                       {3, q_norm.view()},
                       {4, k_norm.view()},
                       {5, rope.view()},
                       {6, seq.infos.view()},
                       {7, seq.tables.view()},
                       {8, seq.cache.view()}},
                      {ceil_div(u32(s.H + 2 * s.K), groups), u32(c.rows), 1}, groups * gpu::kSimdWidth)},
        [&] {
          double worst = 0;
          for (int r = 0; r < c.rows; r++)
            for (int head = 0; head < s.H + 2 * s.K; head++) {
              const int kind = head < s.H ? 0 : head < s.H + s.K ? 1 : 2, own = kind == 0 ? head : (head - s.H) % s.K;
              const float* from = kind == 0
                                      ? &before[at(r, q_length, own * s.D)]
                                      : kv.data<float>() + at(r, 2 * kv_length, (kind - 1) * kv_length + own * s.D);
              Values x(from, from + s.D);
              if (c.norm && kind < 2) x = normed(from, (kind == 0 ? q_norm : k_norm).data<float>(), s.D);
              for (int i = 0; kind < 2 && i < s.D / 2; i++) {
                double &a = x[static_cast<size_t>(c.interleaved ? 2 * i : i)],
                       &b = x[static_cast<size_t>(c.interleaved ? 2 * i + 1 : i + s.D / 2)];
                const float* turn =
                    rope.data<float>() +
                    (static_cast<size_t>(r) * static_cast<size_t>(s.D / 2) + static_cast<size_t>(i)) * 2;
                const double low = a * turn[0] - b * turn[1];
                b = b * turn[0] + a * turn[1];
                a = low;
              }
              for (int d = 0; d < s.D; d++) {
                const double got = kind == 0   ? q.data<float>()[at(r, q_length, own * s.D + d)]
                                   : kind == 1 ? seq.key(s, first + r, own, d)
                                               : seq.value(s, first + r, own, d);
                // Elements that share a scale have a rounding error that depends on the largest of them.
                double largest = 1;
                for (int i = d / 32 * 32; i < std::min(d / 32 * 32 + 32, s.D); i++)
                  largest = std::max(largest, std::fabs(x[static_cast<size_t>(i)]));
                worst = deviation(worst, got, x[static_cast<size_t>(d)], largest);
              }
            }
          return worst;
        });
  }
}

/// The attention output of one row and head in double precision.
Values attended(const Bench& bench, const Sequence& seq, const float* q, int position, int window, int head,
                float sink) {
  const Shape& s = bench.shape;
  const int first = window > 0 ? std::max(0, position - window + 1) : 0, kv = head / (s.H / s.K);
  Values scores;
  double top = sink;
  for (int j = first; j <= position; j++) {
    double sum = 0;
    for (int d = 0; d < s.D; d++) sum += static_cast<double>(q[d]) * seq.key(s, j, kv, d);
    scores.push_back(sum / std::sqrt(static_cast<double>(s.D)));
    top = std::max(top, scores.back());
  }
  double total = std::exp(sink - top);
  for (double& score : scores) total += score = std::exp(score - top);
  Values out(static_cast<size_t>(s.D));
  for (int j = first; j <= position; j++)
    for (int d = 0; d < s.D; d++)
      out[static_cast<size_t>(d)] += scores[static_cast<size_t>(j - first)] / total * seq.value(s, j, kv, d);
  return out;
}

struct AttentionCase {
  int first, rows, window;
  bool tiled, matrices = false, q8 = false;
};

/// One check of the attention kernels: its inputs and outputs, its launches and the reference.
struct AttentionCheck {
  Bench& bench;
  AttentionCase c;

  const Shape& s = bench.shape;
  int q_length = s.H * s.D;
  Bench::Memory q = bench.rows(c.rows, q_length), a = bench.rows(c.rows, q_length), sinks = bench.floats(s.H, 2);
  Sequence seq = sequence(bench, c.first + c.rows, c.first, c.rows, c.q8);
  uint32_t slots = most_slots();
  gpu::AttentionArgs args{
      u32(c.rows), 0,        slots,         u32(s.H),
      u32(s.K),    u32(s.D), u32(c.window), static_cast<float>(1 / std::sqrt(static_cast<double>(s.D))),
      seq.info};
  /// Threadgroups beside each other for one row or one tile of rows: each takes at most eight heads of one KV head.
  uint32_t groups = u32(s.K) * ceil_div(u32(s.H / s.K), 8);
  /// What attention leaves for attention_merge.
  Bench::Memory out = bench.buffer(static_cast<size_t>(c.rows) * slots * static_cast<size_t>(q_length) * 4),
                state = bench.buffer(static_cast<size_t>(c.rows) * slots * static_cast<size_t>(s.H) * 8);
  std::vector<gpu::RowTile> tile_list = row_tiles();
  Bench::Memory tiles = bench.copy(tile_list);

  std::string kernel() const {
    return c.matrices ? "attention_mm" : c.tiled ? "attention_rows" : "attention, attention_merge";
  }
  std::vector<Bench::Launch> launches() const {
    if (c.tiled) return {tiled_launch()};
    return {split_launch(), merge_launch()};
  }
  /// How many keys the rows see in all.
  double keys() const {
    double keys = 0;
    for (int r = 0; r < c.rows; r++) keys += c.window > 0 ? std::min(c.window, c.first + r + 1) : c.first + r + 1;
    return keys;
  }
  double worst_deviation() const {
    double worst = 0;
    for (int r = 0; r < c.rows; r++)
      for (int head = 0; head < s.H; head++) {
        const Values wanted = attended(bench, seq, q.data<float>() + at(r, q_length, head * s.D), c.first + r, c.window,
                                       head, sinks.data<float>()[head]);
        for (int d = 0; d < s.D; d++)
          worst = deviation(worst, a.data<float>()[at(r, q_length, head * s.D + d)], wanted[static_cast<size_t>(d)], 1);
      }
    return worst;
  }

 private:
  uint32_t most_slots() const {
    uint32_t most = 1;
    for (int r = 0; r < c.rows; r++) most = std::max(most, gpu::chunk_slots(u32(c.first + r), u32(c.window)));
    return most;
  }
  std::vector<gpu::RowTile> row_tiles() const {
    std::vector<gpu::RowTile> list;
    for (int r = 0; r < c.rows; r += static_cast<int>(gpu::kAttentionRowTile))
      list.push_back({u32(r), std::min<uint32_t>(gpu::kAttentionRowTile, u32(c.rows - r))});
    return list;
  }
  Constants constants() const {
    Constants set = {{kHeadLength, u32(s.D)}, {kGroup, u32(s.H / s.K)}};
    if (!c.matrices) set[kQ8Cache] = c.q8;
    return set;
  }

  Bench::Launch tiled_launch() const {
    return bench.launch(std::string(c.matrices ? "attention_mm_d" : "attention_rows_d") + (s.D <= 64 ? "64" : "128"),
                        constants(), args,
                        {{1, q.view()},
                         {2, seq.cache.view()},
                         {3, seq.infos.view()},
                         {4, seq.tables.view()},
                         {5, sinks.view()},
                         {6, a.view()},
                         {7, tiles.view()}},
                        {u32(static_cast<int>(tile_list.size())), groups, 1}, kReduceThreads);
  }
  Bench::Launch split_launch() const {
    const uint32_t simdgroups = bench.simdgroups("attention", constants());
    return bench.launch("attention", constants(), args,
                        {{1, q.view()},
                         {2, seq.cache.view()},
                         {3, seq.infos.view()},
                         {4, seq.tables.view()},
                         {5, out.view()},
                         {6, state.view()}},
                        {ceil_div(slots, simdgroups), groups, u32(c.rows)}, simdgroups * gpu::kSimdWidth);
  }
  Bench::Launch merge_launch() const {
    const Constants set = {{kHeadLength, u32(s.D)}};
    const uint32_t simdgroups = bench.simdgroups("attention_merge", set);
    return bench.launch("attention_merge", set, args,
                        {{1, out.view()}, {2, state.view()}, {3, seq.infos.view()}, {4, sinks.view()}, {5, a.view()}},
                        {ceil_div(u32(s.H), simdgroups), u32(c.rows), 1}, simdgroups * gpu::kSimdWidth);
  }
};

void test_attention(Bench& bench, bool full) {
  const Shape& s = bench.shape;
  const int far = full ? 4095 : 290;
  for (const AttentionCase& c : {AttentionCase{far, 1, 0, false},
                                 {far - 20, 33, 0, true, true},
                                 {far - 20, 33, 128, true, true},
                                 {far, 1, 128, false},
                                 {far - 3, 3, 0, false},
                                 {0, 1, 0, false},
                                 {far - 20, 19, 0, true},
                                 {far - 20, 19, 128, true},
                                 {0, 9, 128, true},
                                 {far, 1, 0, false, false, true},
                                 {far - 20, 19, 128, true, false, true}}) {
    // attention_mm takes eight query heads of one KV head at a time.
    if (c.matrices && s.H / s.K % 8 != 0) continue;
    if (bench.stopped()) return;
    const AttentionCheck check{bench, c};
    const double keys = check.keys();
    bench.check(check.kernel(),
                rows_text(c.rows) + " at " + std::to_string(c.first) + ", window " + std::to_string(c.window) +
                    (c.q8 ? ", Q8_0 cache" : ""),
                kAttentionTolerance, keys / (c.tiled ? 8 : 1) * check.seq.info.block_bytes / 32,
                4.0 * keys * check.q_length, check.launches(), [&] { return check.worst_deviation(); });
  }
}

/// The best experts of one row, and the softmax over them.
std::vector<gpu::Choice> routed(const Values& scores, int used) {
  std::vector<int> order(scores.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)]; });
  double total = 0;
  for (int u = 0; u < used; u++)
    total +=
        std::exp(scores[static_cast<size_t>(order[static_cast<size_t>(u)])] - scores[static_cast<size_t>(order[0])]);
  std::vector<gpu::Choice> out;
  for (int u = 0; u < used; u++) {
    const int e = order[static_cast<size_t>(u)];
    out.push_back(
        {u32(e),
         static_cast<float>(std::exp(scores[static_cast<size_t>(e)] - scores[static_cast<size_t>(order[0])]) / total)});
  }
  return out;
}

void test_router(Bench& bench) {
  const Shape& s = bench.shape;
  const int rows = 5;
  const auto x = bench.rows(rows, s.E, 2), w = bench.floats(s.E), h = bench.rows(rows, s.E), bias = bench.floats(s.X);
  const auto router = bench.weights(TensorType::F32, s.X, s.E);
  const auto choices = bench.buffer(static_cast<size_t>(rows * s.U) * sizeof(gpu::Choice));
  bench.check("router", std::to_string(s.X) + " experts, " + rows_text(rows), 1e-4,
              static_cast<double>(router.matrix.bytes()), 2.0 * rows * s.X * s.E,
              {bench.launch("router", {{kType, u32(static_cast<int>(TensorType::F32))}, {kColumns, u32(s.E)}},
                            gpu::RouterArgs{u32(s.E), u32(s.X), u32(s.U), 1e-5f},
                            {{1, x.view()},
                             {2, w.view()},
                             {3, router.memory.view()},
                             {4, bias.view()},
                             {5, h.view()},
                             {6, choices.view()}},
                            {u32(rows), 1, 1}, kReduceThreads)},
              [&] {
                double worst = 0;
                for (int r = 0; r < rows; r++) {
                  const Values normal = normed(x.data<float>() + at(r, s.E, 0), w.data<float>(), s.E);
                  Values scores;
                  for (int e = 0; e < s.X; e++) {
                    double sum = bias.data<float>()[e];
                    const auto* row = reinterpret_cast<const float*>(router.matrix.row(e));
                    for (int i = 0; i < s.E; i++) sum += normal[static_cast<size_t>(i)] * row[i];
                    scores.push_back(sum);
                  }
                  for (int i = 0; i < s.E; i++)
                    worst = deviation(worst, h.data<float>()[at(r, s.E, i)], normal[static_cast<size_t>(i)], 1);
                  const auto wanted = routed(scores, s.U);
                  for (int u = 0; u < s.U; u++) {
                    const gpu::Choice& got = choices.data<gpu::Choice>()[r * s.U + u];
                    if (got.expert >= u32(s.X)) return static_cast<double>(INFINITY);
                    // Where two scores nearly tie, either expert may come first.
                    worst = deviation(worst, scores[got.expert], scores[wanted[static_cast<size_t>(u)].expert], 10);
                    worst = deviation(worst, got.weight, wanted[static_cast<size_t>(u)].weight, 1);
                  }
                }
                return worst;
              });
}

/// The weights of a layer's experts, one expert's matrix after the other.
struct ExpertWeights {
  Bench& bench;

  const Shape& s = bench.shape;
  Bench::Weights gate = bench.weights(TensorType::MXFP4, int64_t{s.X} * s.F, s.E),
                 up = bench.weights(TensorType::MXFP4, int64_t{s.X} * s.F, s.E),
                 down = bench.weights(TensorType::MXFP4, int64_t{s.X} * s.E, s.F);
  Bench::Memory gate_bias = bench.floats(s.X * s.F), up_bias = bench.floats(s.X * s.F),
                down_bias = bench.floats(s.X * s.E);
};

/// The checks of the experts' kernels with so many rows.
struct ExpertChecks {
  Bench& bench;
  const ExpertWeights& w;
  int rows;

  const Shape& s = bench.shape;
  bool matrices = rows >= static_cast<int>(gpu::kMatrixColumns);
  /// One row's experts run directly. The experts of several rows run by lists of who chose them.
  bool direct = rows == 1;
  int count = rows * s.U;
  uint32_t tile = matrices ? gpu::kMatrixColumns + 0u : gpu::kExpertTile + 0u;
  uint32_t type = u32(static_cast<int>(TensorType::MXFP4));
  std::string ending = matrices ? "_mm" : suffix(columns_for(rows));
  Bench::Memory h = bench.rows(rows, s.E, 0.05f), x = bench.rows(rows, s.E);
  std::vector<float> x_before = std::vector<float>(x.data<float>(), x.data<float>() + x.bytes / 4);
  std::vector<gpu::Choice> chosen = random_choices();
  double distinct = distinct_experts();
  Bench::Memory choices = bench.copy(chosen);
  uint32_t most_tiles = gpu::max_expert_tiles(u32(rows), u32(s.X), u32(s.U), tile);
  Bench::Memory lists = bench.buffer(static_cast<size_t>(s.X * rows) * 4),
                tiles = bench.buffer(most_tiles * sizeof(gpu::ExpertTile)), tile_count = bench.buffer(4);
  Bench::Memory act = bench.rows(count, s.F), out = bench.rows(count, s.E);
  std::string text = rows_text(rows) + ", " + std::to_string(static_cast<int>(distinct)) + " experts";
  gpu::ExpertArgs up_args{u32(s.E), u32(s.F), u32(rows), u32(s.U), kSwigluAlpha, kSwigluLimit, 1},
      down_args{u32(s.F), u32(s.E), u32(rows), u32(s.U), kSwigluAlpha, kSwigluLimit, 1};
  mutable std::vector<float> scratch;

  /// Every kernel gets random inputs of its own, so that a fault in one says nothing about the next.
  void check_all() {
    if (!direct) check_lists();
    check_gate_up();
    randomise(act, s.F);
    if (direct) return check_down_sum();
    check_down();
    randomise(out, s.E);
    check_sum();
  }

 private:
  std::vector<gpu::Choice> random_choices() {
    std::vector<gpu::Choice> out;
    for (int r = 0; r < rows; r++) {
      Values scores(static_cast<size_t>(s.X));
      for (double& score : scores) score = bench.random.uniform();
      for (const gpu::Choice& choice : routed(scores, s.U)) out.push_back(choice);
    }
    return out;
  }
  double distinct_experts() const {
    std::vector<bool> touched(static_cast<size_t>(s.X));
    for (const gpu::Choice& choice : chosen) touched[choice.expert] = true;
    return static_cast<double>(std::count(touched.begin(), touched.end(), true));
  }
  void randomise(const Bench::Memory& values, int width) {
    for (int i = 0; i < count; i++)
      for (int k = 0; k < width; k++) values.data<float>()[at(i, width, k)] = bench.random.uniform();
  }
  const gpu::Choice& choice(int i) const { return chosen[static_cast<size_t>(i)]; }

  void check_lists() {
    bench.check("expert_lists", text, kExactTolerance, 8.0 * count, 0,
                {bench.launch("expert_lists", {}, gpu::ExpertListsArgs{u32(rows), u32(s.X), u32(s.U), tile},
                              {{1, choices.view()}, {2, lists.view()}, {3, tiles.view()}, {4, tile_count.view()}},
                              {1, 1, 1}, kReduceThreads)},
                [&] { return wrong_lists(); });
  }
  /// How many entries of the lists and the tiles are wrong.
  double wrong_lists() const {
    uint32_t next = 0;
    double wrong = 0;
    for (int e = 0; e < s.X; e++) {
      uint32_t length = 0;
      for (int i = 0; i < count; i++)
        if (choice(i).expert == u32(e)) wrong += lists.data<uint32_t>()[u32(e * rows) + length++] != u32(i);
      for (uint32_t first = 0; first < length; first += tile, next++) {
        if (next >= most_tiles) return INFINITY;
        const gpu::ExpertTile& got = tiles.data<gpu::ExpertTile>()[next];
        wrong += got.expert != u32(e) || got.first != first || got.count != std::min(tile, length - first);
      }
    }
    return wrong + (tile_count.data<uint32_t>()[0] != next);
  }

  void check_gate_up() {
    const std::string kernel = "gate_up" + ending;
    const Constants set = {{kType, type}, {kTypeB, type}, {kColumns, u32(s.E)}, {kDirect, direct}};
    const std::vector<Bench::Binding> bindings = {{1, w.gate.memory.view()},
                                                  {2, w.up.memory.view()},
                                                  {3, w.gate_bias.view()},
                                                  {4, w.up_bias.view()},
                                                  {5, h.view()},
                                                  {6, choices.view()},
                                                  {7, direct ? bench.unused() : lists.view()},
                                                  {8, direct ? bench.unused() : tiles.view()},
                                                  {9, direct ? bench.unused() : tile_count.view()},
                                                  {10, act.view()}};
    const uint32_t simdgroups = matrices ? kMatrixThreads / gpu::kSimdWidth : bench.simdgroups(kernel, set),
                   outputs = matrices ? gpu::kMatrixOutputs / 2 : 2 * simdgroups;
    bench.check(kernel, text, matrices ? 1e-3 : 1e-4,
                distinct / s.X * static_cast<double>(w.gate.matrix.bytes() + w.up.matrix.bytes()),
                4.0 * count * s.F * s.E,
                {bench.launch(kernel, set, up_args, bindings,
                              {ceil_div(u32(s.F), outputs), direct ? u32(count) : most_tiles, 1},
                              simdgroups * gpu::kSimdWidth)},
                [&] { return worst_activation_deviation(); });
  }
  double worst_activation_deviation() const {
    double worst = 0;
    for (int i = 0; i < count; i++) {
      const int64_t first = int64_t{choice(i).expert} * s.F;
      const float* row = h.data<float>() + at(i / s.U, s.E, 0);
      for (int f = 0; f < s.F; f++) {
        const double g = std::min<double>(
            dot(w.gate.matrix, first + f, row, scratch).sum + w.gate_bias.data<float>()[first + f], kSwigluLimit);
        const double u =
            std::clamp<double>(dot(w.up.matrix, first + f, row, scratch).sum + w.up_bias.data<float>()[first + f],
                               -kSwigluLimit, kSwigluLimit);
        worst = deviation(worst, act.data<float>()[at(i, s.F, f)],
                          g / (1 + std::exp(-static_cast<double>(kSwigluAlpha) * g)) * (u + 1), 1);
      }
    }
    return worst;
  }

  double down_bytes() const { return distinct / s.X * static_cast<double>(w.down.matrix.bytes()); }
  double down_operations() const { return 2.0 * count * s.F * s.E; }
  Constants down_constants() const { return {{kType, type}, {kColumns, u32(s.F)}}; }
  /// Output `e` of the expert of choice `i`, before the choice's weight.
  Dot down_of(int i, int e) const {
    const int64_t first = int64_t{choice(i).expert} * s.E;
    Dot sum = dot(w.down.matrix, first + e, act.data<float>() + at(i, s.F, 0), scratch);
    sum.sum += w.down_bias.data<float>()[first + e];
    return sum;
  }

  void check_down_sum() {
    const uint32_t simdgroups = bench.simdgroups("down_sum", down_constants());
    bench.check(
        "down_sum", text, kProductTolerance, down_bytes(), down_operations(),
        {bench.launch(
            "down_sum", down_constants(), down_args,
            {{1, w.down.memory.view()}, {2, w.down_bias.view()}, {3, act.view()}, {4, choices.view()}, {5, x.view()}},
            {ceil_div(u32(s.E), gpu::kOutputsPerSimdgroup * simdgroups), 1, 1}, simdgroups * gpu::kSimdWidth)},
        [&] { return worst_sum_deviation(); });
  }
  void check_down() {
    const std::string kernel = "down" + ending;
    const uint32_t simdgroups =
                       matrices ? kMatrixThreads / gpu::kSimdWidth : bench.simdgroups(kernel, down_constants()),
                   outputs = matrices ? gpu::kMatrixOutputs + 0u : gpu::kOutputsPerSimdgroup * simdgroups;
    bench.check(kernel, text, matrices ? kMatrixTolerance : kProductTolerance, down_bytes(), down_operations(),
                {bench.launch(kernel, down_constants(), down_args,
                              {{1, w.down.memory.view()},
                               {2, w.down_bias.view()},
                               {3, act.view()},
                               {4, lists.view()},
                               {5, tiles.view()},
                               {6, tile_count.view()},
                               {7, out.view()}},
                              {ceil_div(u32(s.E), outputs), most_tiles, 1}, simdgroups * gpu::kSimdWidth)},
                [&] { return worst_down_deviation(); });
  }
  double worst_down_deviation() const {
    double worst = 0;
    for (int i = 0; i < count; i++)
      for (int e = 0; e < s.E; e++) {
        const Dot wanted = down_of(i, e);
        worst = deviation(worst, out.data<float>()[at(i, s.E, e)], wanted.sum, wanted.magnitude);
      }
    return worst;
  }
  void check_sum() {
    const uint32_t simdgroups = bench.simdgroups("expert_sum", {});
    bench.check(
        "expert_sum", text, kProductTolerance, 4.0 * (count + 2 * rows) * s.E, 2.0 * count * s.E,
        {bench.launch("expert_sum", {}, down_args, {{1, out.view()}, {2, choices.view()}, {3, x.view()}},
                      {ceil_div(u32(s.E), gpu::kSimdWidth * simdgroups), u32(rows), 1}, simdgroups * gpu::kSimdWidth)},
        [&] { return worst_sum_deviation(); });
  }
  /// down_sum computes what its experts say by itself; expert_sum reads it from `out`.
  double worst_sum_deviation() const {
    double worst = 0;
    for (int r = 0; r < rows; r++)
      for (int e = 0; e < s.E; e++) {
        double sum = x_before[at(r, s.E, e)], scale = 1;
        for (int i = r * s.U; i < (r + 1) * s.U; i++) {
          const Dot part = direct ? down_of(i, e) : Dot{out.data<float>()[at(i, s.E, e)], 1};
          sum += choice(i).weight * part.sum;
          scale += part.magnitude;
        }
        worst = deviation(worst, x.data<float>()[at(r, s.E, e)], sum, scale);
      }
    return worst;
  }
};

void test_experts(Bench& bench) {
  const ExpertWeights weights{bench};
  for (const int rows : {1, 2, 4, 20, 33}) {
    if (bench.stopped()) return;
    ExpertChecks{bench, weights, rows}.check_all();
  }
}

void test_sample(Bench& bench) {
  const Shape& s = bench.shape;
  const std::vector<Sampling> settings = {
      {}, {1, 0, 1, 0, 7}, {0.7f, 40, 1, 0, 8}, {1, 0, 0.9f, 0, 9}, {1.3f, 0, 1, 0.05f, 10}, {1, 20, 0.8f, 0.02f, 11}};
  const int rows = static_cast<int>(settings.size());
  const auto logits = bench.rows(rows, s.V, 6);
  std::vector<gpu::SampleParams> params;
  for (int r = 0; r < rows; r++) params.push_back(sample_params(settings[static_cast<size_t>(r)], 100 + r));
  const auto inputs = bench.copy(params), results = bench.buffer(static_cast<size_t>(rows) * sizeof(gpu::SampleResult)),
             tokens = bench.buffer(static_cast<size_t>(rows) * 4);
  bench.check("sample", rows_text(rows) + " of " + std::to_string(s.V) + " logits", 1e-4, 8.0 * rows * s.V, 0,
              {bench.launch("sample", {}, gpu::SampleArgs{u32(s.V)},
                            {{1, logits.view()}, {2, inputs.view()}, {3, results.view()}, {4, tokens.view()}},
                            {u32(rows), 1, 1}, 1024)},
              [&] {
                double worst = 0;
                for (int r = 0; r < rows; r++) {
                  const Choice wanted = sample(logits.data<float>() + at(r, s.V, 0), s.V,
                                               settings[static_cast<size_t>(r)], 100 + r, true);
                  const gpu::SampleResult& got = results.data<gpu::SampleResult>()[r];
                  if (got.token != u32(wanted.token) || tokens.data<uint32_t>()[r] != got.token)
                    return static_cast<double>(INFINITY);
                  worst = deviation(worst, got.probability, wanted.probability, 1);
                }
                return worst;
              });
}

void test_ceilings(Bench& bench, bool full) {
  const uint32_t groups = full ? 1024 : 3, threads = 256, sums = groups * threads / gpu::kSimdWidth,
                 turns = full ? 512 : 40;
  const auto words = bench.buffer((full ? size_t{256} << 20 : size_t{20} << 10) + 48),
             out = bench.buffer(size_t{sums} * 4);
  for (size_t i = 0; i < words.bytes / 4; i++)
    words.data<uint32_t>()[i] = u32(static_cast<size_t>(bench.random.bits() >> 32));
  bench.check("ceiling_read", std::to_string(words.bytes >> 10) + " KiB", kExactTolerance,
              static_cast<double>(words.bytes), 0,
              {bench.launch("ceiling_read", {}, gpu::CeilingArgs{u32(words.bytes / 16), 0, 0},
                            {{1, words.view()}, {2, out.view()}}, {groups, 1, 1}, threads)},
              [&] {
                uint32_t wanted = 0, got = 0;
                for (size_t i = 0; i < words.bytes / 4; i++) wanted += words.data<uint32_t>()[i];
                for (uint32_t i = 0; i < sums; i++) got += out.data<uint32_t>()[i];
                return static_cast<double>(wanted - got);
              });
  const double chains = 4.0 * gpu::kCeilingChains;
  bench.check("ceiling_multiply_add", std::to_string(turns) + " turns", kExactTolerance, 4.0 * sums,
              2.0 * chains * turns * groups * threads,
              {bench.launch("ceiling_multiply_add", {}, gpu::CeilingArgs{turns, 0.5f, 1.0f}, {{1, out.view()}},
                            {groups, 1, 1}, threads)},
              [&] {
                // After so many turns, every chain has come to 2, whatever its first value was.
                double worst = 0;
                for (uint32_t i = 0; i < sums; i++)
                  worst = deviation(worst, out.data<float>()[i], 2 * chains * gpu::kSimdWidth, 1);
                return worst;
              });
}

}  // namespace

void self_test(const SelfTestOptions& options) {
  Bench bench(open_usable_device(), options, options.full ? kFull : kSmall);
  test_embed(bench);
  test_norm(bench);
  test_linear(bench);
  test_feed_forward(bench);
  test_qkv(bench);
  test_heads(bench);
  test_attention(bench, options.full);
  test_router(bench);
  test_experts(bench);
  test_sample(bench);
  test_ceilings(bench, options.full);
}

}  // namespace hearth::metal
