// Barriers and SIMD-group functions, on what the executor provides.
#pragma once

#include "math.h"

namespace msl {
template <class T, bool Number = (TraitsOf<T>::n >= 0)>
struct SimdType {
  static constexpr bool value = sizeof(typename TraitsOf<T>::elem) <= 4;
};
template <class T>
struct SimdType<T, false> {
  static constexpr bool value = false;
};
// What the executor provides. A site is a position in the source. It tells apart lanes that have diverged.
#ifdef MSL_CHECK
void threadgroup_barrier(uint flags);
void simdgroup_barrier(uint flags);
template <class T>
struct LaneValues {
  uint mask;
  T get(uint lane) const;
};
template <class T>
LaneValues<T> exchange(T v);
uint lane_index();
#else
struct Exchange {
  const unsigned char* slots;
  uint active;
  uint lane;
};
void threadgroup_barrier(uint flags, uint site);
void simdgroup_barrier(uint flags, uint site);
// Publishes a value, waits for the SIMD-group, and returns everyone's values.
Exchange simd_exchange(const void* v, uint bytes, uint site);
typedef void (*Collective)(const unsigned char* slots, uint mask, void* result);
// The same, but `fn` runs once on all values, and its result is returned.
const void* simd_collective(const void* v, uint bytes, uint site, Collective fn);
void kernel_error(const char* what);
constexpr uint kSlotBytes = 32;
template <class T>
struct LaneValues {
  Exchange s;
  uint mask;
  MSL_INLINE T get(uint lane) const {
    if (lane > 31 || !(mask >> lane & 1u)) {
      kernel_error("a SIMD-group function reads from an inactive or out-of-range lane");
      return T();
    }
    T t;
    __builtin_memcpy((void*)&t, s.slots + lane * kSlotBytes, sizeof(T));
    return t;
  }
};
template <class T>
MSL_INLINE LaneValues<T> exchange(T v, uint site) {
  static_assert(sizeof(T) <= kSlotBytes, "");
  Exchange s = simd_exchange(&v, sizeof(T), site);
  return LaneValues<T>{s, s.active};
}
#endif
}  // namespace msl
#define MSL_CHECK_SIMD_TYPE(T)           \
  static_assert(msl::SimdType<T>::value, \
                "MSL: SIMD-group functions take numbers of at most 32 bits, and vectors of them")
#ifdef MSL_CHECK
#define MSL_EXCHANGE(T, v)      \
  MSL_CHECK_SIMD_TYPE(T);       \
  auto x = msl::exchange<T>(v); \
  uint me = msl::lane_index()
#else
#define MSL_EXCHANGE(T, v)            \
  MSL_CHECK_SIMD_TYPE(T);             \
  auto x = msl::exchange<T>(v, site); \
  uint me = x.s.lane;                 \
  (void)me
#endif
#define MSL_ACTIVE_LANES(l)     \
  for (uint l = 0; l < 32; l++) \
    if (x.mask >> l & 1u)

