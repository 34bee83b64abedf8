#include <metal_stdlib>
using namespace metal;
template <bool B> static float f(float x) { if constexpr (B) return x; else return 0.0f; }
kernel void k(device float* x [[buffer(0)]]) { x[0] = f<true>(x[0]); }
