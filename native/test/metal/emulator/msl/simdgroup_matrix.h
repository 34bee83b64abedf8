// simdgroup_matrix<T, 8, 8>: two elements a lane, in the layout seen on Apple's GPUs.
#pragma once

#include "simd.h"

namespace metal {
template <class T, int R = 8, int C = 8> struct simdgroup_matrix {
  static_assert(R == 8 && C == 8, "only 8x8");
  T e[2];
  simdgroup_matrix() = default;
  explicit MSL_INLINE simdgroup_matrix(T v);  // diagonal
  MSL_INLINE MSL_THREAD vec<T, 2>& thread_elements() { return *(MSL_THREAD vec<T, 2>*)(MSL_THREAD void*)e; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
}  // namespace metal
namespace msl {
MSL_INLINE uint matrix_row(uint lane) { return ((lane / 4u) & 4u) + ((lane / 2u) & 3u); }
MSL_INLINE uint matrix_column(uint lane) { return ((lane / 4u) & 2u) * 2u + (lane & 1u) * 2u; }
#ifndef MSL_CHECK
uint lane_index();
struct MatrixOperands {
  float a[2], b[2], c[2];
};
void matrix_multiply_accumulate(const unsigned char* slots, uint mask, void* result);
#endif
}  // namespace msl
namespace metal {
template <class T, int R, int C> MSL_INLINE simdgroup_matrix<T, R, C>::simdgroup_matrix(T v) {
  uint l = msl::lane_index();
  for (uint j = 0; j < 2; j++) e[j] = msl::matrix_row(l) == msl::matrix_column(l) + j ? v : T(0);
}
template <class T, int R, int C = R> MSL_INLINE simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T v) {
  simdgroup_matrix<T, R, C> m;
  m.e[0] = v;
  m.e[1] = v;
  return m;
}
template <class T, int R, int C> MSL_INLINE simdgroup_matrix<T, R, C> make_diagonal_simdgroup_matrix(T v) {
  return simdgroup_matrix<T, R, C>(v);
}
template <class T, class P> MSL_INLINE void simdgroup_load(MSL_THREAD simdgroup_matrix<T, 8, 8>& m, P src,
                                                           ulong stride = 8, ulong2 origin = ulong2(0),
                                                           bool transpose = false) {
  static_assert(msl::Same<decltype(msl::byval(src[0])), T>::value,
                "simdgroup_load: element type of the pointer and the matrix must agree");
  const uint l = msl::lane_index(), r = msl::matrix_row(l), c = msl::matrix_column(l);
  for (uint j = 0; j < 2; j++) {
    ulong rr = transpose ? c + j : r, cc = transpose ? r : c + j;
    m.e[j] = src[(origin.y + rr) * stride + origin.x + cc];
  }
}
template <class T, class P> MSL_INLINE void simdgroup_store(simdgroup_matrix<T, 8, 8> m, P dst, ulong stride = 8,
                                                            ulong2 origin = ulong2(0), bool transpose = false) {
  static_assert(msl::Same<decltype(msl::byval(dst[0])), T>::value,
                "simdgroup_store: element type of the pointer and the matrix must agree");
  const uint l = msl::lane_index(), r = msl::matrix_row(l), c = msl::matrix_column(l);
  for (uint j = 0; j < 2; j++) {
    ulong rr = transpose ? c + j : r, cc = transpose ? r : c + j;
    dst[(origin.y + rr) * stride + origin.x + cc] = m.e[j];
  }
}
template <class D, class A, class B, class C>
MSL_INLINE void simdgroup_multiply_accumulate(MSL_THREAD simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                                              simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c MSL_SITE) {
#ifdef MSL_CHECK
  d.e[0] = (D)((float)a.e[0] * (float)b.e[0] + (float)c.e[0]);
#else
  const msl::MatrixOperands v{
      {(float)a.e[0], (float)a.e[1]}, {(float)b.e[0], (float)b.e[1]}, {(float)c.e[0], (float)c.e[1]}};
  const float* t =
      (const float*)msl::simd_collective(&v, sizeof v, site, msl::matrix_multiply_accumulate) + msl::lane_index() * 2;
  d.e[0] = (D)t[0];
  d.e[1] = (D)t[1];
#endif
}
template <class D, class A, class B> MSL_INLINE void simdgroup_multiply(MSL_THREAD simdgroup_matrix<D, 8, 8>& d,
                                                                        simdgroup_matrix<A, 8, 8> a,
                                                                        simdgroup_matrix<B, 8, 8> b MSL_SITE) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)) MSL_PASS_SITE);
}

}  // namespace metal
