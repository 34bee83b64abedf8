// Makes MSL's keywords the address spaces of C++ for OpenCL, for the check of kernels. It is the last include before a
// kernel's text.
#define kernel
#define device __global
#define constant const __constant
#define threadgroup __local
#define thread __private
#define is_function_constant_defined(x) true
