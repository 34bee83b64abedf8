// MSL for clang: what a kernel may use. `check.h` includes it in check mode, generated kernel files in execution mode.
#pragma once

#include "atomic.h"
#include "language.h"
#include "math.h"
#include "simd.h"
#include "simdgroup_matrix.h"
#include "vector.h"
