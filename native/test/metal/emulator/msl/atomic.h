// Atomic types and their functions, all relaxed.
#pragma once

#include "math.h"

namespace metal {
template <class T>
struct atomic {
  T v;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;
typedef atomic<bool> atomic_bool;
}  // namespace metal
namespace msl {
// The operations that a GPU has: all of them on 32-bit integers, and addition also on floats.
template <class T, bool OfFloats>
struct AtomicType {
  static constexpr bool value = Same<T, int>::value || Same<T, uint>::value || (OfFloats && Same<T, float>::value);
};
}  // namespace msl
#define MSL_CHECK_ATOMIC_TYPE(T, of_floats) \
  static_assert(msl::AtomicType<T, of_floats>::value, "MSL: no such atomic operation on this type")
namespace metal {
#ifdef MSL_CHECK
template <class T>
struct atomic_arg {
  typedef T type;
};
#define MSL_CHECK_ATOMICS(AS)                                                                                  \
  template <class T>                                                                                           \
  T atomic_load_explicit(const AS atomic<T>* p, memory_order);                                                 \
  template <class T>                                                                                           \
  void atomic_store_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order);                   \
  template <class T>                                                                                           \
  T atomic_exchange_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order);                   \
  template <class T>                                                                                           \
  bool atomic_compare_exchange_weak_explicit(AS atomic<T>* p, MSL_THREAD T* e, typename atomic_arg<T>::type v, \
                                             memory_order, memory_order);                                      \
  MSL_CHECK_FETCH(AS, add, true)                                                                               \
  MSL_CHECK_FETCH(AS, sub, true)                                                                               \
  MSL_CHECK_FETCH(AS, max, false)                                                                              \
  MSL_CHECK_FETCH(AS, min, false)                                                                              \
  MSL_CHECK_FETCH(AS, and, false)                                                                              \
  MSL_CHECK_FETCH(AS, or, false)                                                                               \
  MSL_CHECK_FETCH(AS, xor, false)
#define MSL_CHECK_FETCH(AS, n, of_floats)                                                        \
  template <class T>                                                                             \
  T atomic_fetch_##n##_explicit(AS atomic<T>* p, typename atomic_arg<T>::type v, memory_order) { \
    MSL_CHECK_ATOMIC_TYPE(T, of_floats);                                                         \
    return v;                                                                                    \
  }
MSL_CHECK_ATOMICS(__global)
MSL_CHECK_ATOMICS(__local)
#else
template <class T>
T atomic_load_explicit(const atomic<T>* p, memory_order) {
  T r;
  __atomic_load(&p->v, &r, 0);
  return r;
}
template <class T>
void atomic_store_explicit(atomic<T>* p, typename msl::RemoveCv<T>::type v, memory_order) {
  __atomic_store(&p->v, &v, 0);
}
#define MSL_FETCH(name, of_floats, e)                                                               \
  template <class T>                                                                                \
  T atomic_fetch_##name##_explicit(atomic<T>* p, typename msl::RemoveCv<T>::type v, memory_order) { \
    MSL_CHECK_ATOMIC_TYPE(T, of_floats);                                                            \
    T o, n;                                                                                         \
    __atomic_load(&p->v, &o, 0);                                                                    \
    do { n = (T)(e); } while (!__atomic_compare_exchange(&p->v, &o, &n, true, 0, 0));               \
    return o;                                                                                       \
  }
MSL_FETCH(add, true, o + v)
MSL_FETCH(sub, true, o - v)
MSL_FETCH(max, false, o < v ? v : o)
MSL_FETCH(min, false, v < o ? v : o)
MSL_FETCH(and, false, o& v)
MSL_FETCH(or, false, o | v)
MSL_FETCH(xor, false, o ^ v)
template <class T>
T atomic_exchange_explicit(atomic<T>* p, typename msl::RemoveCv<T>::type v, memory_order) {
  T o;
  __atomic_exchange(&p->v, &v, &o, 0);
  return o;
}
template <class T>
bool atomic_compare_exchange_weak_explicit(atomic<T>* p, T* e, typename msl::RemoveCv<T>::type v, memory_order,
                                           memory_order) {
  return __atomic_compare_exchange(&p->v, e, &v, true, 0, 0);
}
#endif
}  // namespace metal
