// Converts weights to F32. This is the definition of each tensor type; the reference backend uses it, and embedding
// rows are read with it.
#pragma once

#include "model.h"

namespace hearth {

/// Writes row `row` of the matrix to `out` as `matrix.columns` floats.
void dequantize_row(const Matrix& matrix, int64_t row, float* out);

}  // namespace hearth
