// msl_shim.hpp - Metal Shading Language types and library for a host C++ compiler (clang >= 16).
// Includes nothing from the C or C++ library, so that a kernel can only see what MSL would give it.
#pragma once

// ---- address spaces: empty when executing; real clang address spaces when MSL_CHECK (C++ for OpenCL) ----
#ifdef MSL_CHECK
#define MSL_DEV __global
#define MSL_TGR __local
#define MSL_CON __constant
#define MSL_THR __private
#define MSL_SITE
#define MSL_SITE_A
#define MSL_SITE_D
#else
#define MSL_DEV
#define MSL_TGR
#define MSL_CON const
#define MSL_THR
#define MSL_SITE , unsigned site = (unsigned)__builtin_LINE() * 512u + (unsigned)__builtin_COLUMN()
#define MSL_SITE_A , site
#endif
#define MSL_INLINE inline __attribute__((always_inline))

// ---- scalar types ----
#ifndef MSL_CHECK
typedef _Float16 half;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INTPTR_TYPE__ intptr_t;
#endif
typedef signed char int8_t;  typedef unsigned char uint8_t;
typedef short int16_t;       typedef unsigned short uint16_t;
typedef int int32_t;         typedef unsigned int uint32_t;
typedef long int64_t;        typedef unsigned long uint64_t;

namespace msl {
template <class T, class U> struct same { static constexpr bool value = false; };
template <class T> struct same<T, T> { static constexpr bool value = true; };
template <bool B, class T = void> struct enable {};
template <class T> struct enable<true, T> { typedef T type; };
template <bool B, class T, class F> struct cond { typedef T type; };
template <class T, class F> struct cond<false, T, F> { typedef F type; };
template <class T> struct rmref { typedef T type; };
template <class T> struct rmref<T&> { typedef T type; };
template <class T> struct rmref<T&&> { typedef T type; };
template <class T> struct rmcv { typedef T type; };
template <class T> struct rmcv<const T> { typedef typename rmcv<T>::type type; };
template <class T> struct rmcv<volatile T> { typedef typename rmcv<T>::type type; };
#ifdef MSL_CHECK
#define MSL_RMAS(AS) template <class T> struct rmcv<AS T> { typedef T type; }; template <class T> struct rmcv<const AS T> { typedef T type; };
MSL_RMAS(__global) MSL_RMAS(__local) MSL_RMAS(__constant) MSL_RMAS(__private) MSL_RMAS(__generic)
#endif
template <class T> struct rmcvref { typedef typename rmcv<typename rmref<T>::type>::type type; };
}  // namespace msl

