// Vectors with swizzles and operators, packed vectors, matrices, bfloat, as_type. As in MSL, operands of different
// vector types do not mix.
#pragma once

#include "language.h"

// bfloat is a storage type. Conversions to it round to nearest even, conversions from it are exact, and arithmetic goes
// through float.
struct bfloat {
  uint16_t bits;
  bfloat() = default;
  MSL_INLINE bfloat(float f) {
    uint32_t u;
    __builtin_memcpy(&u, &f, 4);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? (uint16_t)((u >> 16) | 0x40u)
                                           : (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  MSL_INLINE bfloat(int i) : bfloat((float)i) {}
  MSL_INLINE bfloat(half h) : bfloat((float)h) {}
  MSL_INLINE operator float() const {
    uint32_t u = (uint32_t)bits << 16;
    float f;
    __builtin_memcpy(&f, &u, 4);
    return f;
  }
};

#ifndef MSL_CHECK
constexpr half operator""h(long double x) { return (half)x; }
#endif
namespace metal {
template <class T, int N> struct vec;
template <class T, int N> struct packed;
}  // namespace metal
namespace msl {
template <class T> struct IsArithmetic {
  static constexpr bool value = false;
};
#define MSL_ARITHMETIC(T)               \
  template <> struct IsArithmetic<T> {  \
    static constexpr bool value = true; \
  };
MSL_ARITHMETIC(bool)
MSL_ARITHMETIC(char)
MSL_ARITHMETIC(signed char)
MSL_ARITHMETIC(unsigned char)
MSL_ARITHMETIC(short)
MSL_ARITHMETIC(unsigned short)
MSL_ARITHMETIC(int)
MSL_ARITHMETIC(unsigned int)
MSL_ARITHMETIC(long)
MSL_ARITHMETIC(unsigned long)
MSL_ARITHMETIC(float)
MSL_ARITHMETIC(half)
MSL_ARITHMETIC(bfloat)
#ifndef MSL_CHECK
MSL_ARITHMETIC(long long)
MSL_ARITHMETIC(unsigned long long)  // host literals such as 1ull only
#endif
#undef MSL_ARITHMETIC

// traits: N == 0 for scalars, -1 for anything else
template <class T> struct VectorTraits {
  static constexpr int n = IsArithmetic<T>::value ? 0 : -1;
  typedef T elem;
  typedef T type;
};
template <class T, int N> struct VectorTraits<metal::vec<T, N>> {
  static constexpr int n = N;
  typedef T elem;
  typedef metal::vec<T, N> type;
};

// swizzle proxy living in the union of a vec (in metal:: so that the operators are found)
}  // namespace msl
namespace metal {
template <class T, int M, int... I> struct Swizzle {
  T d[M];
  typedef metal::vec<T, (int)sizeof...(I)> V;
  MSL_INLINE operator V() const { return V(d[I]...); }
  MSL_INLINE Swizzle& operator=(const V& v) {
    int k = 0;
    ((d[I] = v.d[k++]), ...);
    return *this;
  }
  MSL_INLINE Swizzle& operator=(const Swizzle& o) { return *this = V(o); }
  template <class B> MSL_INLINE Swizzle& operator+=(const B& b) { return *this = V(*this) + b; }
  template <class B> MSL_INLINE Swizzle& operator-=(const B& b) { return *this = V(*this) - b; }
  template <class B> MSL_INLINE Swizzle& operator*=(const B& b) { return *this = V(*this) * b; }
  template <class B> MSL_INLINE Swizzle& operator/=(const B& b) { return *this = V(*this) / b; }
  MSL_INLINE T operator[](int i) const {
    const int ix[] = {I...};
    return d[ix[i]];
  }
};
}  // namespace metal
namespace msl {
using metal::Swizzle;
template <class T, int M, int... I> struct VectorTraits<Swizzle<T, M, I...>> {
  static constexpr int n = (int)sizeof...(I);
  typedef T elem;
  typedef metal::vec<T, (int)sizeof...(I)> type;
};
template <class X> struct TraitsOf : VectorTraits<typename RemoveCvRef<X>::type> {};
template <class X> MSL_INLINE typename TraitsOf<X>::type vector_of(const X& x) { return x; }
template <class... A> struct ComponentCount;
template <> struct ComponentCount<> {
  static constexpr int value = 0;
};
template <class A, class... R> struct ComponentCount<A, R...> {
  static constexpr int value = (TraitsOf<A>::n < 0    ? 1000
                                : TraitsOf<A>::n == 0 ? 1
                                                      : TraitsOf<A>::n) +
                               ComponentCount<R...>::value;
};

template <class T, int N> struct Components;
template <class T> struct Components<T, 2> {
  union {
    T d[2];
    struct {
      T x, y;
    };
    struct {
      T r, g;
    };
    Swizzle<T, 2, 0, 0> xx;
    Swizzle<T, 2, 0, 1> xy;
    Swizzle<T, 2, 1, 0> yx;
    Swizzle<T, 2, 1, 1> yy;
    Swizzle<T, 2, 0, 1, 0, 1> xyxy;
  };
};
template <class T> struct Components<T, 3> {
  union {
    T d[4];
    struct {
      T x, y, z;
    };
    struct {
      T r, g, b;
    };
    Swizzle<T, 4, 0, 1> xy;
    Swizzle<T, 4, 1, 2> yz;
    Swizzle<T, 4, 0, 2> xz;
    Swizzle<T, 4, 0, 1, 2> xyz;
  };
};
template <class T> struct Components<T, 4> {
  union {
    T d[4];
    struct {
      T x, y, z, w;
    };
    struct {
      T r, g, b, a;
    };
    Swizzle<T, 4, 0, 1> xy;
    Swizzle<T, 4, 0, 2> xz;
    Swizzle<T, 4, 0, 3> xw;
    Swizzle<T, 4, 1, 0> yx;
    Swizzle<T, 4, 1, 2> yz;
    Swizzle<T, 4, 1, 3> yw;
    Swizzle<T, 4, 2, 0> zx;
    Swizzle<T, 4, 2, 1> zy;
    Swizzle<T, 4, 2, 3> zw;
    Swizzle<T, 4, 3, 2> wz;
    Swizzle<T, 4, 0, 1, 2> xyz;
    Swizzle<T, 4, 1, 2, 3> yzw;
    Swizzle<T, 4, 0, 1, 2, 3> xyzw;
    Swizzle<T, 4, 3, 2, 1, 0> wzyx;
    Swizzle<T, 4, 1, 0, 3, 2> yxwz;
    Swizzle<T, 4, 2, 3, 0, 1> zwxy;
  };
};
}  // namespace msl

namespace metal {
template <class T, int N> struct alignas(sizeof(T) * (N == 3 ? 4 : N)) vec : msl::Components<T, N> {
  typedef msl::Components<T, N> S;
  using S::d;
  vec() = default;
  vec(const vec&) = default;
  MSL_INLINE vec& operator=(const vec& o) {
    for (int i = 0; i < N; i++) d[i] = o.d[i];
    return *this;
  }
  // scalar splat is implicit in MSL
  template <class A, class = typename msl::EnableIf<msl::VectorTraits<A>::n == 0>::type> MSL_INLINE vec(A a) {
    for (int i = 0; i < N; i++) d[i] = (T)a;
  }
  // other vectors of the same length: explicit
  template <class U, class = typename msl::EnableIf<!msl::Same<U, T>::value>::type>
  explicit MSL_INLINE vec(const vec<U, N>& o) {
    for (int i = 0; i < N; i++) d[i] = (T)o.d[i];
  }
  template <class U, int M, int... I,
            class = typename msl::EnableIf<sizeof...(I) == N && !msl::Same<U, T>::value>::type>
  explicit MSL_INLINE vec(const msl::Swizzle<U, M, I...>& o) {
    vec<U, N> v = o;
    for (int i = 0; i < N; i++) d[i] = (T)v.d[i];
  }
  template <class U, class = typename msl::EnableIf<!msl::Same<U, T>::value>::type>
  explicit MSL_INLINE vec(const packed<U, N>& o) {
    for (int i = 0; i < N; i++) d[i] = (T)o.d[i];
  }
  // component-wise constructors from scalars and shorter vectors
  template <class A, class B, class... R,
            class = typename msl::EnableIf<msl::ComponentCount<A, B, R...>::value == N>::type>
  MSL_INLINE vec(const A& a, const B& b, const R&... r) {
    int k = 0;
    put(k, a);
    put(k, b);
    (put(k, r), ...);
  }
  MSL_INLINE T& operator[](int i) { return d[i]; }
  MSL_INLINE const T& operator[](int i) const { return d[i]; }

 private:
  template <class A> MSL_INLINE void put(int& k, const A& a) {
    if constexpr (msl::TraitsOf<A>::n == 0) d[k++] = (T)a;
    else {
      auto v = msl::vector_of(a);
      for (int i = 0; i < msl::TraitsOf<A>::n; i++) d[k++] = (T)v.d[i];
    }
  }
};
}  // namespace metal

namespace msl {
// binary operators on anything vector-like; scalars take the vector's element type, as in MSL
template <class A, class B> struct BinaryTypes {
  static constexpr int na = TraitsOf<A>::n, nb = TraitsOf<B>::n;
  static constexpr bool ok = na >= 0 && nb >= 0 && (na > 0 || nb > 0);
  static constexpr int n = na > 0 ? na : nb;
  typedef typename Conditional<(na > 0), typename TraitsOf<A>::elem, typename TraitsOf<B>::elem>::type T;
  static constexpr bool strict =
      !(na > 0 && nb > 0) || (na == nb && Same<typename TraitsOf<A>::elem, typename TraitsOf<B>::elem>::value);
  typedef metal::vec<T, (n > 0 ? n : 1)> V;
};
template <class T, int N, class X> MSL_INLINE metal::vec<T, N> widen(const X& x) {
  if constexpr (TraitsOf<X>::n == 0) return metal::vec<T, N>((T)x);
  else return (typename TraitsOf<X>::type)x;
}
}  // namespace msl
#define MSL_OPERATOR(op)                                                                               \
  template <class A, class B, class = typename msl::EnableIf<msl::BinaryTypes<A, B>::ok>::type>        \
  MSL_INLINE auto operator op(const A& a, const B& b) {                                                \
    typedef msl::BinaryTypes<A, B> K;                                                                  \
    static_assert(K::strict, "MSL: operands must be the same vector type");                            \
    auto x = msl::widen<typename K::T, K::n>(a);                                                       \
    auto y = msl::widen<typename K::T, K::n>(b);                                                       \
    typename K::V r;                                                                                   \
    for (int i = 0; i < K::n; i++) r.d[i] = (typename K::T)(x.d[i] op y.d[i]);                         \
    return r;                                                                                          \
  }                                                                                                    \
  template <class T, int N, class B, class = typename msl::EnableIf<(msl::TraitsOf<B>::n >= 0)>::type> \
  MSL_INLINE metal::vec<T, N>& operator op## = (metal::vec<T, N> & a, const B& b) {                    \
    a = a op b;                                                                                        \
    return a;                                                                                          \
  }
#define MSL_COMPARISON(op)                                                                      \
  template <class A, class B, class = typename msl::EnableIf<msl::BinaryTypes<A, B>::ok>::type> \
  MSL_INLINE auto operator op(const A& a, const B& b) {                                         \
    typedef msl::BinaryTypes<A, B> K;                                                           \
    static_assert(K::strict, "MSL: operands must be the same vector type");                     \
    auto x = msl::widen<typename K::T, K::n>(a);                                                \
    auto y = msl::widen<typename K::T, K::n>(b);                                                \
    metal::vec<bool, K::n> r;                                                                   \
    for (int i = 0; i < K::n; i++) r.d[i] = x.d[i] op y.d[i];                                   \
    return r;                                                                                   \
  }
// Operators must be found for arguments in the global namespace, too. So they are declared there, and by using in the
// namespaces of the types.
namespace metal {
MSL_OPERATOR(+)
MSL_OPERATOR(-)
MSL_OPERATOR(*)
MSL_OPERATOR(/)
MSL_OPERATOR(%)
MSL_OPERATOR(&)
MSL_OPERATOR(|)
MSL_OPERATOR(^)
MSL_OPERATOR(<<)
MSL_OPERATOR(>>)
MSL_COMPARISON(==)
MSL_COMPARISON(!=)
MSL_COMPARISON(<)
MSL_COMPARISON(>)
MSL_COMPARISON(<=)
MSL_COMPARISON(>=)
MSL_COMPARISON(&&)
MSL_COMPARISON(||)
template <class A, class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0)>::type>
MSL_INLINE typename msl::TraitsOf<A>::type operator-(const A& a) {
  auto v = msl::vector_of(a);
  for (int i = 0; i < msl::TraitsOf<A>::n; i++) v.d[i] = -v.d[i];
  return v;
}
template <class A, class = typename msl::EnableIf<(msl::TraitsOf<A>::n > 0)>::type>
MSL_INLINE typename msl::TraitsOf<A>::type operator~(const A& a) {
  auto v = msl::vector_of(a);
  for (int i = 0; i < msl::TraitsOf<A>::n; i++) v.d[i] = ~v.d[i];
  return v;
}
template <int N> MSL_INLINE vec<bool, N> operator!(const vec<bool, N>& a) {
  vec<bool, N> v;
  for (int i = 0; i < N; i++) v.d[i] = !a.d[i];
  return v;
}

// matrices: column vectors
template <class T, int C, int R> struct matrix {
  vec<T, R> col[C];
  matrix() = default;
  explicit MSL_INLINE matrix(T s) {
    for (int c = 0; c < C; c++)
      for (int r = 0; r < R; r++) col[c].d[r] = c == r ? s : T(0);
  }
  template <class U, class = typename msl::EnableIf<!msl::Same<U, T>::value>::type>
  explicit MSL_INLINE matrix(const matrix<U, C, R>& o) {
    for (int c = 0; c < C; c++) col[c] = vec<T, R>(o.col[c]);
  }
  template <class... A, class = typename msl::EnableIf<(int)sizeof...(A) == C && (C > 1)>::type>
  MSL_INLINE matrix(const A&... a) {
    int k = 0;
    ((col[k++] = a), ...);
  }
  MSL_INLINE vec<T, R>& operator[](int c) { return col[c]; }
  MSL_INLINE const vec<T, R>& operator[](int c) const { return col[c]; }
};
template <class T, int C, int R> MSL_INLINE matrix<T, C, R> operator*(const matrix<T, C, R>& m, T s) {
  auto r = m;
  for (int c = 0; c < C; c++) r.col[c] = m.col[c] * s;
  return r;
}
template <class T, int C, int R> MSL_INLINE vec<T, R> operator*(const matrix<T, C, R>& m, const vec<T, C>& v) {
  vec<T, R> r = T(0);
  for (int c = 0; c < C; c++) r = r + m.col[c] * v.d[c];
  return r;
}
}  // namespace metal

