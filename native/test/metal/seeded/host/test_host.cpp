// Runs host code on the fake Metal. Correct code passes, and each deliberate mistake ends the process with a message
// that says what is wrong (test/unit/metal-emulator.test.ts has the messages). The code uses gpu.h, or the Objective-C
// runtime itself where gpu.h does not allow the mistake.
#include <sys/mman.h>

#include <cstring>

#include "../../fake/fake_metal.h"
#include "core/error.h"
#include "kernel_test.h"
#include "metal/device/gpu.h"
#include "metal/device/objc_runtime.h"
#include "metal/device/sources.h"

using namespace hearth;
using namespace hearth::test;
using namespace hearth::objc;

namespace {

constexpr uint32_t kCount = 256;
constexpr size_t kBytes = kCount * sizeof(float);

std::unique_ptr<gpu::Device> open() {
  std::string why_not;
  auto device = gpu::open_device(&why_not);
  if (!device) fail("no device: %s", why_not.c_str());
  return device;
}
std::unique_ptr<gpu::Library> library(gpu::Device& device, const char* name = "correct.metal") {
  for (int i = 0; i < gpu::source_count; i++)
    if (!strcmp(gpu::sources[i].name, name)) return device.library(name, gpu::sources[i].text);
  fail("%s is not embedded", name);
}

/// y += x over shared buffers, in the steps that a mistake may leave out or change.
struct Addition {
  std::unique_ptr<gpu::Device> device = open();
  std::unique_ptr<gpu::Library> kernels = library(*device);
  std::unique_ptr<gpu::Pipeline> add = kernels->pipeline("add_f32");
  std::unique_ptr<gpu::Buffer> x = device->buffer(kBytes), y = device->buffer(kBytes);
  std::unique_ptr<gpu::CommandBuffer> commands = device->command_buffer();

  Addition() {
    for (uint32_t i = 0; i < kCount; i++) {
      static_cast<float*>(x->contents())[i] = static_cast<float>(i);
      static_cast<float*>(y->contents())[i] = 1;
    }
  }
  void bind() {
    commands->pipeline(*add);
    commands->buffer(0, {y.get(), 0, kBytes});
    commands->buffer(1, {x.get(), 0, kBytes});
    commands->value(2, kCount);
  }
  void dispatch() { commands->dispatch({1}, {kCount}); }
  void finish() {
    commands->commit();
    commands->wait();
  }
  void expect(float times) {
    std::vector<float> want(kCount), got(kCount);
    for (uint32_t i = 0; i < kCount; i++) want[i] = 1 + times * static_cast<float>(i);
    memcpy(got.data(), y->contents(), kBytes);
    expect_same("y", got, want);
  }
};

}  // namespace

