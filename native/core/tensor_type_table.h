// The one table of tensor types. Everything else that knows types derives from it: tensor_types.h for C++,
// metal/common.h for the GPU.
//
// Only preprocessor directives stand here, so that both compilers can read the file. A list calls its argument, a
// macro, with each of its rows:
//   name      ggml's name (ggml/src/ggml.c, `type_traits`); the code uses the same name everywhere
//   id        ggml's number, which files hold (ggml/include/ggml.h, `enum ggml_type`)
//   block     number of elements that are stored together
//   bytes     bytes of a block
//   scale     byte of a block at which the F16 begins that scales the values of a quantised type; -1: there is none
//   minimum   byte of a block at which the F16 of the minimums of a quantised type begins; -1: there is none
//
// When a type is added to one of the first two lists, the compiler asks for its dequantisation (core/dequantize.cpp)
// and its CPU kernels, and the tests ask for everything else: see "Add a tensor type" in CONTRIBUTING.md.
#pragma once

// clang-format off

/// Types of matrices whose kernels multiply integers. Messages name types in this order.
#define HEARTH_QUANTISED_TYPES(ROW)   \
  ROW(MXFP4,   39,  32,  17,  -1, -1) \
  ROW(Q4_0,     2,  32,  18,   0, -1) \
  ROW(Q4_1,     3,  32,  20,   0,  2) \
  ROW(Q5_0,     6,  32,  22,   0, -1) \
  ROW(Q5_1,     7,  32,  24,   0,  2) \
  ROW(Q8_0,     8,  32,  34,   0, -1) \
  ROW(Q4_K,    12, 256, 144,   0,  2) \
  ROW(Q5_K,    13, 256, 176,   0,  2) \
  ROW(Q6_K,    14, 256, 210, 208, -1)

/// Types of matrices, and of vectors, whose kernels multiply floats.
#define HEARTH_FLOAT_TYPES(ROW)       \
  ROW(F16,      1,   1,   2,  -1, -1) \
  ROW(BF16,    30,   1,   2,  -1, -1) \
  ROW(F32,      0,   1,   4,  -1, -1)

/// Types that a file may hold but that no kernel computes with. Such a file is listed, and its tensors are refused by
/// name.
#define HEARTH_OTHER_TYPES(ROW)       \
  ROW(Q8_1,     9,  32,  36,  -1, -1) \
  ROW(Q2_K,    10, 256,  84,  -1, -1) \
  ROW(Q3_K,    11, 256, 110,  -1, -1) \
  ROW(Q8_K,    15, 256, 292,  -1, -1) \
  ROW(IQ2_XXS, 16, 256,  66,  -1, -1) \
  ROW(IQ2_XS,  17, 256,  74,  -1, -1) \
  ROW(IQ3_XXS, 18, 256,  98,  -1, -1) \
  ROW(IQ1_S,   19, 256,  50,  -1, -1) \
  ROW(IQ4_NL,  20,  32,  18,  -1, -1) \
  ROW(IQ3_S,   21, 256, 110,  -1, -1) \
  ROW(IQ2_S,   22, 256,  82,  -1, -1) \
  ROW(IQ4_XS,  23, 256, 136,  -1, -1) \
  ROW(I8,      24,   1,   1,  -1, -1) \
  ROW(I16,     25,   1,   2,  -1, -1) \
  ROW(I32,     26,   1,   4,  -1, -1) \
  ROW(I64,     27,   1,   8,  -1, -1) \
  ROW(F64,     28,   1,   8,  -1, -1) \
  ROW(IQ1_M,   29, 256,  56,  -1, -1) \
  ROW(TQ1_0,   34, 256,  54,  -1, -1) \
  ROW(TQ2_0,   35, 256,  66,  -1, -1)

// clang-format on

#define HEARTH_MATRIX_TYPES(ROW) HEARTH_QUANTISED_TYPES(ROW) HEARTH_FLOAT_TYPES(ROW)
#define HEARTH_TENSOR_TYPES(ROW) HEARTH_MATRIX_TYPES(ROW) HEARTH_OTHER_TYPES(ROW)