// packed vectors: element alignment, no padding
namespace metal {
template <class T, int N> struct packed {
  T d[N];
  packed() = default;
  MSL_INLINE packed(const metal::vec<T, N>& v) {
    for (int i = 0; i < N; i++) d[i] = v.d[i];
  }
  MSL_INLINE operator metal::vec<T, N>() const {
    metal::vec<T, N> v;
    for (int i = 0; i < N; i++) v.d[i] = d[i];
    return v;
  }
  MSL_INLINE T& operator[](int i) { return d[i]; }
  MSL_INLINE const T& operator[](int i) const { return d[i]; }
};
}  // namespace metal
namespace msl {
using metal::packed;
template <class T, int N> struct VectorTraits<packed<T, N>> {
  static constexpr int n = N;
  typedef T elem;
  typedef metal::vec<T, N> type;
};
}  // namespace msl
#define MSL_VECTOR_TYPES(T)                \
  typedef metal::vec<T, 2> T##2;           \
  typedef metal::vec<T, 3> T##3;           \
  typedef metal::vec<T, 4> T##4;           \
  typedef msl::packed<T, 2> packed_##T##2; \
  typedef msl::packed<T, 3> packed_##T##3; \
  typedef msl::packed<T, 4> packed_##T##4; \
  namespace metal {                        \
  using ::T##2;                            \
  using ::T##3;                            \
  using ::T##4;                            \
  }
