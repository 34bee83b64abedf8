#include <metal_stdlib>
using namespace metal;
kernel void k(device float* x [[buffer(0)]], uint2 g [[threadgroup_position_in_grid]], uint n [[threads_per_threadgroup]]) { x[g.x] = float(n); }
