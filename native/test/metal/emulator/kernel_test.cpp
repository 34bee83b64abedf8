// The program around kernel tests. It prints a line for each test and exits with 1 if any failed. Usage: kernel_tests
// [--list] [name...]
#include "kernel_test.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#endif

namespace hearth::test {
namespace {

std::vector<KernelTest>& tests() {
  static std::vector<KernelTest> all;
  return all;
}
int failures = 0;
std::mt19937 random_engine;

/// Bytes that no kernel has written are compared between orders, too. This keeps the memory sanitizer from reporting
/// that.
void mark_set([[maybe_unused]] const void* data, [[maybe_unused]] size_t bytes) {
#if __has_feature(memory_sanitizer)
  __msan_unpoison(data, bytes);
#endif
}

}  // namespace

RegisterTest::RegisterTest(const char* name, void (*body)()) { tests().push_back({name, body}); }

Mode mode() {
#if defined(MSL_MEMORY_CHECKER)
  return Mode::race;
#elif __has_feature(address_sanitizer)
  return Mode::asan;
#elif __has_feature(memory_sanitizer)
  return Mode::msan;
#else
  return Mode::plain;
#endif
}

void fail_test(const char* format, ...) {
  constexpr int kMaxLines = 10;  // of one test
  if (failures++ >= kMaxLines) return;
  va_list arguments;
  va_start(arguments, format);
  printf("  ");
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
}

void expect_close(const std::string& what, const float* got, const float* want, size_t count, double tolerance) {
  double scale = 0, worst = 0;
  size_t at = 0;
  for (size_t i = 0; i < count; i++) scale += std::fabs(want[i]) / static_cast<double>(count);
  for (size_t i = 0; i < count; i++) {
    const double error = std::fabs(double(got[i]) - want[i]) / (scale + std::fabs(want[i]) + 1e-30);
    if (!(error <= worst)) {
      worst = error;
      at = i;
      if (std::isnan(error)) break;
    }
  }
  if (!(worst <= tolerance))
    fail_test("%s[%zu of %zu]: %.9g instead of %.9g (relative error %.3g, allowed %.3g)", what.c_str(), at, count,
              double(got[at]), double(want[at]), worst, tolerance);
}

std::mt19937& generator() { return random_engine; }
std::vector<float> random_values(size_t count, float scale) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (auto& value : values) value = normal(random_engine);
  return values;
}
void mark_unset(void* data, size_t bytes) {
  memset(data, 0xff, bytes);
#if __has_feature(memory_sanitizer)
  __msan_allocated_memory(data, bytes);
#endif
}

Launch::Launch(const std::string& kernel) : name_(kernel), kernel_(msl::Registry::get().find(kernel)) {
  if (!kernel_) fail_test("no kernel %s in the linked .metal files", kernel.c_str());
}
Launch& Launch::set_constant(int index, const void* value, size_t bytes) {
  const auto* data = static_cast<const char*>(value);
  constants_.push_back({index, std::vector<char>(data, data + bytes)});
  return *this;
}
Launch& Launch::bind(int index, void* data, size_t bytes, bool written) {
  arguments_.buffers[index] = {data, bytes};
  if (written) written_.push_back({index, data, bytes});
  if (kernel_ && !(kernel_->buffers >> index & 1)) fail_test("kernel %s has no [[buffer(%d)]]", name_.c_str(), index);
  if (kernel_ && !written && (kernel_->written >> index & 1))
    fail_test("kernel %s may write [[buffer(%d)]]: bind it with write()", name_.c_str(), index);
  return *this;
}
Launch& Launch::bind_copy(int index, const void* data, size_t bytes) {
  const auto* from = static_cast<const char*>(data);
  copies_.emplace_back(from, from + bytes);
  return bind(index, copies_.back().data(), bytes, false);
}
Launch& Launch::threadgroup_memory(int index, size_t bytes) {
  if (bytes % 16) fail_test("threadgroup memory of %zu bytes: not a multiple of 16", bytes);
  threadgroup_bytes_[index] = bytes;
  return *this;
}
Launch& Launch::order_dependent() {
  compare_orders_ = false;
  return *this;
}
Launch& Launch::flush_denormals() {
  options_.flush_denormals = true;
  return *this;
}

