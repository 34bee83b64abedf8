// Runs the kernels with one deliberate mistake each (mistakes.metal), so that run() and the checkers report them. Each
// kernel is a test of its own, because a sanitizer ends the process. test/unit/metal-emulator.test.ts knows which must
// fail in which mode.
#include "kernel_test.h"

using namespace hearth::test;

static void run_kernel(const char* name) {
  constexpr uint32_t kCount = 512, kThreads = 128;
  std::vector<float> x(kCount), y(kCount);
  for (uint32_t i = 0; i < kCount; i++) x[i] = static_cast<float>(i * 37 % 101) - 50;
  Launch(name).read(0, x).write(1, y).bytes(2, kCount).run({kCount / kThreads, 1, 1}, {kThreads, 1, 1});
  for (const float value : y)
    if (value != value) {
      fail_test("NaN in the result");
      break;
    }
}

#define RUN(name) \
  KERNEL_TEST(name) { run_kernel(#name); }
RUN(ok_reduce)
RUN(ok_simdgroup_barrier)
RUN(ok_divergent_simd_sum)
RUN(bug_no_barrier)
RUN(bug_wrong_flag)
RUN(bug_no_second_barrier)
RUN(bug_no_simdgroup_barrier)
RUN(bug_uninit_tg)
RUN(bug_oob_read)
RUN(bug_oob_write)
RUN(bug_tg_overflow)
RUN(bug_two_groups_one_output)
RUN(bug_divergent_barrier)
RUN(bug_early_return)
RUN(bug_tg_32k)
RUN(bug_stack)
RUN(bug_uninit_local)
RUN(bug_shuffle_inactive)
RUN(bug_misaligned)
RUN(bug_shift)
RUN(bug_shuffle_xor_inactive)
