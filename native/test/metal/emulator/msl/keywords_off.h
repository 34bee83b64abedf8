// After a kernel's text: its keywords are ordinary names again.
#undef kernel
#undef device
#undef constant
#undef threadgroup
#undef thread
#undef is_function_constant_defined