KERNEL_TEST(host_correct) {
  {
    Addition a;
    a.bind();
    a.dispatch();
    a.commands->barrier();
    a.dispatch();
    a.finish();
    a.expect(2);
    a.device->keep_resident({a.x.get(), a.y.get()});
  }
  if (const size_t left = fake::live_objects()) fail_test("%zu objects are left", left);
}
KERNEL_TEST(host_older_system) {
  fake::settings().residency_sets = fake::settings().math_mode = false;
  fake::settings().max_threads = 512;
  Addition a;
  if (a.add->max_threads() != 512) fail_test("the pipeline's limit is lost");
  a.device->keep_resident({a.x.get()});
  a.bind();
  a.dispatch();
  a.finish();
  a.expect(1);
}
KERNEL_TEST(host_no_device) {
  fake::settings().device = false;
  std::string why_not;
  if (gpu::open_device(&why_not) || why_not != "the system has no Metal device") fail_test("%s", why_not.c_str());
}
template <class F> static void expect_error(const char* want, F body) {
  try {
    body();
    fail_test("no error, but expected: %s", want);
  } catch (const Error& error) {
    if (!strstr(error.what(), want)) fail_test("%s", error.what());
  }
}
KERNEL_TEST(host_errors_are_exceptions) {
  Addition a;
  expect_error("no kernel nothing", [&] { a.kernels->pipeline("nothing"); });
  expect_error("2048 threads a threadgroup, of at most 1024", [&] {
    a.bind();
    a.commands->dispatch({1}, {2048});
  });
  expect_error("no memory for a buffer", [&] { a.device->buffer(size_t{1} << 40); });
  expect_error("past the end", [&] { a.commands->buffer(0, {a.y.get(), 4, kBytes}); });
  fake::settings().compile_error = "program_source:1:1: error: made up";
  expect_error("rejects correct.metal: program_source:1:1: error: made up", [&] { library(*a.device); });
  a.dispatch();
  fake::settings().failing_command_buffer = 0;
  expect_error("the GPU failed: Caused GPU Hang Error", [&] { a.finish(); });
}
KERNEL_TEST(host_mapped_memory_is_split) {
  const size_t page = 16384, pages = 9;
  fake::settings().page_bytes = static_cast<size_t>(4096);
  fake::settings().max_buffer_bytes = 4 * page;
  const auto device = open();
  auto* data =
      static_cast<char*>(mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const size_t longest = 20000, bytes = pages * page - 100;
  const gpu::MappedMemory memory(*device, data + 32, bytes - 32, longest);
  if (memory.buffers().size() < 3) fail_test("%zu buffers", memory.buffers().size());
  for (size_t at = 32; at + longest <= bytes; at += 1000) {
    const gpu::View view = memory.view(data + at, longest);
    if (static_cast<char*>(view.buffer->contents()) + view.offset != data + at) fail_test("wrong view at %zu", at);
  }
  expect_error("not mapped for the GPU", [&] { memory.view(data + pages * page, 1); });
  expect_error("too short for a tensor", [&] { gpu::MappedMemory(*device, data, bytes, 4 * page); });
}

KERNEL_TEST(host_bug_buffer_not_bound) {
  Addition a;
  a.commands->pipeline(*a.add);
  a.commands->buffer(0, {a.y.get(), 0, kBytes});
  a.commands->value(2, kCount);
  a.dispatch();
  a.finish();
}
KERNEL_TEST(host_bug_offset_past_the_end) {
  Addition a;
  a.bind();
  a.commands->buffer(1, {a.x.get(), kBytes, 0});
}
KERNEL_TEST(host_bug_kernel_reads_past_the_view) {
  Addition a;
  a.bind();
  a.commands->buffer(1, {a.x.get(), 0, kBytes / 2});
  a.dispatch();
  a.finish();
}
KERNEL_TEST(host_bug_offset_not_aligned) {
  Addition a;
  a.bind();
  a.commands->buffer(1, {a.x.get(), 2, kBytes - 2});
  a.dispatch();
  a.finish();
}
KERNEL_TEST(host_bug_no_barrier) {
  Addition a;
  a.bind();
  a.dispatch();
  a.dispatch();
  a.finish();
}
KERNEL_TEST(host_bug_misspelt_selector) { send<"newComandQueue">(runtime().create_device()); }
KERNEL_TEST(host_bug_int_instead_of_nsuinteger) {
  send<"newBufferWithLength:options:">(runtime().create_device(), 1024, NSUInteger{0});
}
KERNEL_TEST(host_bug_unaligned_no_copy_buffer) {
  static char memory[65536];
  open()->wrap(memory + 64, 16384);
}
KERNEL_TEST(host_bug_no_threadgroup_memory_length) {
  Addition a;
  const auto matvec = a.kernels->pipeline("matvec_mxfp4", {{0, uint32_t{2}}});
  const struct {
    uint32_t blocks, rows;
  } args{1, 4};
  a.commands->pipeline(*matvec);
  a.commands->value(0, args);
  for (int i = 1; i < 4; i++) a.commands->buffer(i, {a.x.get(), 0, kBytes});
  a.commands->dispatch({1}, {64});
  a.finish();
}
KERNEL_TEST(host_bug_constant_of_another_type) {
  Addition a;
  a.kernels->pipeline("matvec_mxfp4", {{0, true}});
}
KERNEL_TEST(host_bug_over_release) {
  const id device = runtime().create_device();
  send<"release", void>(device);
  send<"release", void>(device);
}
KERNEL_TEST(host_bug_buffer_freed_in_flight) {
  Addition a;
  a.bind();
  a.dispatch();
  a.commands->commit();
  a.x.reset();
  a.commands->wait();
}
KERNEL_TEST(host_bug_result_read_before_wait) {
  Addition a;
  a.bind();
  a.dispatch();
  a.commands->commit();
  a.expect(1);
  a.commands->wait();
}
KERNEL_TEST(host_bug_later_round_read) {
  Addition a;
  a.bind();
  a.dispatch();
  const auto first = std::move(a.commands);
  first->commit();
  a.commands = a.device->command_buffer();
  a.bind();
  a.dispatch();
  a.commands->commit();
  first->wait();
  a.expect(2);
  a.commands->wait();
}
KERNEL_TEST(host_bug_other_text) {
  const auto device = open();
  device->library("correct.metal", "kernel void add_f32() {}");
}
