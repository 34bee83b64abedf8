// Makes MSL's keywords mean nothing, for the execution of kernels. It is the last include before a kernel's text.
#define kernel
#define device
#define constant const
#define threadgroup
#define thread
#define is_function_constant_defined(x) (msl::constant_defined(&(x)))
