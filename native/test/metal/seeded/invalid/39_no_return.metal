#include <metal_stdlib>
using namespace metal;
static float f(float x) { if (x > 0.0f) return x; }
kernel void k(device float* x [[buffer(0)]]) { x[0] = f(x[0]); }
