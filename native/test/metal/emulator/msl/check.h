// In check mode a kernel's text is compiled (not run) as C++ for OpenCL, which has the address spaces of MSL.
#pragma once
#define MSL_CHECK 1
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INTPTR_TYPE__ intptr_t;
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#pragma OPENCL EXTENSION __cl_clang_function_pointers : enable
// OpenCL predeclares these names.
#define atomic_int msl_atomic_int
#define atomic_uint msl_atomic_uint
#define atomic_float msl_atomic_float
#define atomic_ulong msl_atomic_ulong
#include "shim.h"
namespace msl {
template <int Id, class T> __local T& threadgroup_variable(__constant const char* name);
}
