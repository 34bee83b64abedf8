#include <metal_stdlib>
using namespace metal;
kernel void k(device bfloat* x [[buffer(0)]]) { x[0] = bfloat(1.0f); }
