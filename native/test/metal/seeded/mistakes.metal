// Each kernel named bug_* has one deliberate mistake, which at least one checker must catch (test_mistakes.cpp). The
// kernels named ok_* beside them are correct and must raise no alarm.
#include <metal_stdlib>
using namespace metal;

#define ARGS                                                                                          \
  device const float *x [[buffer(0)]], device float *y [[buffer(1)]], constant uint &n [[buffer(2)]], \
      uint tid [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],              \
      uint sg [[simdgroup_index_in_threadgroup]], uint tg [[threadgroup_position_in_grid]],           \
      uint gid [[thread_position_in_grid]]

kernel void ok_reduce(ARGS) {
  threadgroup float p[4];
  float s = simd_sum(x[gid]);
  if (lane == 0) p[sg] = s;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (tid == 0) y[tg] = p[0] + p[1] + p[2] + p[3];
}
kernel void bug_no_barrier(ARGS) {
  threadgroup float p[4];
  float s = simd_sum(x[gid]);
  if (lane == 0) p[sg] = s;
  if (tid == 127) y[tg] = p[0] + p[1] + p[2] + p[3];
}
kernel void bug_wrong_flag(ARGS) {
  threadgroup float p[4];
  float s = simd_sum(x[gid]);
  if (lane == 0) p[sg] = s;
  threadgroup_barrier(mem_flags::mem_device);
  if (tid == 0) y[tg] = p[0] + p[1] + p[2] + p[3];
}
kernel void bug_no_second_barrier(ARGS) {  // reuses scratch for the next round too early
  threadgroup float p[4];
  float acc = 0.0f;
  for (uint r = 0; r < 2; r++) {
    float s = simd_sum(x[gid] * float(r + 1));
    if (lane == 0) p[sg] = s;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    acc += p[0] + p[1] + p[2] + p[3];
  }
  if (tid == 0) y[tg] = acc;
}
kernel void bug_no_simdgroup_barrier(ARGS) {  // lanes of one SIMD-group exchange through threadgroup memory, unordered
  threadgroup float p[128];
  p[tid] = x[gid];
  y[gid] = p[sg * 32 + (31 - lane)];
}
kernel void ok_simdgroup_barrier(ARGS) {
  threadgroup float p[128];
  p[tid] = x[gid];
  simdgroup_barrier(mem_flags::mem_threadgroup);
  y[gid] = p[sg * 32 + (31 - lane)];
}
kernel void bug_uninit_tg(ARGS) {
  threadgroup float p[32];
  float s = simd_sum(x[gid]);
  if (lane == 0) p[sg] = s;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  s = simd_sum(p[lane]);  // only 4 of 32 were written
  if (tid == 0) y[tg] = s;
}
kernel void bug_oob_read(ARGS) { y[gid] = x[gid + 1]; }
kernel void bug_oob_write(ARGS) { y[gid + (gid == n - 1 ? 1 : 0)] = x[gid]; }
kernel void bug_tg_overflow(ARGS) {
  threadgroup float p[127];
  p[tid] = x[gid];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[gid] = p[tid ^ 1];
}
kernel void bug_two_groups_one_output(ARGS) { y[gid & 127] = x[gid]; }
kernel void bug_divergent_barrier(ARGS) {
  if (tid < 64) threadgroup_barrier(mem_flags::mem_threadgroup);
  y[gid] = x[gid];
}
kernel void bug_early_return(ARGS) {
  if (tid >= 96) return;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[gid] = x[gid];
}
kernel void bug_tg_32k(ARGS) {
  threadgroup float a[8000];
  threadgroup float b[400];
  a[tid] = x[gid];
  b[tid] = 0;
  y[gid] = a[tid] + b[tid];
}
kernel void bug_stack(ARGS) {
  float a[4];
  for (uint i = 0; i < n / 64; i++) a[i] = x[gid];
  y[gid] = a[0] + a[1] + a[2] + a[3];
}
kernel void bug_uninit_local(ARGS) {
  float s;
  if (x[gid] > 0.0f) s = 1.0f;
  if (s > 0.5f) y[gid] = 1.0f;
  else y[gid] = 0.0f;
}
kernel void bug_shuffle_inactive(ARGS) {
  float v = x[gid];
  if (lane < 16) v = simd_shuffle(v, ushort(lane + 16));
  y[gid] = v;
}
kernel void ok_divergent_simd_sum(ARGS) {
  float v = 1.0f;
  if (lane < 16) v = simd_sum(v);
  else v = simd_sum(v) * 2.0f;
  y[gid] = v;
}
kernel void bug_misaligned(ARGS) {
  y[gid] = *(device const float*)((device const uchar*)x + 4 * gid + (gid == 0 ? 1 : 0));
}
kernel void bug_shift(ARGS) { y[gid] = float((gid + 1u) << n); }
kernel void bug_shuffle_xor_inactive(ARGS) {
  float v = x[gid];
  if (lane < 16) v = simd_shuffle_xor(v, 16);
  y[gid] = v;
}
