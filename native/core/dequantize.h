// Weights as F32: the definition of each tensor type, used by the reference backend and for embedding rows.
#pragma once

#include "model.h"

namespace hearth {

/// Writes row `row` of the matrix as matrix.columns floats.
void dequantize_row(const Matrix& matrix, int64_t row, float* out);

}  // namespace hearth