MSL_VECTOR_TYPES(bool)
MSL_VECTOR_TYPES(char)
MSL_VECTOR_TYPES(uchar)
MSL_VECTOR_TYPES(short)
MSL_VECTOR_TYPES(ushort)
MSL_VECTOR_TYPES(int)
MSL_VECTOR_TYPES(uint)
MSL_VECTOR_TYPES(long)
MSL_VECTOR_TYPES(ulong)
MSL_VECTOR_TYPES(half)
MSL_VECTOR_TYPES(bfloat)
MSL_VECTOR_TYPES(float)
#define MSL_MATRIX_TYPES(T)              \
  typedef metal::matrix<T, 2, 2> T##2x2; \
  typedef metal::matrix<T, 2, 4> T##2x4; \
  typedef metal::matrix<T, 3, 3> T##3x3; \
  typedef metal::matrix<T, 4, 2> T##4x2; \
  typedef metal::matrix<T, 4, 4> T##4x4; \
  namespace metal {                      \
  using ::T##2x2;                        \
  using ::T##2x4;                        \
  using ::T##3x3;                        \
  using ::T##4x2;                        \
  using ::T##4x4;                        \
  }
MSL_MATRIX_TYPES(half)
MSL_MATRIX_TYPES(float)

// as_type<T>(x): bit cast, same size
template <class To, class From> MSL_INLINE To as_type(const From& f0) {
  const typename msl::Conditional<(msl::TraitsOf<From>::n > 0), typename msl::TraitsOf<From>::type, From>::type f = f0;
  static_assert(sizeof(To) == sizeof(f), "as_type: sizes differ");
  To t;
  __builtin_memcpy((void*)&t, (const void*)&f, sizeof(To));
  return t;
}
