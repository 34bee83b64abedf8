// MSL's address spaces, scalar types, and the type traits that the other headers use. Nothing of the C or C++ library
// is included here or in them, so that a kernel sees only what MSL would give it.
#pragma once

// ---- address spaces: empty when executing; real clang address spaces when MSL_CHECK (C++ for OpenCL) ----
#ifdef MSL_CHECK
#define MSL_THREAD __private
#define MSL_SITE
#define MSL_PASS_SITE
#else
#define MSL_THREAD
#define MSL_SITE , unsigned site = (unsigned)__builtin_LINE() * 512u + (unsigned)__builtin_COLUMN()
#define MSL_PASS_SITE , site
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
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;

namespace msl {
template <class T, class U> struct Same {
  static constexpr bool value = false;
};
template <class T> struct Same<T, T> {
  static constexpr bool value = true;
};
template <bool B, class T = void> struct EnableIf {};
template <class T> struct EnableIf<true, T> {
  typedef T type;
};
template <bool B, class T, class F> struct Conditional {
  typedef T type;
};
template <class T, class F> struct Conditional<false, T, F> {
  typedef F type;
};
template <class T> struct RemoveReference {
  typedef T type;
};
template <class T> struct RemoveReference<T&> {
  typedef T type;
};
template <class T> struct RemoveReference<T&&> {
  typedef T type;
};
template <class T> struct RemoveCv {
  typedef T type;
};
template <class T> struct RemoveCv<const T> {
  typedef typename RemoveCv<T>::type type;
};
template <class T> struct RemoveCv<volatile T> {
  typedef typename RemoveCv<T>::type type;
};
#ifdef MSL_CHECK
#define MSL_REMOVE_SPACE(AS)                       \
  template <class T> struct RemoveCv<AS T> {       \
    typedef T type;                                \
  };                                               \
  template <class T> struct RemoveCv<const AS T> { \
    typedef T type;                                \
  };
MSL_REMOVE_SPACE(__global)
MSL_REMOVE_SPACE(__local)
MSL_REMOVE_SPACE(__constant)
MSL_REMOVE_SPACE(__private)
MSL_REMOVE_SPACE(__generic)
#endif
template <class T> struct RemoveCvRef {
  typedef typename RemoveCv<typename RemoveReference<T>::type>::type type;
};
}  // namespace msl