// bfloat: storage type with exact conversions, round-to-nearest-even; arithmetic goes through float
struct bfloat {
  uint16_t bits;
  bfloat() = default;
  MSL_INLINE bfloat(float f) {
    uint32_t u; __builtin_memcpy(&u, &f, 4);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? (uint16_t)((u >> 16) | 0x40u) : (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  MSL_INLINE bfloat(int i) : bfloat((float)i) {}
  MSL_INLINE bfloat(half h) : bfloat((float)h) {}
  MSL_INLINE operator float() const { uint32_t u = (uint32_t)bits << 16; float f; __builtin_memcpy(&f, &u, 4); return f; }
};

#ifndef MSL_CHECK
constexpr half operator""h(long double x) { return (half)x; }
#endif
namespace metal {
template <class T, int N> struct vec;
template <class T, int N> struct packed;
}
namespace msl {
template <class T> struct is_arith { static constexpr bool value = false; };
#define MSL_AR(T) template <> struct is_arith<T> { static constexpr bool value = true; };
MSL_AR(bool) MSL_AR(char) MSL_AR(signed char) MSL_AR(unsigned char) MSL_AR(short) MSL_AR(unsigned short) MSL_AR(int)
MSL_AR(unsigned int) MSL_AR(long) MSL_AR(unsigned long) MSL_AR(float) MSL_AR(half) MSL_AR(bfloat)
#ifndef MSL_CHECK
MSL_AR(long long) MSL_AR(unsigned long long)   // host literals such as 1ull only
#endif
#undef MSL_AR

// traits: N == 0 for scalars, -1 for anything else
template <class T> struct vt { static constexpr int n = is_arith<T>::value ? 0 : -1; typedef T elem; typedef T type; };
template <class T, int N> struct vt<metal::vec<T, N>> { static constexpr int n = N; typedef T elem; typedef metal::vec<T, N> type; };

// swizzle proxy living in the union of a vec (in metal:: so that the operators are found)
}  // namespace msl
namespace metal {
template <class T, int M, int... I> struct swz {
  T d[M];
  typedef metal::vec<T, (int)sizeof...(I)> V;
  MSL_INLINE operator V() const { return V(d[I]...); }
  MSL_INLINE swz& operator=(const V& v) { int k = 0; ((d[I] = v.d[k++]), ...); return *this; }
  MSL_INLINE swz& operator=(const swz& o) { return *this = V(o); }
  template <class B> MSL_INLINE swz& operator+=(const B& b) { return *this = V(*this) + b; }
  template <class B> MSL_INLINE swz& operator-=(const B& b) { return *this = V(*this) - b; }
  template <class B> MSL_INLINE swz& operator*=(const B& b) { return *this = V(*this) * b; }
  template <class B> MSL_INLINE swz& operator/=(const B& b) { return *this = V(*this) / b; }
  MSL_INLINE T operator[](int i) const { const int ix[] = {I...}; return d[ix[i]]; }
};
}  // namespace metal
namespace msl {
using metal::swz;
template <class T, int M, int... I> struct vt<swz<T, M, I...>> {
  static constexpr int n = (int)sizeof...(I); typedef T elem; typedef metal::vec<T, (int)sizeof...(I)> type; };
template <class X> struct vtr : vt<typename rmcvref<X>::type> {};
template <class X> MSL_INLINE typename vtr<X>::type val(const X& x) { return x; }
template <class... A> struct total;
template <> struct total<> { static constexpr int value = 0; };
template <class A, class... R> struct total<A, R...> {
  static constexpr int value = (vtr<A>::n < 0 ? 1000 : vtr<A>::n == 0 ? 1 : vtr<A>::n) + total<R...>::value; };

template <class T, int N> struct store;
template <class T> struct store<T, 2> { union { T d[2]; struct { T x, y; }; struct { T r, g; };
  swz<T, 2, 0, 0> xx; swz<T, 2, 0, 1> xy; swz<T, 2, 1, 0> yx; swz<T, 2, 1, 1> yy;
  swz<T, 2, 0, 1, 0, 1> xyxy; }; };
template <class T> struct store<T, 3> { union { T d[4]; struct { T x, y, z; }; struct { T r, g, b; };
  swz<T, 4, 0, 1> xy; swz<T, 4, 1, 2> yz; swz<T, 4, 0, 2> xz; swz<T, 4, 0, 1, 2> xyz; }; };
template <class T> struct store<T, 4> { union { T d[4]; struct { T x, y, z, w; }; struct { T r, g, b, a; };
  swz<T, 4, 0, 1> xy; swz<T, 4, 0, 2> xz; swz<T, 4, 0, 3> xw; swz<T, 4, 1, 0> yx; swz<T, 4, 1, 2> yz; swz<T, 4, 1, 3> yw;
  swz<T, 4, 2, 0> zx; swz<T, 4, 2, 1> zy; swz<T, 4, 2, 3> zw; swz<T, 4, 3, 2> wz; swz<T, 4, 0, 1, 2> xyz; swz<T, 4, 1, 2, 3> yzw;
  swz<T, 4, 0, 1, 2, 3> xyzw; swz<T, 4, 3, 2, 1, 0> wzyx; swz<T, 4, 1, 0, 3, 2> yxwz; swz<T, 4, 2, 3, 0, 1> zwxy; }; };
}  // namespace msl

namespace metal {
template <class T, int N> struct alignas(sizeof(T) * (N == 3 ? 4 : N)) vec : msl::store<T, N> {
  typedef msl::store<T, N> S;
  using S::d;
  vec() = default;
  vec(const vec&) = default;
  MSL_INLINE vec& operator=(const vec& o) { for (int i = 0; i < N; i++) d[i] = o.d[i]; return *this; }
  // scalar splat is implicit in MSL
  template <class A, class = typename msl::enable<msl::vt<A>::n == 0>::type> MSL_INLINE vec(A a) { for (int i = 0; i < N; i++) d[i] = (T)a; }
  // other vectors of the same length: explicit
  template <class U, class = typename msl::enable<!msl::same<U, T>::value>::type>
  explicit MSL_INLINE vec(const vec<U, N>& o) { for (int i = 0; i < N; i++) d[i] = (T)o.d[i]; }
  template <class U, int M, int... I, class = typename msl::enable<sizeof...(I) == N && !msl::same<U, T>::value>::type>
  explicit MSL_INLINE vec(const msl::swz<U, M, I...>& o) { vec<U, N> v = o; for (int i = 0; i < N; i++) d[i] = (T)v.d[i]; }
  template <class U, class = typename msl::enable<!msl::same<U, T>::value>::type>
  explicit MSL_INLINE vec(const packed<U, N>& o) { for (int i = 0; i < N; i++) d[i] = (T)o.d[i]; }
  // component-wise constructors from scalars and shorter vectors
  template <class A, class B, class... R, class = typename msl::enable<msl::total<A, B, R...>::value == N>::type>
  MSL_INLINE vec(const A& a, const B& b, const R&... r) { int k = 0; put(k, a); put(k, b); (put(k, r), ...); }
  MSL_INLINE T& operator[](int i) { return d[i]; }
  MSL_INLINE const T& operator[](int i) const { return d[i]; }
 private:
  template <class A> MSL_INLINE void put(int& k, const A& a) {
    if constexpr (msl::vtr<A>::n == 0) d[k++] = (T)a;
    else { auto v = msl::val(a); for (int i = 0; i < msl::vtr<A>::n; i++) d[k++] = (T)v.d[i]; }
  }
};
}  // namespace metal

namespace msl {
// binary operators on anything vector-like; scalars take the vector's element type, as in MSL
template <class A, class B> struct bin {
  static constexpr int na = vtr<A>::n, nb = vtr<B>::n;
  static constexpr bool ok = na >= 0 && nb >= 0 && (na > 0 || nb > 0);
  static constexpr int n = na > 0 ? na : nb;
  typedef typename cond<(na > 0), typename vtr<A>::elem, typename vtr<B>::elem>::type T;
  static constexpr bool strict = !(na > 0 && nb > 0) || (na == nb && same<typename vtr<A>::elem, typename vtr<B>::elem>::value);
  typedef metal::vec<T, (n > 0 ? n : 1)> V;
};
template <class T, int N, class X> MSL_INLINE metal::vec<T, N> widen(const X& x) {
  if constexpr (vtr<X>::n == 0) return metal::vec<T, N>((T)x); else return (typename vtr<X>::type)x;
}
}  // namespace msl
#define MSL_BIN(op) \
  template <class A, class B, class = typename msl::enable<msl::bin<A, B>::ok>::type> MSL_INLINE auto operator op(const A& a, const B& b) { \
    typedef msl::bin<A, B> K; static_assert(K::strict, "MSL: operands must be the same vector type"); \
    auto x = msl::widen<typename K::T, K::n>(a); auto y = msl::widen<typename K::T, K::n>(b); typename K::V r; \
    for (int i = 0; i < K::n; i++) r.d[i] = (typename K::T)(x.d[i] op y.d[i]); return r; } \
  template <class T, int N, class B, class = typename msl::enable<(msl::vtr<B>::n >= 0)>::type> MSL_INLINE metal::vec<T, N>& operator op##=(metal::vec<T, N>& a, const B& b) { a = a op b; return a; }
#define MSL_CMP(op) \
  template <class A, class B, class = typename msl::enable<msl::bin<A, B>::ok>::type> MSL_INLINE auto operator op(const A& a, const B& b) { \
    typedef msl::bin<A, B> K; static_assert(K::strict, "MSL: operands must be the same vector type"); \
    auto x = msl::widen<typename K::T, K::n>(a); auto y = msl::widen<typename K::T, K::n>(b); metal::vec<bool, K::n> r; \
    for (int i = 0; i < K::n; i++) r.d[i] = x.d[i] op y.d[i]; return r; }
// operators must be found for arguments in the global namespace too: declare them there and in namespaces of the types by using
namespace metal {
MSL_BIN(+) MSL_BIN(-) MSL_BIN(*) MSL_BIN(/) MSL_BIN(%) MSL_BIN(&) MSL_BIN(|) MSL_BIN(^) MSL_BIN(<<) MSL_BIN(>>)
MSL_CMP(==) MSL_CMP(!=) MSL_CMP(<) MSL_CMP(>) MSL_CMP(<=) MSL_CMP(>=) MSL_CMP(&&) MSL_CMP(||)
template <class A, class = typename msl::enable<(msl::vtr<A>::n > 0)>::type> MSL_INLINE typename msl::vtr<A>::type operator-(const A& a) {
  auto v = msl::val(a); for (int i = 0; i < msl::vtr<A>::n; i++) v.d[i] = -v.d[i]; return v; }
template <class A, class = typename msl::enable<(msl::vtr<A>::n > 0)>::type> MSL_INLINE typename msl::vtr<A>::type operator~(const A& a) {
  auto v = msl::val(a); for (int i = 0; i < msl::vtr<A>::n; i++) v.d[i] = ~v.d[i]; return v; }
template <int N> MSL_INLINE vec<bool, N> operator!(const vec<bool, N>& a) { vec<bool, N> v; for (int i = 0; i < N; i++) v.d[i] = !a.d[i]; return v; }

// matrices: column vectors
template <class T, int C, int R> struct matrix {
  vec<T, R> col[C];
  matrix() = default;
  explicit MSL_INLINE matrix(T s) { for (int c = 0; c < C; c++) for (int r = 0; r < R; r++) col[c].d[r] = c == r ? s : T(0); }
  template <class U, class = typename msl::enable<!msl::same<U, T>::value>::type>
  explicit MSL_INLINE matrix(const matrix<U, C, R>& o) { for (int c = 0; c < C; c++) col[c] = vec<T, R>(o.col[c]); }
  template <class... A, class = typename msl::enable<(int)sizeof...(A) == C && (C > 1)>::type> MSL_INLINE matrix(const A&... a) { int k = 0; ((col[k++] = a), ...); }
  MSL_INLINE vec<T, R>& operator[](int c) { return col[c]; }
  MSL_INLINE const vec<T, R>& operator[](int c) const { return col[c]; }
};
template <class T, int C, int R> MSL_INLINE matrix<T, C, R> operator*(const matrix<T, C, R>& m, T s) { auto r = m; for (int c = 0; c < C; c++) r.col[c] = m.col[c] * s; return r; }
template <class T, int C, int R> MSL_INLINE vec<T, R> operator*(const matrix<T, C, R>& m, const vec<T, C>& v) {
  vec<T, R> r = T(0); for (int c = 0; c < C; c++) r = r + m.col[c] * v.d[c]; return r; }
}  // namespace metal

// packed vectors: element alignment, no padding
namespace metal {
template <class T, int N> struct packed {
  T d[N];
  packed() = default;
  MSL_INLINE packed(const metal::vec<T, N>& v) { for (int i = 0; i < N; i++) d[i] = v.d[i]; }
  MSL_INLINE operator metal::vec<T, N>() const { metal::vec<T, N> v; for (int i = 0; i < N; i++) v.d[i] = d[i]; return v; }
  MSL_INLINE T& operator[](int i) { return d[i]; }
  MSL_INLINE const T& operator[](int i) const { return d[i]; }
};
}  // namespace metal
namespace msl {
using metal::packed;
template <class T, int N> struct vt<packed<T, N>> { static constexpr int n = N; typedef T elem; typedef metal::vec<T, N> type; };
}  // namespace msl
#ifdef MSL_CHECK
#define MSL_VN(n) msl_##n   /* OpenCL predeclares float4 and friends; the keyword header renames them */
#else
#define MSL_VN(n) n
#endif
#define MSL_VECS(T) typedef metal::vec<T, 2> T##2; typedef metal::vec<T, 3> T##3; typedef metal::vec<T, 4> T##4; \
  typedef msl::packed<T, 2> packed_##T##2; typedef msl::packed<T, 3> packed_##T##3; typedef msl::packed<T, 4> packed_##T##4; \
  namespace metal { using ::T##2; using ::T##3; using ::T##4; }
MSL_VECS(bool) MSL_VECS(char) MSL_VECS(uchar) MSL_VECS(short) MSL_VECS(ushort) MSL_VECS(int) MSL_VECS(uint) MSL_VECS(long) MSL_VECS(ulong)
MSL_VECS(half) MSL_VECS(bfloat) MSL_VECS(float)
#define MSL_MATS(T) typedef metal::matrix<T, 2, 2> T##2x2; typedef metal::matrix<T, 2, 4> T##2x4; typedef metal::matrix<T, 3, 3> T##3x3; \
  typedef metal::matrix<T, 4, 2> T##4x2; typedef metal::matrix<T, 4, 4> T##4x4; namespace metal { using ::T##2x2; using ::T##2x4; using ::T##3x3; using ::T##4x2; using ::T##4x4; }
MSL_MATS(half) MSL_MATS(float)

// as_type<T>(x): bit cast, same size
template <class To, class From> MSL_INLINE To as_type(const From& f0) {
  const typename msl::cond<(msl::vtr<From>::n > 0), typename msl::vtr<From>::type, From>::type f = f0;
  static_assert(sizeof(To) == sizeof(f), "as_type: sizes differ");
  To t; __builtin_memcpy((void*)&t, (const void*)&f, sizeof(To)); return t;
}
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
namespace msl { void kernel_error(const char* what); }
#endif
namespace msl { template <class T> T byval(T v); }
namespace metal {
typedef ::size_t size_t;
#ifndef MSL_CHECK
typedef ::half half;
#endif
typedef ::bfloat bfloat; typedef ::uint uint; typedef ::ushort ushort; typedef ::uchar uchar; typedef ::ulong ulong;
using ::as_type;
template <class T, T V> struct integral_constant { static constexpr T value = V; };
template <class T, class U> struct is_same : integral_constant<bool, msl::same<T, U>::value> {};
template <class T, class U> constexpr bool is_same_v = msl::same<T, U>::value;
template <bool B, class T = void> using enable_if_t = typename msl::enable<B, T>::type;
template <bool B, class T, class F> using conditional_t = typename msl::cond<B, T, F>::type;
template <class T> struct remove_reference { typedef typename msl::rmref<T>::type type; };
template <class T> using remove_cv_t = typename msl::rmcv<T>::type;

// ---- element-wise functions: scalar overloads (so that mixed argument types are ambiguous, as in MSL) + vectors ----
#define MSL_F1(name, e) MSL_INLINE float name(float x) { return e; } MSL_INLINE half name(half xh) { float x = (float)xh; return (half)(e); } \
  template <class A, class = typename msl::enable<(msl::vtr<A>::n > 0)>::type> MSL_INLINE typename msl::vtr<A>::type name(const A& a) { \
    auto v = msl::val(a); for (int i = 0; i < msl::vtr<A>::n; i++) v.d[i] = name(v.d[i]); return v; }
#define MSL_F2(name, e) MSL_INLINE float name(float x, float y) { return e; } MSL_INLINE half name(half xh, half yh) { float x = (float)xh, y = (float)yh; return (half)(e); } \
  template <class A, class B, class = typename msl::enable<msl::bin<A, B>::ok>::type> MSL_INLINE auto name(const A& a, const B& b) { typedef msl::bin<A, B> K; \
    auto x = msl::widen<typename K::T, K::n>(a); auto y = msl::widen<typename K::T, K::n>(b); for (int i = 0; i < K::n; i++) x.d[i] = name(x.d[i], y.d[i]); return x; }
#define MSL_FUNCS \
  MSL_F1(exp, __builtin_expf(x)) MSL_F1(exp2, __builtin_exp2f(x)) MSL_F1(exp10, __builtin_expf(x * 2.30258509299404568402F)) MSL_F1(log, __builtin_logf(x)) MSL_F1(log2, __builtin_log2f(x)) MSL_F1(log10, __builtin_log10f(x)) \
  MSL_F1(sqrt, __builtin_sqrtf(x)) MSL_F1(rsqrt, 1.0F / __builtin_sqrtf(x)) MSL_F1(sin, __builtin_sinf(x)) MSL_F1(cos, __builtin_cosf(x)) MSL_F1(tan, __builtin_tanf(x)) \
  MSL_F1(tanh, __builtin_tanhf(x)) MSL_F1(sinh, __builtin_sinhf(x)) MSL_F1(cosh, __builtin_coshf(x)) MSL_F1(atan, __builtin_atanf(x)) MSL_F1(asin, __builtin_asinf(x)) MSL_F1(acos, __builtin_acosf(x)) \
  MSL_F1(floor, __builtin_floorf(x)) MSL_F1(ceil, __builtin_ceilf(x)) MSL_F1(round, __builtin_roundf(x)) MSL_F1(rint, __builtin_rintf(x)) MSL_F1(trunc, __builtin_truncf(x)) \
  MSL_F1(fabs, __builtin_fabsf(x)) MSL_F1(fract, x - __builtin_floorf(x)) MSL_F1(sign, x > 0 ? 1.0F : x < 0 ? -1.0F : 0.0F) MSL_F1(saturate, x < 0 ? 0.0F : x > 1 ? 1.0F : x) MSL_F2(pow, __builtin_powf(x, y)) MSL_F2(powr, __builtin_powf(x, y)) \
  MSL_F2(atan2, __builtin_atan2f(x, y)) MSL_F2(fmod, __builtin_fmodf(x, y)) MSL_F2(fmax, __builtin_fmaxf(x, y)) MSL_F2(fmin, __builtin_fminf(x, y)) MSL_F2(step, y < x ? 0.0F : 1.0F) \
  MSL_INLINE float sincos(float x, MSL_THR float& c) { c = __builtin_cosf(x); return __builtin_sinf(x); }
MSL_FUNCS
namespace fast { MSL_FUNCS MSL_F1(divide1, 1.0F / x) MSL_F2(divide, x / y) MSL_F2(max, __builtin_fmaxf(x, y)) MSL_F2(min, __builtin_fminf(x, y)) MSL_INLINE float clamp(float x, float a, float b) { return x < a ? a : x > b ? b : x; } }
namespace precise { MSL_FUNCS MSL_F2(divide, x / y) MSL_F2(max, __builtin_fmaxf(x, y)) MSL_F2(min, __builtin_fminf(x, y)) MSL_INLINE float clamp(float x, float a, float b) { return x < a ? a : x > b ? b : x; } }
MSL_F2(divide, x / y)
#define MSL_ALL_T(X) X(char) X(signed char) X(uchar) X(short) X(ushort) X(int) X(uint) X(long) X(ulong) X(half) X(float)
#define MSL_INT_T(X) X(char) X(signed char) X(uchar) X(short) X(ushort) X(int) X(uint) X(long) X(ulong)
#define MSL_MM(T) MSL_INLINE T min(T x, T y) { return y < x ? y : x; } MSL_INLINE T max(T x, T y) { return x < y ? y : x; } \
  MSL_INLINE T clamp(T x, T a, T b) { return x < a ? a : x > b ? b : x; } MSL_INLINE T max3(T a, T b, T c) { return max(max(a, b), c); } MSL_INLINE T min3(T a, T b, T c) { return min(min(a, b), c); } \
  MSL_INLINE T select(T a, T b, bool c) { return c ? b : a; }
MSL_ALL_T(MSL_MM)
MSL_INLINE bfloat min(bfloat x, bfloat y) { return (float)y < (float)x ? y : x; } MSL_INLINE bfloat max(bfloat x, bfloat y) { return (float)x < (float)y ? y : x; }
MSL_INLINE int abs(int x) { return x < 0 ? -x : x; } MSL_INLINE short abs(short x) { return x < 0 ? -x : x; } MSL_INLINE float abs(float x) { return __builtin_fabsf(x); } MSL_INLINE half abs(half x) { return x < 0 ? -x : x; }
template <class A, class = typename msl::enable<(msl::vtr<A>::n > 0)>::type> MSL_INLINE typename msl::vtr<A>::type abs(const A& a) { auto v = msl::val(a); for (int i = 0; i < msl::vtr<A>::n; i++) v.d[i] = abs(v.d[i]); return v; }
#define MSL_V2(name) template <class A, class B, class = typename msl::enable<msl::bin<A, B>::ok>::type> MSL_INLINE auto name(const A& a, const B& b) { typedef msl::bin<A, B> K; static_assert(K::strict, ""); \
    auto x = msl::widen<typename K::T, K::n>(a); auto y = msl::widen<typename K::T, K::n>(b); for (int i = 0; i < K::n; i++) x.d[i] = name(x.d[i], y.d[i]); return x; }
#define MSL_V3(name) template <class A, class B, class C, class = typename msl::enable<(msl::vtr<A>::n > 0)>::type> MSL_INLINE auto name(const A& a, const B& b, const C& c) { typedef msl::vtr<A> K; typedef typename K::elem T; \
    auto x = msl::val(a); auto y = msl::widen<T, K::n>(b); auto z = msl::widen<T, K::n>(c); for (int i = 0; i < K::n; i++) x.d[i] = name(x.d[i], y.d[i], z.d[i]); return x; }
MSL_V2(min) MSL_V2(max) MSL_V3(clamp) MSL_V3(max3) MSL_V3(min3)
MSL_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
MSL_INLINE half fma(half a, half b, half c) { return (half)__builtin_fmaf((float)a, (float)b, (float)c); }
MSL_INLINE float mix(float x, float y, float a) { return x + (y - x) * a; }
MSL_INLINE half mix(half x, half y, half a) { return x + (y - x) * a; }
MSL_INLINE float smoothstep(float e0, float e1, float x) { float t = saturate((x - e0) / (e1 - e0)); return t * t * (3.0F - 2.0F * t); }
MSL_V3(fma) MSL_V3(mix)
template <class A, class B, class C, class = typename msl::enable<(msl::vtr<A>::n > 0) && (msl::vtr<C>::n == msl::vtr<A>::n)>::type> MSL_INLINE typename msl::vtr<A>::type select(const A& a0, const B& b0, const C& c0) {
  typedef msl::vtr<A> K; static_assert(msl::same<typename msl::vtr<C>::elem, bool>::value, "select: the condition must be a bool vector");
  auto a = msl::val(a0); auto b = msl::widen<typename K::elem, K::n>(b0); auto c = msl::val(c0); for (int i = 0; i < K::n; i++) a.d[i] = c.d[i] ? b.d[i] : a.d[i]; return a; }
MSL_INLINE bool isnan(float x) { return __builtin_isnan(x); } MSL_INLINE bool isinf(float x) { return __builtin_isinf(x); } MSL_INLINE bool isfinite(float x) { return __builtin_isfinite(x); }
MSL_INLINE float copysign(float x, float y) { return __builtin_copysignf(x, y); }
MSL_INLINE float ldexp(float x, int k) { return __builtin_ldexpf(x, k); }
MSL_INLINE float frexp(float x, MSL_THR int& e) { return __builtin_frexpf(x, &e); }
template <class A, class B, class = typename msl::enable<msl::bin<A, B>::ok>::type> MSL_INLINE auto dot(const A& a, const B& b) { typedef msl::bin<A, B> K; static_assert(K::strict, "");
  auto p = msl::val(a) * msl::val(b); auto s = p.d[0]; for (int i = 1; i < K::n; i++) s += p.d[i]; return s; }
template <class A, class = typename msl::enable<(msl::vtr<A>::n > 0)>::type> MSL_INLINE auto length(const A& a) { return sqrt(dot(a, a)); }
template <int N> MSL_INLINE bool any(const vec<bool, N>& a) { bool r = false; for (int i = 0; i < N; i++) r |= a.d[i]; return r; }
template <int N> MSL_INLINE bool all(const vec<bool, N>& a) { bool r = true; for (int i = 0; i < N; i++) r &= a.d[i]; return r; }
#define MSL_IV(name) template <class T, int N> MSL_INLINE vec<T, N> name(const vec<T, N>& a) { vec<T, N> r; for (int i = 0; i < N; i++) r.d[i] = name(a.d[i]); return r; }
MSL_INLINE uint popcount(uint x) { return (uint)__builtin_popcount(x); } MSL_INLINE int popcount(int x) { return __builtin_popcount((uint)x); } MSL_INLINE ulong popcount(ulong x) { return (ulong)__builtin_popcountl(x); }
MSL_INLINE uint clz(uint x) { return x ? (uint)__builtin_clz(x) : 32u; } MSL_INLINE uint ctz(uint x) { return x ? (uint)__builtin_ctz(x) : 32u; }
MSL_INLINE uint mulhi(uint a, uint b) { return (uint)(((ulong)a * b) >> 32); } MSL_INLINE uint reverse_bits(uint x) { return __builtin_bitreverse32(x); }
MSL_INLINE uint rotate(uint x, uint n) { n &= 31u; return n ? (x << n) | (x >> (32u - n)) : x; }
MSL_INLINE uint addsat(uint a, uint b) { uint r; return __builtin_add_overflow(a, b, &r) ? ~0u : r; }
MSL_INLINE uint subsat(uint a, uint b) { return a > b ? a - b : 0u; }
template <int N, class B> MSL_INLINE vec<uint, N> rotate(const vec<uint, N>& a, const B& b) { auto y = msl::widen<uint, N>(b); vec<uint, N> r; for (int i = 0; i < N; i++) r.d[i] = rotate(a.d[i], y.d[i]); return r; }
MSL_IV(popcount) MSL_IV(clz) MSL_IV(ctz)

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
MSL_INLINE constexpr mem_flags operator|(mem_flags a, mem_flags b) { return (mem_flags)((uint)a | (uint)b); }
enum memory_order { memory_order_relaxed };
}  // namespace metal

// ---- what the executor provides (one definition per backend) ----
namespace msl {
#ifdef MSL_CHECK
void threadgroup_barrier(uint flags); void simdgroup_barrier(uint flags);
template <class T> struct xview { uint mask; T get(uint lane) const; };
template <class T> xview<T> exchange(T v);
uint lane_index();
#else
struct Exchange { const unsigned char* slots; uint active; uint lane; };
void threadgroup_barrier(uint flags, uint site);
void simdgroup_barrier(uint flags, uint site);
Exchange simd_exchange(const void* v, uint bytes, uint site);   // publishes v, waits for the SIMD-group, returns everyone's values
typedef void (*Collective)(const unsigned char* slots, uint mask, void* result);
const void* simd_collective(const void* v, uint bytes, uint site, Collective fn);   // the same, but fn is run once for the SIMD-group on all values; returns its result
void kernel_error(const char* what);
constexpr uint kSlot = 32;
template <class T> struct xview { Exchange s; uint mask;
  MSL_INLINE T get(uint lane) const { T t; __builtin_memcpy((void*)&t, s.slots + lane * kSlot, sizeof(T)); return t; } };
template <class T> MSL_INLINE xview<T> exchange(T v, uint site) { static_assert(sizeof(T) <= kSlot, ""); Exchange s = simd_exchange(&v, sizeof(T), site); return xview<T>{s, s.active}; }
#endif
}  // namespace msl
#ifdef MSL_CHECK
#define MSL_XCH(T, v) auto x = msl::exchange<T>(v); uint me = msl::lane_index()
#else
#define MSL_XCH(T, v) auto x = msl::exchange<T>(v, site); uint me = x.s.lane; (void)me
#endif
#define MSL_LANES(l) for (uint l = 0; l < 32; l++) if (x.mask >> l & 1u)

namespace metal {
MSL_INLINE void threadgroup_barrier(mem_flags f MSL_SITE) { msl::threadgroup_barrier((uint)f MSL_SITE_A); }
MSL_INLINE void simdgroup_barrier(mem_flags f MSL_SITE) { msl::simdgroup_barrier((uint)f MSL_SITE_A); }
// Reductions over the active lanes; sums in butterfly order for a full SIMD-group
#ifdef MSL_CHECK
template <class T> T simd_sum(T v);
#define MSL_RED(name, init, e) template <class T> T name(T v);
#else
}  // namespace metal
namespace msl {
#ifdef MSL_MEMORY_CHECKER
#define MSL_NOINS __attribute__((disable_sanitizer_instrumentation))
#else
#define MSL_NOINS
#endif
template <class T> MSL_NOINS void c_sum(const unsigned char* s, uint mask, void* res) {
  T t[32]; for (uint i = 0; i < 32; i++) if (mask >> i & 1u) __builtin_memcpy((void*)&t[i], s + i * kSlot, sizeof(T)); else t[i] = T(0);
  for (uint w = 16; w; w /= 2) for (uint i = 0; i < w; i++) t[i] = (T)(t[i] + t[i + w]);
  __builtin_memcpy(res, (void*)&t[0], sizeof(T));
}
template <class T, class F> MSL_NOINS void c_red(const unsigned char* s, uint mask, void* res) {
  T r, o; bool first = true; for (uint i = 0; i < 32; i++) if (mask >> i & 1u) { __builtin_memcpy((void*)&o, s + i * kSlot, sizeof(T)); r = first ? o : F::f(r, o); first = false; }
  __builtin_memcpy(res, (void*)&r, sizeof(T));
}
}  // namespace msl
namespace metal {
template <class T> MSL_INLINE T simd_sum(T v MSL_SITE) { static_assert(sizeof(T) <= 32, ""); T r; __builtin_memcpy((void*)&r, msl::simd_collective(&v, sizeof(T), site, msl::c_sum<T>), sizeof(T)); return r; }
#define MSL_RED(name, init, e) struct name##_f { template <class T> static MSL_INLINE T f(T r, T o) { return e; } }; \
  template <class T> MSL_INLINE T name(T v MSL_SITE) { T r; __builtin_memcpy((void*)&r, msl::simd_collective(&v, sizeof(T), site, msl::c_red<T, name##_f>), sizeof(T)); return r; }
#endif
MSL_RED(simd_max, v, r < o ? o : r) MSL_RED(simd_min, v, o < r ? o : r) MSL_RED(simd_product, T(1), (T)(r * o)) MSL_RED(simd_and, (T)~T(0), (T)(r & o)) MSL_RED(simd_or, T(0), (T)(r | o)) MSL_RED(simd_xor, T(0), (T)(r ^ o))
template <class T> MSL_INLINE T simd_prefix_inclusive_sum(T v MSL_SITE) { MSL_XCH(T, v); T r = T(0); MSL_LANES(l) if (l <= me) r = (T)(r + x.get(l)); return r; }
template <class T> MSL_INLINE T simd_prefix_exclusive_sum(T v MSL_SITE) { MSL_XCH(T, v); T r = T(0); MSL_LANES(l) if (l < me) r = (T)(r + x.get(l)); return r; }
template <class T> MSL_INLINE T simd_shuffle(T v, ushort l MSL_SITE) { MSL_XCH(T, v);
#ifndef MSL_CHECK
  if (l > 31 || !(x.mask >> l & 1u)) msl::kernel_error("simd_shuffle from an inactive or out-of-range lane");
#endif
  return x.get(l & 31); }
template <class T> MSL_INLINE T simd_shuffle_xor(T v, ushort m MSL_SITE) { MSL_XCH(T, v); return x.get((me ^ m) & 31); }
// lanes past the end are undefined in MSL: here they keep garbage-free but recognisable own values only for up/down within range
template <class T> MSL_INLINE T simd_shuffle_down(T v, ushort d MSL_SITE) { MSL_XCH(T, v); return me + d < 32 ? x.get(me + d) : v; }
template <class T> MSL_INLINE T simd_shuffle_up(T v, ushort d MSL_SITE) { MSL_XCH(T, v); return me >= d ? x.get(me - d) : v; }
template <class T> MSL_INLINE T simd_broadcast(T v, ushort l MSL_SITE) { MSL_XCH(T, v); return x.get(l & 31); }
template <class T> MSL_INLINE T simd_broadcast_first(T v MSL_SITE) { MSL_XCH(T, v); return x.get((uint)__builtin_ctz(x.mask)); }
#ifdef MSL_CHECK
MSL_INLINE bool simd_is_first() { return msl::lane_index() == 0; }
#else
MSL_INLINE bool simd_is_first(uint site = (unsigned)__builtin_LINE() * 512u + (unsigned)__builtin_COLUMN()) { auto x = msl::exchange<uint>(0u, site); return x.s.lane == (uint)__builtin_ctz(x.mask); }
#endif
MSL_INLINE bool simd_any(bool v MSL_SITE) { MSL_XCH(bool, v); bool r = false; MSL_LANES(l) r |= x.get(l); return r; }
MSL_INLINE bool simd_all(bool v MSL_SITE) { MSL_XCH(bool, v); bool r = true; MSL_LANES(l) r &= x.get(l); return r; }
struct simd_vote { ulong m; MSL_INLINE explicit operator ulong() const { return m; } MSL_INLINE bool any() const { return m != 0; } MSL_INLINE bool all() const { return m == 0xffffffffUL; } };
MSL_INLINE simd_vote simd_ballot(bool v MSL_SITE) { MSL_XCH(bool, v); ulong r = 0; MSL_LANES(l) r |= (ulong)x.get(l) << l; return simd_vote{r}; }
template <class T> MSL_INLINE T quad_shuffle_xor(T v, ushort m MSL_SITE) { MSL_XCH(T, v); return x.get((me & ~3u) | ((me ^ m) & 3u)); }
template <class T> MSL_INLINE T quad_sum(T v MSL_SITE) { MSL_XCH(T, v); T r = T(0); for (uint i = 0; i < 4; i++) r = (T)(r + x.get((me & ~3u) + i)); return r; }

// ---- simdgroup_matrix<T,8,8>: two elements per lane in the layout observed on Apple GPUs ----
template <class T, int R = 8, int C = 8> struct simdgroup_matrix {
  static_assert(R == 8 && C == 8, "only 8x8");
  T e[2];
  simdgroup_matrix() = default;
  explicit MSL_INLINE simdgroup_matrix(T v);   // diagonal
  MSL_INLINE MSL_THR vec<T, 2>& thread_elements() { return *(MSL_THR vec<T, 2>*)(MSL_THR void*)e; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
}  // namespace metal
namespace msl {
MSL_INLINE uint mrow(uint lane) { return ((lane / 4u) & 4u) + ((lane / 2u) & 3u); }
MSL_INLINE uint mcol(uint lane) { return ((lane / 4u) & 2u) * 2u + (lane & 1u) * 2u; }
MSL_INLINE uint mlane(uint r, uint c) { return ((r & 4u) << 2) | ((c & 4u) << 1) | ((r & 3u) << 1) | ((c >> 1) & 1u); }
#ifndef MSL_CHECK
uint lane_index();
struct ABC { float a[2], b[2], c[2]; };
void matrix_multiply_accumulate(const unsigned char* slots, uint mask, void* result);
#endif
}  // namespace msl
namespace metal {
template <class T, int R, int C> MSL_INLINE simdgroup_matrix<T, R, C>::simdgroup_matrix(T v) { uint l = msl::lane_index(); for (uint j = 0; j < 2; j++) e[j] = msl::mrow(l) == msl::mcol(l) + j ? v : T(0); }
template <class T, int R, int C = R> MSL_INLINE simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T v) { simdgroup_matrix<T, R, C> m; m.e[0] = v; m.e[1] = v; return m; }
template <class T, int R, int C> MSL_INLINE simdgroup_matrix<T, R, C> make_diagonal_simdgroup_matrix(T v) { return simdgroup_matrix<T, R, C>(v); }
template <class T, class P> MSL_INLINE void simdgroup_load(MSL_THR simdgroup_matrix<T, 8, 8>& m, P src, ulong stride = 8, ulong2 origin = ulong2(0), bool transpose = false) {
  static_assert(msl::same<decltype(msl::byval(src[0])), T>::value, "simdgroup_load: element type of the pointer and the matrix must agree");
  const uint l = msl::lane_index(), r = msl::mrow(l), c = msl::mcol(l);
  for (uint j = 0; j < 2; j++) { ulong rr = transpose ? c + j : r, cc = transpose ? r : c + j; m.e[j] = src[(origin.y + rr) * stride + origin.x + cc]; }
}
template <class T, class P> MSL_INLINE void simdgroup_store(simdgroup_matrix<T, 8, 8> m, P dst, ulong stride = 8, ulong2 origin = ulong2(0), bool transpose = false) {
  static_assert(msl::same<decltype(msl::byval(dst[0])), T>::value, "simdgroup_store: element type of the pointer and the matrix must agree");
  const uint l = msl::lane_index(), r = msl::mrow(l), c = msl::mcol(l);
  for (uint j = 0; j < 2; j++) { ulong rr = transpose ? c + j : r, cc = transpose ? r : c + j; dst[(origin.y + rr) * stride + origin.x + cc] = m.e[j]; }
}
template <class D, class A, class B, class C> MSL_INLINE void simdgroup_multiply_accumulate(MSL_THR simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c MSL_SITE) {
#ifdef MSL_CHECK
  d.e[0] = (D)((float)a.e[0] * (float)b.e[0] + (float)c.e[0]);
#else
  const msl::ABC v{{(float)a.e[0], (float)a.e[1]}, {(float)b.e[0], (float)b.e[1]}, {(float)c.e[0], (float)c.e[1]}};
  const float* t = (const float*)msl::simd_collective(&v, sizeof v, site, msl::matrix_multiply_accumulate) + msl::lane_index() * 2;
  d.e[0] = (D)t[0]; d.e[1] = (D)t[1];
#endif
}
template <class D, class A, class B> MSL_INLINE void simdgroup_multiply(MSL_THR simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b MSL_SITE) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)) MSL_SITE_A); }

// ---- atomics (relaxed) ----
template <class T> struct atomic { T v; };
typedef atomic<int> atomic_int; typedef atomic<uint> atomic_uint; typedef atomic<ulong> atomic_ulong; typedef atomic<float> atomic_float; typedef atomic<bool> atomic_bool;
#ifdef MSL_CHECK
template <class T> struct atomic_arg { typedef T type; };
#define MSL_ATOM(AS) template <class T> T atomic_load_explicit(const AS atomic<T>* p, memory_order); template <class T> void atomic_store_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order); \
  template <class T> T atomic_exchange_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order); template <class T> bool atomic_compare_exchange_weak_explicit(AS atomic<T>* p, MSL_THR T* e, typename atomic_arg<T>::type v, memory_order, memory_order); \
  MSL_ATOMF(AS, add) MSL_ATOMF(AS, sub) MSL_ATOMF(AS, max) MSL_ATOMF(AS, min) MSL_ATOMF(AS, and) MSL_ATOMF(AS, or) MSL_ATOMF(AS, xor)
#define MSL_ATOMF(AS, n) template <class T> T atomic_fetch_##n##_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order);
MSL_ATOM(__global) MSL_ATOM(__local)
void atomic_min_explicit(__global atomic<ulong>* p, ulong v, memory_order m); void atomic_max_explicit(__global atomic<ulong>* p, ulong v, memory_order m);
#else
template <class T> T atomic_load_explicit(const atomic<T>* p, memory_order) { T r; __atomic_load(&p->v, &r, 0); return r; }
template <class T> void atomic_store_explicit(atomic<T>* p, typename msl::rmcv<T>::type v, memory_order) { __atomic_store(&p->v, &v, 0); }
#define MSL_RMW(name, e) template <class T> T atomic_fetch_##name##_explicit(atomic<T>* p, typename msl::rmcv<T>::type v, memory_order) { T o, n; __atomic_load(&p->v, &o, 0); do { n = (T)(e); } while (!__atomic_compare_exchange(&p->v, &o, &n, true, 0, 0)); return o; }
MSL_RMW(add, o + v) MSL_RMW(sub, o - v) MSL_RMW(max, o < v ? v : o) MSL_RMW(min, v < o ? v : o) MSL_RMW(and, o & v) MSL_RMW(or, o | v) MSL_RMW(xor, o ^ v)
template <class T> T atomic_exchange_explicit(atomic<T>* p, typename msl::rmcv<T>::type v, memory_order) { T o; __atomic_exchange(&p->v, &v, &o, 0); return o; }
template <class T> bool atomic_compare_exchange_weak_explicit(atomic<T>* p, T* e, typename msl::rmcv<T>::type v, memory_order, memory_order) { return __atomic_compare_exchange(&p->v, e, &v, true, 0, 0); }
inline void atomic_min_explicit(atomic<ulong>* p, ulong v, memory_order m) { (void)atomic_fetch_min_explicit(p, v, m); }
inline void atomic_max_explicit(atomic<ulong>* p, ulong v, memory_order m) { (void)atomic_fetch_max_explicit(p, v, m); }
#endif
}  // namespace metal
