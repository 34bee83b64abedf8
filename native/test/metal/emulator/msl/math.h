// Constants, and functions of numbers and vectors. Scalar functions are overloads rather than templates, so that mixed
// argument types are ambiguous, as in MSL.
#pragma once

#include "vector.h"

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX 3.402823466e+38F
#define FLT_MIN 1.175494351e-38F
#define FLT_EPSILON 1.192092896e-07F
#define MAXFLOAT FLT_MAX
#define HALF_MAX ((half)65504.0F)
#define MAXHALF HALF_MAX
#define M_PI_F 3.14159265358979323846F
#define M_LN2_F 0.69314718055994530942F
#define M_LOG2E_F 1.44269504088896340736F
#define INT_MAX 2147483647
#define UINT_MAX 4294967295u

#ifdef MSL_CHECK
#define assert(x) ((void)(x))
#else
#define assert(x) ((x) ? (void)0 : msl::kernel_error("assert(" #x ")"))
namespace msl {
void kernel_error(const char* what);
}
#endif
namespace msl {
template <class T> T byval(T v);
}
namespace metal {
typedef ::size_t size_t;
#ifndef MSL_CHECK
typedef ::half half;
#endif
typedef ::bfloat bfloat;
typedef ::uint uint;
typedef ::ushort ushort;
typedef ::uchar uchar;
typedef ::ulong ulong;
using ::as_type;
template <class T, T V> struct integral_constant {
  static constexpr T value = V;
};
template <class T, class U> struct is_same : integral_constant<bool, msl::Same<T, U>::value> {};
template <class T, class U> constexpr bool is_same_v = msl::Same<T, U>::value;
template <bool B, class T = void> using enable_if_t = typename msl::EnableIf<B, T>::type;
template <bool B, class T, class F> using conditional_t = typename msl::Conditional<B, T, F>::type;
template <class T> struct remove_reference {
  typedef typename msl::RemoveReference<T>::type type;
};
template <class T> using remove_cv_t = typename msl::RemoveCv<T>::type;

// ---- element-wise functions: scalar overloads (so that mixed argument types are ambiguous, as in MSL) + vectors ----
#define MSL_UNARY(name, e)                                                            \
  MSL_INLINE float name(float x) { return e; }                                        \
  MSL_INLINE half name(half xh) {                                                     \
    float x = (float)xh;                                                              \
    return (half)(e);                                                                 \
  }                                                                                   \
  template <class A, class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0)>::type> \
  MSL_INLINE typename msl::TraitsOf<A>::type name(const A& a) {                       \
    auto v = msl::vector_of(a);                                                       \
    for (int i = 0; i < msl::TraitsOf<A>::n; i++) v.d[i] = name(v.d[i]);              \
    return v;                                                                         \
  }
#define MSL_BINARY(name, e)                                                                     \
  MSL_INLINE float name(float x, float y) { return e; }                                         \
  MSL_INLINE half name(half xh, half yh) {                                                      \
    float x = (float)xh, y = (float)yh;                                                         \
    return (half)(e);                                                                           \
  }                                                                                             \
  template <class A, class B, class = typename msl::EnableIf<msl::BinaryTypes<A, B>::ok>::type> \
  MSL_INLINE auto name(const A& a, const B& b) {                                                \
    typedef msl::BinaryTypes<A, B> K;                                                           \
    auto x = msl::widen<typename K::T, K::n>(a);                                                \
    auto y = msl::widen<typename K::T, K::n>(b);                                                \
    for (int i = 0; i < K::n; i++) x.d[i] = name(x.d[i], y.d[i]);                               \
    return x;                                                                                   \
  }
