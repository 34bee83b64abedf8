// Included after a kernel's text. It makes MSL's keywords ordinary names again.
#undef kernel
#undef device
#undef constant
#undef threadgroup
#undef thread
#undef is_function_constant_defined