void Launch::run(msl::Size3 groups, msl::Size3 threads) {
  const std::string error = try_run(groups, threads);
  if (!error.empty()) fail_test("%s", error.c_str());
}
std::string Launch::try_run(msl::Size3 groups, msl::Size3 threads) {
  if (!kernel_) return "no kernel " + name_;
  for (int i = 0; i < msl::kMaxBindings; i++) {
    if ((kernel_->buffers >> i & 1) && !arguments_.buffers[i].data)
      return "kernel " + name_ + ": [[buffer(" + std::to_string(i) + ")]] is not bound";
    if ((kernel_->threadgroup_slots >> i & 1) && !threadgroup_bytes_[i])
      return "kernel " + name_ + ": [[threadgroup(" + std::to_string(i) + ")]] has no length";
  }
  msl::reset_constants();
  for (const auto& [index, value] : constants_)
    if (!msl::set_constant(kernel_->file, index, value.data(), value.size()))
      return "kernel " + name_ + ": no function constant " + std::to_string(index);

  struct Order {
    const char* name;
    msl::LaneOrder order;
    uint32_t seed;
  };
  // The natural order comes last, so that its result stays.
  static const Order kOrders[] = {{"random (seed 1)", msl::LaneOrder::random, 1},
                                  {"random (seed 2)", msl::LaneOrder::random, 2},
                                  {"reverse", msl::LaneOrder::reverse, 0},
                                  {"natural", msl::LaneOrder::natural, 0}};
  std::vector<std::vector<char>> before, first;
  const auto snapshot = [&](std::vector<std::vector<char>>& to) {
    for (const auto& [index, data, bytes] : written_)
      to.emplace_back(static_cast<char*>(data), static_cast<char*>(data) + bytes);
  };
  snapshot(before);
  for (const auto& [name, order, seed] : kOrders) {
    if (!all_sizes() && (seed == 2 || order == msl::LaneOrder::reverse)) continue;
    for (size_t i = 0; i < written_.size(); i++) memcpy(written_[i].data, before[i].data(), written_[i].bytes);
    options_.order = order;
    options_.seed = seed;
    const std::string error = msl::dispatch(*kernel_, arguments_, threadgroup_bytes_, groups, threads, options_);
    if (!error.empty()) return error + " [" + name + " order]";
    if (first.empty()) {
      snapshot(first);
      for (auto& bytes : first) mark_set(bytes.data(), bytes.size());
      continue;
    }
    for (size_t b = 0; compare_orders_ && b < written_.size(); b++) {
      const auto* data = static_cast<const char*>(written_[b].data);
      std::vector<char> now(data, data + written_[b].bytes);
      mark_set(now.data(), now.size());
      for (size_t at = 0; at < now.size(); at++)
        if (now[at] != first[b][at])
          return "kernel " + name_ + " gives another result in " + name + " order: byte " + std::to_string(at) +
                 " of buffer(" + std::to_string(written_[b].index) + ")";
    }
  }
  return "";
}

}  // namespace hearth::test

int main(int count, char** values) {
  using namespace hearth::test;
  const std::vector<std::string> names(values + 1, values + count);
  if (!names.empty() && names[0] == "--list") {
    for (const auto& test : tests()) printf("%s\n", test.name);
    return 0;
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
  int failed = 0, ran = 0;
  for (const auto& test : tests()) {
    if (!names.empty() && std::find(names.begin(), names.end(), test.name) == names.end()) continue;
    failures = 0;
    random_engine.seed(1);
    const auto start = std::chrono::steady_clock::now();
    test.body();
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start).count();
    printf("%s %s (%lld ms)\n", failures ? "FAILED" : "ok", test.name, static_cast<long long>(ms));
    failed += failures != 0;
    ran++;
  }
  if (ran == 0) printf("no test of that name\n");
  return failed || ran == 0 ? 1 : 0;
}