#define MSL_FUNCTIONS                                           \
  MSL_UNARY(exp, __builtin_expf(x))                             \
  MSL_UNARY(exp2, __builtin_exp2f(x))                           \
  MSL_UNARY(exp10, __builtin_expf(x * 2.30258509299404568402F)) \
  MSL_UNARY(log, __builtin_logf(x))                             \
  MSL_UNARY(log2, __builtin_log2f(x))                           \
  MSL_UNARY(log10, __builtin_log10f(x))                         \
  MSL_UNARY(sqrt, __builtin_sqrtf(x))                           \
  MSL_UNARY(rsqrt, 1.0F / __builtin_sqrtf(x))                   \
  MSL_UNARY(sin, __builtin_sinf(x))                             \
  MSL_UNARY(cos, __builtin_cosf(x))                             \
  MSL_UNARY(tan, __builtin_tanf(x))                             \
  MSL_UNARY(tanh, __builtin_tanhf(x))                           \
  MSL_UNARY(sinh, __builtin_sinhf(x))                           \
  MSL_UNARY(cosh, __builtin_coshf(x))                           \
  MSL_UNARY(atan, __builtin_atanf(x))                           \
  MSL_UNARY(asin, __builtin_asinf(x))                           \
  MSL_UNARY(acos, __builtin_acosf(x))                           \
  MSL_UNARY(floor, __builtin_floorf(x))                         \
  MSL_UNARY(ceil, __builtin_ceilf(x))                           \
  MSL_UNARY(round, __builtin_roundf(x))                         \
  MSL_UNARY(rint, __builtin_rintf(x))                           \
  MSL_UNARY(trunc, __builtin_truncf(x))                         \
  MSL_UNARY(fabs, __builtin_fabsf(x))                           \
  MSL_UNARY(fract, x - __builtin_floorf(x))                     \
  MSL_UNARY(sign, x > 0 ? 1.0F : x < 0 ? -1.0F : 0.0F)          \
  MSL_UNARY(saturate, x < 0 ? 0.0F : x > 1 ? 1.0F : x)          \
  MSL_BINARY(pow, __builtin_powf(x, y))                         \
  MSL_BINARY(powr, __builtin_powf(x, y))                        \
  MSL_BINARY(atan2, __builtin_atan2f(x, y))                     \
  MSL_BINARY(fmod, __builtin_fmodf(x, y))                       \
  MSL_BINARY(fmax, __builtin_fmaxf(x, y))                       \
  MSL_BINARY(fmin, __builtin_fminf(x, y))                       \
  MSL_BINARY(step, y < x ? 0.0F : 1.0F)                         \
  MSL_INLINE float sincos(float x, MSL_THREAD float& c) {       \
    c = __builtin_cosf(x);                                      \
    return __builtin_sinf(x);                                   \
  }
MSL_FUNCTIONS
namespace fast {
MSL_FUNCTIONS
MSL_UNARY(divide1, 1.0F / x)
MSL_BINARY(divide, x / y)
MSL_BINARY(max, __builtin_fmaxf(x, y))
MSL_BINARY(min, __builtin_fminf(x, y))
MSL_INLINE float clamp(float x, float a, float b) { return x < a ? a : x > b ? b : x; }
}  // namespace fast
namespace precise {
MSL_FUNCTIONS
MSL_BINARY(divide, x / y)
MSL_BINARY(max, __builtin_fmaxf(x, y))
MSL_BINARY(min, __builtin_fminf(x, y))
MSL_INLINE float clamp(float x, float a, float b) { return x < a ? a : x > b ? b : x; }
}  // namespace precise
MSL_BINARY(divide, x / y)
#define MSL_ALL_TYPES(X) \
  X(char) X(signed char) X(uchar) X(short) X(ushort) X(int) X(uint) X(long) X(ulong) X(half) X(float)
#define MSL_MIN_MAX(T)                                                    \
  MSL_INLINE T min(T x, T y) { return y < x ? y : x; }                    \
  MSL_INLINE T max(T x, T y) { return x < y ? y : x; }                    \
  MSL_INLINE T clamp(T x, T a, T b) { return x < a ? a : x > b ? b : x; } \
  MSL_INLINE T max3(T a, T b, T c) { return max(max(a, b), c); }          \
  MSL_INLINE T min3(T a, T b, T c) { return min(min(a, b), c); }          \
  MSL_INLINE T select(T a, T b, bool c) { return c ? b : a; }