namespace metal {
MSL_INLINE void threadgroup_barrier(mem_flags f MSL_SITE) { msl::threadgroup_barrier((uint)f MSL_PASS_SITE); }
MSL_INLINE void simdgroup_barrier(mem_flags f MSL_SITE) { msl::simdgroup_barrier((uint)f MSL_PASS_SITE); }
// Reductions over the active lanes; sums in butterfly order for a full SIMD-group
#ifdef MSL_CHECK
template <class T>
T simd_sum(T v) {
  MSL_CHECK_SIMD_TYPE(T);
  return v;
}
#define MSL_REDUCTION(name, init, e) \
  template <class T>                 \
  T name(T v) {                      \
    MSL_CHECK_SIMD_TYPE(T);          \
    return v;                        \
  }
#else
}  // namespace metal
namespace msl {
#ifdef MSL_MEMORY_CHECKER
#define MSL_UNCHECKED __attribute__((disable_sanitizer_instrumentation))
#else
#define MSL_UNCHECKED
#endif
template <class T>
MSL_UNCHECKED void sum_lanes(const unsigned char* s, uint mask, void* res) {
  T t[32];
  for (uint i = 0; i < 32; i++)
    if (mask >> i & 1u) __builtin_memcpy((void*)&t[i], s + i * kSlotBytes, sizeof(T));
    else t[i] = T(0);
  for (uint w = 16; w; w /= 2)
    for (uint i = 0; i < w; i++) t[i] = (T)(t[i] + t[i + w]);
  __builtin_memcpy(res, (void*)&t[0], sizeof(T));
}
template <class T, class F>
MSL_UNCHECKED void reduce_lanes(const unsigned char* s, uint mask, void* res) {
  T r, o;
  bool first = true;
  for (uint i = 0; i < 32; i++)
    if (mask >> i & 1u) {
      __builtin_memcpy((void*)&o, s + i * kSlotBytes, sizeof(T));
      r = first ? o : F::f(r, o);
      first = false;
    }
  __builtin_memcpy(res, (void*)&r, sizeof(T));
}
}  // namespace msl
namespace metal {
template <class T>
MSL_INLINE T simd_sum(T v MSL_SITE) {
  MSL_CHECK_SIMD_TYPE(T);
  T r;
  __builtin_memcpy((void*)&r, msl::simd_collective(&v, sizeof(T), site, msl::sum_lanes<T>), sizeof(T));
  return r;
}
#define MSL_REDUCTION(name, init, e)                                                                                   \
  struct name##_f {                                                                                                    \
    template <class T>                                                                                                 \
    static MSL_INLINE T f(T r, T o) {                                                                                  \
      return e;                                                                                                        \
    }                                                                                                                  \
  };                                                                                                                   \
  template <class T>                                                                                                   \
  MSL_INLINE T name(T v MSL_SITE) {                                                                                    \
    MSL_CHECK_SIMD_TYPE(T);                                                                                            \
    T r;                                                                                                               \
    __builtin_memcpy((void*)&r, msl::simd_collective(&v, sizeof(T), site, msl::reduce_lanes<T, name##_f>), sizeof(T)); \
    return r;                                                                                                          \
  }
#endif
MSL_REDUCTION(simd_max, v, r < o ? o : r)
MSL_REDUCTION(simd_min, v, o < r ? o : r)
MSL_REDUCTION(simd_product, T(1), (T)(r * o))
MSL_REDUCTION(simd_and, (T)~T(0), (T)(r & o))
MSL_REDUCTION(simd_or, T(0), (T)(r | o))
MSL_REDUCTION(simd_xor, T(0), (T)(r ^ o))
template <class T>
MSL_INLINE T simd_prefix_inclusive_sum(T v MSL_SITE) {
  MSL_EXCHANGE(T, v);
  T r = T(0);
  MSL_ACTIVE_LANES(l) if (l <= me) r = (T)(r + x.get(l));
  return r;
}
template <class T>
MSL_INLINE T simd_prefix_exclusive_sum(T v MSL_SITE) {
  MSL_EXCHANGE(T, v);
  T r = T(0);
  MSL_ACTIVE_LANES(l) if (l < me) r = (T)(r + x.get(l));
  return r;
}
template <class T>
MSL_INLINE T simd_shuffle(T v, ushort l MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return x.get(l);
}
template <class T>
MSL_INLINE T simd_shuffle_xor(T v, ushort m MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return x.get(me ^ m);
}
// Lanes past either end keep their own values.
template <class T>
MSL_INLINE T simd_shuffle_down(T v, ushort d MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return me + d < 32 ? x.get(me + d) : v;
}
template <class T>
MSL_INLINE T simd_shuffle_up(T v, ushort d MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return me >= d ? x.get(me - d) : v;
}
template <class T>
MSL_INLINE T simd_broadcast(T v, ushort l MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return x.get(l);
}
template <class T>
MSL_INLINE T simd_broadcast_first(T v MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return x.get((uint)__builtin_ctz(x.mask));
}
#ifdef MSL_CHECK
MSL_INLINE bool simd_is_first() { return msl::lane_index() == 0; }
#else
MSL_INLINE bool simd_is_first(uint site = (unsigned)__builtin_LINE() * 512u + (unsigned)__builtin_COLUMN()) {
  auto x = msl::exchange<uint>(0u, site);
  return x.s.lane == (uint)__builtin_ctz(x.mask);
}
#endif
MSL_INLINE bool simd_any(bool v MSL_SITE) {
  MSL_EXCHANGE(bool, v);
  bool r = false;
  MSL_ACTIVE_LANES(l) r |= x.get(l);
  return r;
}
MSL_INLINE bool simd_all(bool v MSL_SITE) {
  MSL_EXCHANGE(bool, v);
  bool r = true;
  MSL_ACTIVE_LANES(l) r &= x.get(l);
  return r;
}
struct simd_vote {
  ulong m;
  MSL_INLINE explicit operator ulong() const { return m; }
  MSL_INLINE bool any() const { return m != 0; }
  MSL_INLINE bool all() const { return m == 0xffffffffUL; }
};
MSL_INLINE simd_vote simd_ballot(bool v MSL_SITE) {
  MSL_EXCHANGE(bool, v);
  ulong r = 0;
  MSL_ACTIVE_LANES(l) r |= (ulong)x.get(l) << l;
  return simd_vote{r};
}
template <class T>
MSL_INLINE T quad_shuffle_xor(T v, ushort m MSL_SITE) {
  MSL_EXCHANGE(T, v);
  return x.get((me & ~3u) | ((me ^ m) & 3u));
}
template <class T>
MSL_INLINE T quad_sum(T v MSL_SITE) {
  MSL_EXCHANGE(T, v);
  T r = T(0);
  for (uint i = 0; i < 4; i++) r = (T)(r + x.get((me & ~3u) + i));
  return r;
}

}  // namespace metal
