// Atomic types and their functions, all relaxed.
#pragma once

#include "math.h"

namespace metal {
template <class T> struct atomic {
  T v;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<ulong> atomic_ulong;
typedef atomic<float> atomic_float;
typedef atomic<bool> atomic_bool;
#ifdef MSL_CHECK
template <class T> struct atomic_arg {
  typedef T type;
};
#define MSL_CHECK_ATOMICS(AS)                                                                                   \
  template <class T> T atomic_load_explicit(const AS atomic<T>* p, memory_order);                               \
  template <class T> void atomic_store_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order); \
  template <class T> T atomic_exchange_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order); \
  template <class T> bool atomic_compare_exchange_weak_explicit(                                                \
      AS atomic<T>* p, MSL_THREAD T* e, typename atomic_arg<T>::type v, memory_order, memory_order);            \
  MSL_CHECK_FETCH(AS, add)                                                                                      \
  MSL_CHECK_FETCH(AS, sub)                                                                                      \
  MSL_CHECK_FETCH(AS, max)                                                                                      \
  MSL_CHECK_FETCH(AS, min)                                                                                      \
  MSL_CHECK_FETCH(AS, and)                                                                                      \
  MSL_CHECK_FETCH(AS, or)                                                                                       \
  MSL_CHECK_FETCH(AS, xor)
#define MSL_CHECK_FETCH(AS, n) \
  template <class T> T atomic_fetch_##n##_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order);
MSL_CHECK_ATOMICS(__global)
MSL_CHECK_ATOMICS(__local)
void atomic_min_explicit(__global atomic<ulong>* p, ulong v, memory_order m);
void atomic_max_explicit(__global atomic<ulong>* p, ulong v, memory_order m);
#else
template <class T> T atomic_load_explicit(const atomic<T>* p, memory_order) {
  T r;
  __atomic_load(&p->v, &r, 0);
  return r;
}
template <class T> void atomic_store_explicit(atomic<T>* p, typename msl::RemoveCv<T>::type v, memory_order) {
  __atomic_store(&p->v, &v, 0);
}
#define MSL_FETCH(name, e)                                                                                             \
  template <class T> T atomic_fetch_##name##_explicit(atomic<T>* p, typename msl::RemoveCv<T>::type v, memory_order) { \
    T o, n;                                                                                                            \
    __atomic_load(&p->v, &o, 0);                                                                                       \
    do {                                                                                                               \
      n = (T)(e);                                                                                                      \
    } while (!__atomic_compare_exchange(&p->v, &o, &n, true, 0, 0));                                                   \
    return o;                                                                                                          \
  }
MSL_FETCH(add, o + v)
MSL_FETCH(sub, o - v)
MSL_FETCH(max, o < v ? v : o)
MSL_FETCH(min, v < o ? v : o)
MSL_FETCH(and, o& v)
MSL_FETCH(or, o | v)
MSL_FETCH(xor, o ^ v)
template <class T> T atomic_exchange_explicit(atomic<T>* p, typename msl::RemoveCv<T>::type v, memory_order) {
  T o;
  __atomic_exchange(&p->v, &v, &o, 0);
  return o;
}
template <class T> bool atomic_compare_exchange_weak_explicit(atomic<T>* p, T* e, typename msl::RemoveCv<T>::type v,
                                                              memory_order, memory_order) {
  return __atomic_compare_exchange(&p->v, e, &v, true, 0, 0);
}
inline void atomic_min_explicit(atomic<ulong>* p, ulong v, memory_order m) { (void)atomic_fetch_min_explicit(p, v, m); }
inline void atomic_max_explicit(atomic<ulong>* p, ulong v, memory_order m) { (void)atomic_fetch_max_explicit(p, v, m); }
#endif
}  // namespace metal