MSL_ALL_TYPES(MSL_MIN_MAX)
MSL_INLINE bfloat min(bfloat x, bfloat y) { return (float)y < (float)x ? y : x; }
MSL_INLINE bfloat max(bfloat x, bfloat y) { return (float)x < (float)y ? y : x; }
MSL_INLINE int abs(int x) { return x < 0 ? -x : x; }
MSL_INLINE short abs(short x) { return x < 0 ? -x : x; }
MSL_INLINE float abs(float x) { return __builtin_fabsf(x); }
MSL_INLINE half abs(half x) { return x < 0 ? -x : x; }
template <class A, class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0)>::type>
MSL_INLINE typename msl::TraitsOf<A>::type abs(const A& a) {
  auto v = msl::vector_of(a);
  for (int i = 0; i < msl::TraitsOf<A>::n; i++) v.d[i] = abs(v.d[i]);
  return v;
}
#define MSL_VECTOR_BINARY(name)                                                                 \
  template <class A, class B, class = typename msl::EnableIf<msl::BinaryTypes<A, B>::ok>::type> \
  MSL_INLINE auto name(const A& a, const B& b) {                                                \
    typedef msl::BinaryTypes<A, B> K;                                                           \
    static_assert(K::strict, "");                                                               \
    auto x = msl::widen<typename K::T, K::n>(a);                                                \
    auto y = msl::widen<typename K::T, K::n>(b);                                                \
    for (int i = 0; i < K::n; i++) x.d[i] = name(x.d[i], y.d[i]);                               \
    return x;                                                                                   \
  }
#define MSL_VECTOR_TERNARY(name)                                                                        \
  template <class A, class B, class C, class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0)>::type> \
  MSL_INLINE auto name(const A& a, const B& b, const C& c) {                                            \
    typedef msl::TraitsOf<A> K;                                                                         \
    typedef typename K::elem T;                                                                         \
    auto x = msl::vector_of(a);                                                                         \
    auto y = msl::widen<T, K::n>(b);                                                                    \
    auto z = msl::widen<T, K::n>(c);                                                                    \
    for (int i = 0; i < K::n; i++) x.d[i] = name(x.d[i], y.d[i], z.d[i]);                               \
    return x;                                                                                           \
  }
MSL_VECTOR_BINARY(min)
MSL_VECTOR_BINARY(max)
MSL_VECTOR_TERNARY(clamp)
MSL_VECTOR_TERNARY(max3)
MSL_VECTOR_TERNARY(min3)
MSL_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
MSL_INLINE half fma(half a, half b, half c) { return (half)__builtin_fmaf((float)a, (float)b, (float)c); }
MSL_INLINE float mix(float x, float y, float a) { return x + (y - x) * a; }
MSL_INLINE half mix(half x, half y, half a) { return x + (y - x) * a; }
MSL_INLINE float smoothstep(float e0, float e1, float x) {
  float t = saturate((x - e0) / (e1 - e0));
  return t * t * (3.0F - 2.0F * t);
}
MSL_VECTOR_TERNARY(fma)
MSL_VECTOR_TERNARY(mix)
template <
    class A, class B, class C,
    class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0) && (msl::TraitsOf<C>::n == msl::TraitsOf<A>::n)>::type>
