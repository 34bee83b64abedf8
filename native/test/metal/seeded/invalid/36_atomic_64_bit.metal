#include <metal_stdlib>
using namespace metal;
kernel void k(device atomic<ulong>* x [[buffer(0)]]) { atomic_fetch_add_explicit(x, 1ul, memory_order_relaxed); }
