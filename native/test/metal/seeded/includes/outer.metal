#include <metal_stdlib>
#include "inner.h"
#include "inner.h"
using namespace metal;
kernel void outer(device float* x [[buffer(0)]]) { x[0] = 1.0f; }
