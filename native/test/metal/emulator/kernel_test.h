// The API for tests of kernels on the emulator. A test binds the arguments, runs the kernel and compares the result.
//
//   KERNEL_TEST(rmsnorm) {
//     for (const uint32_t width : {32u, 2880u}) {
//       auto x = random_values(width), y = unset<float>(width);
//       Launch("rmsnorm").constant(0, true).bytes(0, args).read(1, x).write(2, y).run({1, 1, 1}, {256, 1, 1});
//       expect_close("y", y, reference(x), 1e-5);
//     }
//   }
//
// One program for each mode holds all tests (README.md). run() dispatches in every lane order. It fails the test where
// the results differ in a bit, and where the executor or a checker reports an error.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "executor.h"

namespace hearth::test {

/// The mode that this program was built in. Sanitizers and the memory checker are 10 to 50 times slower: use small
/// shapes there.
enum class Mode { plain, race, asan, msan };
Mode mode();
/// True where tests should use all size classes, false where one small shape of each code path will do.
inline bool all_sizes() { return mode() == Mode::plain; }

/// Records a failure of the running test (printf format) and goes on.
__attribute__((format(printf, 1, 2))) void fail_test(const char* format, ...);

/// Compares with a reference: |got - want| <= tolerance * (mean |want| + |want|), and no NaN. Reports the worst
/// element.
void expect_close(const std::string& what, const float* got, const float* want, size_t count, double tolerance);
inline void expect_close(const std::string& what, const std::vector<float>& got, const std::vector<float>& want,
                         double tolerance) {
  if (got.size() != want.size()) fail_test("%s: %zu values instead of %zu", what.c_str(), got.size(), want.size());
  else expect_close(what, got.data(), want.data(), got.size(), tolerance);
}
template <class T> void expect_same(const std::string& what, const std::vector<T>& got, const std::vector<T>& want) {
  if (got.size() != want.size())
    return fail_test("%s: %zu values instead of %zu", what.c_str(), got.size(), want.size());
  for (size_t i = 0; i < got.size(); i++)
    if (memcmp(&got[i], &want[i], sizeof(T)))
      return fail_test("%s[%zu]: %.9g instead of %.9g", what.c_str(), i, double(got[i]), double(want[i]));
}

/// Normally distributed floats from a generator seeded for each test.
std::mt19937& generator();
std::vector<float> random_values(size_t count, float scale = 1.0f);
/// Marks memory as never written: it gets NaN bits, and the memory sanitizer takes it as uninitialised.
void mark_unset(void* data, size_t bytes);
template <class T> std::vector<T> unset(size_t count) {
  std::vector<T> values(count);
  mark_unset(values.data(), count * sizeof(T));
  return values;
}

/// One dispatch of one kernel, which runs in all lane orders.
class Launch {
 public:
  /// Fails the test where no linked .metal file has the kernel.
  explicit Launch(const std::string& kernel);

  /// Function constant by index. T must have the constant's size: bool, uint32_t, int32_t, float, uint16_t.
  template <class T> Launch& constant(int index, T value) {
    static_assert(std::is_arithmetic_v<T>);
    return set_constant(index, &value, sizeof value);
  }
  /// Binds a small argument by value, as setBytes does. It is copied at once.
  template <class T> Launch& bytes(int index, const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 4096);
    return bind_copy(index, &value, sizeof value);
  }
  /// A buffer the kernel only reads. Must outlive run(). The kernel may touch exactly [data, data + bytes).
  Launch& read(int index, const void* data, size_t bytes) { return bind(index, const_cast<void*>(data), bytes, false); }
  template <class T> Launch& read(int index, const std::vector<T>& values) {
    return read(index, values.data(), values.size() * sizeof(T));
  }
  /// Binds a buffer that the kernel writes and may read. It is restored before each lane order and compared after each.
  Launch& write(int index, void* data, size_t bytes) { return bind(index, data, bytes, true); }
  template <class T> Launch& write(int index, std::vector<T>& values) {
    return write(index, values.data(), values.size() * sizeof(T));
  }
  /// Sets the length of [[threadgroup(index)]] memory in bytes, a multiple of 16.
  Launch& threadgroup_memory(int index, size_t bytes);
  /// Says that the result may depend on the order of execution, as it does with floating-point atomics. Then the orders
  /// are not compared.
  Launch& order_dependent();
  /// Flushes denormal numbers to zero, as GPUs may do.
  Launch& flush_denormals();

  /// Runs `groups` threadgroups of `threads` threads, in natural, reverse and two random orders. Where all_sizes() is
  /// false, the natural and one random order have to do. Afterwards the buffers hold the result of the natural order.
  /// Failures name the order.
  void run(msl::Size3 groups, msl::Size3 threads);
  /// Like run(), but returns the error instead of failing the test, or "" where there was none. Tests of the checkers
  /// use it.
  std::string try_run(msl::Size3 groups, msl::Size3 threads);

 private:
  struct Written {
    int index;
    void* data;
    size_t bytes;
  };
  struct Constant {
    int index;
    std::vector<char> value;
  };
  Launch& set_constant(int index, const void* value, size_t bytes);
  Launch& bind(int index, void* data, size_t bytes, bool written);
  Launch& bind_copy(int index, const void* data, size_t bytes);

  std::string name_;
  const msl::KernelInfo* kernel_;
  msl::Arguments arguments_{};
  size_t threadgroup_bytes_[msl::kMaxBindings] = {};
  std::vector<std::vector<char>> copies_;
  std::vector<Written> written_;
  std::vector<Constant> constants_;
  bool compare_orders_ = true;
  msl::DispatchOptions options_;
};

struct KernelTest {
  const char* name;
  void (*body)();
};
struct RegisterTest {
  RegisterTest(const char* name, void (*body)());
};
#define KERNEL_TEST(name)                                                                      \
  static void kernel_test_##name();                                                            \
  static const hearth::test::RegisterTest kernel_test_entry_##name(#name, kernel_test_##name); \
  static void kernel_test_##name()

}  // namespace hearth::test