MSL_INLINE typename msl::TraitsOf<A>::type select(const A& a0, const B& b0, const C& c0) {
  typedef msl::TraitsOf<A> K;
  static_assert(msl::Same<typename msl::TraitsOf<C>::elem, bool>::value, "select: the condition must be a bool vector");
  auto a = msl::vector_of(a0);
  auto b = msl::widen<typename K::elem, K::n>(b0);
  auto c = msl::vector_of(c0);
  for (int i = 0; i < K::n; i++) a.d[i] = c.d[i] ? b.d[i] : a.d[i];
  return a;
}
MSL_INLINE bool isnan(float x) { return __builtin_isnan(x); }
MSL_INLINE bool isinf(float x) { return __builtin_isinf(x); }
MSL_INLINE bool isfinite(float x) { return __builtin_isfinite(x); }
MSL_INLINE float copysign(float x, float y) { return __builtin_copysignf(x, y); }
MSL_INLINE float ldexp(float x, int k) { return __builtin_ldexpf(x, k); }
MSL_INLINE float frexp(float x, MSL_THREAD int& e) { return __builtin_frexpf(x, &e); }
template <class A, class B, class = typename msl::EnableIf<msl::BinaryTypes<A, B>::ok>::type>
MSL_INLINE auto dot(const A& a, const B& b) {
  typedef msl::BinaryTypes<A, B> K;
  static_assert(K::strict, "");
  auto p = msl::vector_of(a) * msl::vector_of(b);
  auto s = p.d[0];
  for (int i = 1; i < K::n; i++) s += p.d[i];
  return s;
}
template <class A, class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0)>::type> MSL_INLINE auto length(const A& a) {
  return sqrt(dot(a, a));
}
template <int N> MSL_INLINE bool any(const vec<bool, N>& a) {
  bool r = false;
  for (int i = 0; i < N; i++) r |= a.d[i];
  return r;
}
template <int N> MSL_INLINE bool all(const vec<bool, N>& a) {
  bool r = true;
  for (int i = 0; i < N; i++) r &= a.d[i];
  return r;
}
#define MSL_VECTOR_INTEGER(name)                                            \
  template <class T, int N> MSL_INLINE vec<T, N> name(const vec<T, N>& a) { \
    vec<T, N> r;                                                            \
    for (int i = 0; i < N; i++) r.d[i] = name(a.d[i]);                      \
    return r;                                                               \
  }
MSL_INLINE uint popcount(uint x) { return (uint)__builtin_popcount(x); }
MSL_INLINE int popcount(int x) { return __builtin_popcount((uint)x); }
MSL_INLINE ulong popcount(ulong x) { return (ulong)__builtin_popcountl(x); }
MSL_INLINE uint clz(uint x) { return x ? (uint)__builtin_clz(x) : 32u; }
MSL_INLINE uint ctz(uint x) { return x ? (uint)__builtin_ctz(x) : 32u; }
MSL_INLINE uint mulhi(uint a, uint b) { return (uint)(((ulong)a * b) >> 32); }
MSL_INLINE uint reverse_bits(uint x) { return __builtin_bitreverse32(x); }
MSL_INLINE uint rotate(uint x, uint n) {
  n &= 31u;
  return n ? (x << n) | (x >> (32u - n)) : x;
}
MSL_INLINE uint addsat(uint a, uint b) {
  uint r;
  return __builtin_add_overflow(a, b, &r) ? ~0u : r;
}
MSL_INLINE uint subsat(uint a, uint b) { return a > b ? a - b : 0u; }
template <int N, class B> MSL_INLINE vec<uint, N> rotate(const vec<uint, N>& a, const B& b) {
  auto y = msl::widen<uint, N>(b);
  vec<uint, N> r;
  for (int i = 0; i < N; i++) r.d[i] = rotate(a.d[i], y.d[i]);
  return r;
}
MSL_VECTOR_INTEGER(popcount)
MSL_VECTOR_INTEGER(clz)
MSL_VECTOR_INTEGER(ctz)

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
MSL_INLINE constexpr mem_flags operator|(mem_flags a, mem_flags b) { return (mem_flags)((uint)a | (uint)b); }
enum memory_order { memory_order_relaxed };
}  // namespace metal
