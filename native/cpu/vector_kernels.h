// The kernels that are not integer dot products. They are written once over a vector of 16 floats, so every instruction
// set performs the same floating-point operations in the same order.
//
// A vector type V has these static members:
//   F                               16 floats
//   zero() set1(a) load(p) store(p, v)          p: float*, any alignment
//   load_f16(p) load_bf16(p) store_f16(p, v)    p: void*, any alignment; round to nearest even
//   load_int8(p)                    p: void*, any alignment
//   add sub mul div fma(a, b, c)                one rounding each
//   min(a, b): a < b ? a : b    max(a, b): a > b ? a : b    abs(a)
//   scale_exponent(v, n): adds the integer in the low bits of n (where kRoundingMagic leaves it) to v's exponents
//   zero_below(v, x, bound): x < bound ? 0 : v
//   keep_lanes(v, first, last, other): lanes outside first..last-1 become `other`; any int bounds
//   sum(v): lane l += lane l+8, then +4, +2, +1        maximum(v)
//   store_int8(q, v): v is integral and within ±127
//   kDotRows × kDotColumns, kScoreHeads × 2, kValueHeads × kValueVectors: accumulators, as many as fit its registers
//
// Every instruction set instantiates these templates with a V of its own anonymous namespace. The instances therefore
// have internal linkage, and the linker can never use code compiled for one instruction set in another's file. For the
// same reason every function of this header is a template over V, and the header includes C library headers only.
#pragma once

#include <math.h>
#include <string.h>

#include "kernels.h"

namespace hearth::cpu {

/// Lanes of a vector type V.
constexpr int kLanes = 16;
/// 1.5 × 2^23. Adding it to x with |x| < 2^22 leaves x, rounded to nearest even, in the low bits of the sum.
constexpr float kRoundingMagic = 0x1.8p23f;

// ---- elements of weight and cache rows ----------------------------------------------------------------------------

struct ElementF32 {
  static constexpr int kBytes = 4;
  template <class V> static typename V::F load(const uint8_t* p) { return V::load(reinterpret_cast<const float*>(p)); }
};
struct ElementF16 {
  static constexpr int kBytes = 2;
  template <class V> static typename V::F load(const uint8_t* p) { return V::load_f16(p); }
};
struct ElementBF16 {
  static constexpr int kBytes = 2;
  template <class V> static typename V::F load(const uint8_t* p) { return V::load_bf16(p); }
};

struct ElementInt8 {
  static constexpr int kBytes = 1;
  template <class V> static typename V::F load(const uint8_t* p) { return V::load_int8(p); }
};

/// Loads the first `lanes` elements at p and reads no further. The other lanes are zeros.
template <class V, class Element> typename V::F load_partial(const uint8_t* p, int lanes) {
  alignas(64) uint8_t buffer[kLanes * Element::kBytes] = {};
  memcpy(buffer, p, static_cast<size_t>(lanes) * Element::kBytes);
  return Element::template load<V>(buffer);
}
template <class V> typename V::F load_partial(const float* p, int lanes) {
  return load_partial<V, ElementF32>(reinterpret_cast<const uint8_t*>(p), lanes);
}
template <class V> void store_partial(float* p, typename V::F v, int lanes) {
  alignas(64) float buffer[kLanes];
  V::store(buffer, v);
  memcpy(p, buffer, static_cast<size_t>(lanes) * sizeof(float));
}

/// Calls body(offset, load, store) for every 16 of n floats. load(p) and store(p, v) handle the last part, which may be
/// shorter.
template <class V, class Body> void for_each_vector(int n, Body body) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    body(i, [](const float* p) { return V::load(p); }, [](float* p, typename V::F v) { V::store(p, v); });
  if (const int rest = n - i; rest > 0)
    body(
        i, [rest](const float* p) { return load_partial<V>(p, rest); },
        [rest](float* p, typename V::F v) { store_partial<V>(p, v, rest); });
}

// ---- exp ------------------------------------------------------------------------------------------------------------

/// Computes e^x as 2^n × e^r with |r| ≤ ln 2 / 2 and the polynomial of Cephes' expf. The relative error is below 2e-7
/// on [−87, 88].
template <class V> typename V::F exp(typename V::F x) {
  using F = typename V::F;
  const F clamped = V::max(V::set1(-87.0f), V::min(V::set1(88.0f), x));
  const F magic = V::set1(kRoundingMagic);
  const F n = V::fma(clamped, V::set1(0x1.715476p+0f), magic);  // log2 e
  const F whole = V::sub(n, magic);
  F r = V::fma(whole, V::set1(-0x1.62e43p-1f), clamped);  // −ln 2, upper part
  r = V::fma(whole, V::set1(0x1.05c61p-29f), r);          // −ln 2, the rest
  F p = V::set1(1.9875691500e-4f);
  p = V::fma(p, r, V::set1(1.3981999507e-3f));
  p = V::fma(p, r, V::set1(8.3334519073e-3f));
  p = V::fma(p, r, V::set1(4.1665795894e-2f));
  p = V::fma(p, r, V::set1(1.6666665459e-1f));
  p = V::fma(p, r, V::set1(5.0000001201e-1f));
  p = V::fma(p, r, V::set1(1.0f));
  p = V::fma(p, r, V::set1(1.0f));
  return V::zero_below(V::scale_exponent(p, n), x, -87.0f);
}

// ---- rows of activations --------------------------------------------------------------------------------------------

template <class V> void rms_norm(const float* x, const float* weight, int n, float epsilon, float* y) {
  typename V::F squares = V::zero();
  for_each_vector<V>(n, [&](int i, auto load, auto) {
    const typename V::F v = load(x + i);
    squares = V::fma(v, v, squares);
  });
  const float scale = 1.0f / sqrtf(V::sum(squares) / static_cast<float>(n) + epsilon);
  const typename V::F s = V::set1(scale);
  for_each_vector<V>(
      n, [&](int i, auto load, auto store) { store(y + i, V::mul(V::mul(load(x + i), s), load(weight + i))); });
}

template <class V> void swiglu(const float* gate, const float* up, int n, float alpha, float limit, float* y) {
  const typename V::F one = V::set1(1.0f), low = V::set1(-limit), high = V::set1(limit), slope = V::set1(-alpha);
  for_each_vector<V>(n, [&](int i, auto load, auto store) {
    const typename V::F g = V::min(high, load(gate + i));
    const typename V::F u = V::max(low, V::min(high, load(up + i)));
    const typename V::F silu = V::div(g, V::add(one, exp<V>(V::mul(slope, g))));
    store(y + i, V::mul(silu, V::add(u, one)));
  });
}

template <class V> void silu_glu(const float* gate, const float* up, int n, float* y) {
  const typename V::F one = V::set1(1.0f), minus = V::set1(-1.0f);
  for_each_vector<V>(n, [&](int i, auto load, auto store) {
    const typename V::F g = load(gate + i);
    store(y + i, V::mul(V::div(g, V::add(one, exp<V>(V::mul(minus, g)))), load(up + i)));
  });
}

template <class V> void axpy(float a, const float* x, int n, float* y) {
  const typename V::F factor = V::set1(a);
  for_each_vector<V>(n, [&](int i, auto load, auto store) { store(y + i, V::fma(factor, load(x + i), load(y + i))); });
}

template <class V> void to_f16(const float* x, int n, uint16_t* y) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) V::store_f16(y + i, V::load(x + i));
  if (const int rest = n - i; rest > 0) {
    uint16_t buffer[kLanes];
    V::store_f16(buffer, load_partial<V>(x + i, rest));
    memcpy(y + i, buffer, static_cast<size_t>(rest) * sizeof(uint16_t));
  }
}

template <class V> void quantize_row(const float* x, int k, int8_t* q, float* scales, int32_t* sums) {
  using F = typename V::F;
  const F magic = V::set1(kRoundingMagic), low = V::set1(-127.0f), high = V::set1(127.0f);
  // Takes some blocks at a time, so that the compiler divides in vectors.
  constexpr int kTogether = 16;
  const int blocks = k / kBlock;
  for (int first = 0; first < blocks; first += kTogether) {
    const int count = blocks - first < kTogether ? blocks - first : kTogether;
    float d[kTogether] = {}, inverse[kTogether];
    for (int b = 0; b < count; b++) {
      const float* from = x + (first + b) * kBlock;
      d[b] = V::maximum(V::max(V::abs(V::load(from)), V::abs(V::load(from + kLanes))));
    }
    for (int b = 0; b < kTogether; b++) {
      d[b] /= 127.0f;
      d[b] = d[b] > kMinScale ? d[b] : kMinScale;
      d[b] = d[b] < kMaxScale ? d[b] : kMaxScale;
      inverse[b] = 1.0f / d[b];
    }
    for (int b = 0; b < count; b++) {
      const int at = (first + b) * kBlock;
      const F factor = V::set1(inverse[b]), x0 = V::load(x + at), x1 = V::load(x + at + kLanes);
      const F c0 = V::min(V::max(V::mul(x0, factor), low), high), c1 = V::min(V::max(V::mul(x1, factor), low), high);
      const F q0 = V::sub(V::add(c0, magic), magic), q1 = V::sub(V::add(c1, magic), magic);
      V::store_int8(q + at, q0);
      V::store_int8(q + at + kLanes, q1);
      scales[first + b] = d[b];
      sums[first + b] = static_cast<int32_t>(V::sum(V::add(q0, q1)));  // whole numbers below 2^24: exact
    }
  }
}

/// Kernels::pack_tile. sum_of(q, sum) gives the 4 bytes that the tile stores as the sum of a block with the elements q.
/// The loop goes block by block, so that the tile, which is larger than L1, is written once from its beginning to its
/// end.
template <class V, class SumOf>
void pack_tile(const int8_t* q, const float* scales, const int32_t* sums, int k, const int32_t* rows, int columns,
               uint8_t* tile, SumOf sum_of) {
  const size_t blocks = static_cast<size_t>(k / kBlock);
  for (size_t b = 0; b < blocks; b++) {
    uint8_t *to_scale = tile + columns * kBlock, *to_sum = to_scale + columns * 4;
    for (int c = 0; c < columns; c++, tile += kBlock, to_scale += 4, to_sum += 4) {
      const size_t block = static_cast<size_t>(rows[c]) * blocks + b;
      const int8_t* from = q + block * kBlock;
      const int32_t sum = sum_of(from, sums[block]);
      memcpy(tile, from, kBlock);
      memcpy(to_scale, scales + block, 4);
      memcpy(to_sum, &sum, 4);
    }
    tile = to_sum;
  }
}

/// Packs tiles whose sums are whole, one int32 for each block.
template <class V>
void pack_tile_plainly(const int8_t* q, const float* scales, const int32_t* sums, int k, const int32_t* rows,
                       int columns, uint8_t* tile) {
  pack_tile<V>(q, scales, sums, k, rows, columns, tile, [](const int8_t*, int32_t sum) { return sum; });
}

// ---- float weights --------------------------------------------------------------------------------------------------

/// How many weight rows ahead float groups prefetch into L2.
constexpr size_t kFloatPrefetchRows = 16;

/// Multiplies R weight rows with C activation rows, each pair in its own accumulator. `prefetch` says that the weights
/// come from memory.
template <class V, class Element, int R, int C>
void dot_block(const uint8_t* weights, size_t row_bytes, int k, const float* x, size_t ldx, bool prefetch, float* y,
               size_t ldy) {
  using F = typename V::F;
  F acc[R][C];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) acc[r][c] = V::zero();
  auto step = [&](auto load_weight, auto load_x) __attribute__((always_inline)) {
    F xs[C];
#pragma GCC unroll 16
    for (int c = 0; c < C; c++) xs[c] = load_x(c);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const F w = load_weight(r);
#pragma GCC unroll 16
      for (int c = 0; c < C; c++) acc[r][c] = V::fma(w, xs[c], acc[r][c]);
    }
  };
  int i = 0;
  for (; i + kLanes <= k; i += kLanes) {
    const uint8_t* w = weights + i * Element::kBytes;
    if (prefetch && i * Element::kBytes % 64 == 0)
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) __builtin_prefetch(w + (kFloatPrefetchRows + r) * row_bytes, 0, 2);
    step([&](int r) { return Element::template load<V>(w + r * row_bytes); },
         [&](int c) { return V::load(x + c * ldx + i); });
  }
  if (const int rest = k - i; rest > 0)
    step([&](int r) { return load_partial<V, Element>(weights + r * row_bytes + i * Element::kBytes, rest); },
         [&](int c) { return load_partial<V>(x + c * ldx + i, rest); });
#pragma GCC unroll 16
  for (int c = 0; c < C; c++)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) y[c * ldy + r] = V::sum(acc[r][c]);
}

template <class V, class Element> void group_float(const FloatGroup& g) {
  constexpr int R = V::kDotRows, C = V::kDotColumns;
  for (int c = 0; c < g.columns;) {
    const bool wide = c + C <= g.columns;
    const float* x = g.x + c * g.ldx;
    float* y = g.y + c * g.ldy;
    for (int r = 0; r < g.rows;) {
      const bool tall = r + R <= g.rows;
      const uint8_t* w = g.weights + r * g.row_bytes;
      if (wide && tall) dot_block<V, Element, R, C>(w, g.row_bytes, g.k, x, g.ldx, c == 0, y + r, g.ldy);
      else if (wide) dot_block<V, Element, 1, C>(w, g.row_bytes, g.k, x, g.ldx, c == 0, y + r, g.ldy);
      else if (tall) dot_block<V, Element, R, 1>(w, g.row_bytes, g.k, x, g.ldx, c == 0, y + r, g.ldy);
      else dot_block<V, Element, 1, 1>(w, g.row_bytes, g.k, x, g.ldx, c == 0, y + r, g.ldy);
      r += tall ? R : 1;
    }
    c += wide ? C : 1;
  }
}

// ---- attention ------------------------------------------------------------------------------------------------------

/// One cache block's keys and values as floats, for several query rows. The rows of values lie close together, because
/// at a fixed stride of kMaxHeadLength they would compete for few sets of the L1 cache.
struct AttendTile {
  alignas(64) float keys[kMaxHeadLength * kCacheBlock];
  alignas(64) float values[kCacheBlock * kMaxHeadLength];
};

/// Where a block's keys [head_length][kCacheBlock] and values [kCacheBlock][value_stride] lie, with elements of any
/// type. `next_lines` is the number of cache lines to prefetch meanwhile from the next block's keys, and as many from
/// its values; it is at most head_length.
struct BlockView {
  const uint8_t *keys, *values;
  int value_stride;
  const uint8_t *next_keys, *next_values;
  int next_lines;
};

/// A block of an F16 cache.
struct CacheF16 {
  using Element = ElementF16;
  /// A single row uses each key and value once or twice, so it converts them in registers and needs no AttendTile.
  static constexpr bool kDirect = true;
  template <class V> static int lines(int head_length) { return kCacheBlock * ElementF16::kBytes * head_length / 64; }

  template <class V> struct Reader {
    Reader(const BlockView&, int) {}
    typename V::F scale_key(typename V::F k, int, int) const { return k; }
    typename V::F scale_value(typename V::F v, int, int) const { return v; }
  };
};

/// A block of a Q8_0 cache: int8 elements and F16 scales.
struct CacheQ8_0 {
  using Element = ElementInt8;
  static constexpr bool kDirect = false;
  template <class V> static int lines(int head_length) { return static_cast<int>(q8_0_cache_bytes(head_length) / 64); }

  /// The scales as floats, in their order in the block.
  template <class V> struct Reader {
    alignas(64) float keys[cache_scales(kMaxHeadLength) * kCacheBlock];
    alignas(64) float values[kCacheBlock * cache_scales(kMaxHeadLength)];
    int value_scales;

    Reader(const BlockView& block, int head_length) : value_scales(cache_scales(head_length)) {
      const int elements = kCacheBlock * head_length;
      for (int i = 0; i < kCacheBlock * value_scales; i += kLanes) {
        V::store(keys + i, V::load_f16(block.keys + elements + 2 * i));
        V::store(values + i, V::load_f16(block.values + elements + 2 * i));
      }
    }
    /// Scales k, the keys j.. in dimension d.
    typename V::F scale_key(typename V::F k, int d, int j) const {
      return V::mul(k, V::load(keys + d / kCacheScaled * kCacheBlock + j));
    }
    /// Scales v, the dimensions d.. of value j.
    typename V::F scale_value(typename V::F v, int j, int d) const {
      return V::mul(v, V::set1(values[j * value_scales + d / kCacheScaled]));
    }
  };
};

/// Converts a block of the cache to floats in `tile`.
template <class V, class Cache> BlockView load_tile(const BlockView& block, int head_length, AttendTile& tile) {
  using Element = typename Cache::Element;
  const typename Cache::template Reader<V> reader(block, head_length);
  for (int d = 0; d < head_length; d++)
    for (int j = 0; j < kCacheBlock; j += kLanes) {
      const int at = d * kCacheBlock + j;
      V::store(tile.keys + at, reader.scale_key(Element::template load<V>(block.keys + at * Element::kBytes), d, j));
    }
  const int whole = head_length / kLanes * kLanes, rest = head_length - whole;
  const int stride = rest > 0 ? whole + kLanes : whole;
  for (int j = 0; j < kCacheBlock; j++) {
    const uint8_t* from = block.values + j * head_length * Element::kBytes;
    float* to = tile.values + j * stride;
    for (int d = 0; d < whole; d += kLanes)
      V::store(to + d, reader.scale_value(Element::template load<V>(from + d * Element::kBytes), j, d));
    if (rest > 0)
      V::store(to + whole,
               reader.scale_value(load_partial<V, Element>(from + whole * Element::kBytes, rest), j, whole));
  }
  return {reinterpret_cast<const uint8_t*>(tile.keys),
          reinterpret_cast<const uint8_t*>(tile.values),
          stride,
          block.next_keys,
          block.next_values,
          block.next_lines};
}

/// The queries and the running state (o, m and l of AttendChunk) of some heads of one query row.
struct AttendState {
  const float* q;
  float* out;
  float* max;
  float* sum;
};

/// Scores H heads of a query row against the keys first..last-1 of the block and updates their maxima and sums. Writes
/// exp(s − m') to p and exp(m − m') to factor.
template <class V, class Element, int H>
void score_heads(const BlockView& block, int first, int last, int head_length, float scale, const AttendState& state,
                 float (*p)[kCacheBlock], float* factor) {
  using F = typename V::F;
  F s[H][2];
#pragma GCC unroll 16
  for (int h = 0; h < H; h++) s[h][0] = s[h][1] = V::zero();
  for (int d = 0; d < head_length; d++) {
    const uint8_t* row = block.keys + d * kCacheBlock * Element::kBytes;
    const F k0 = Element::template load<V>(row), k1 = Element::template load<V>(row + kLanes * Element::kBytes);
    if (d < block.next_lines) {
      // Blocks lie anywhere in memory, so no hardware prefetcher can guess the next one. Each d prefetches one line of
      // its keys and one of its values.
      __builtin_prefetch(block.next_keys + d * 64, 0, 2);
      __builtin_prefetch(block.next_values + d * 64, 0, 2);
    }
#pragma GCC unroll 16
    for (int h = 0; h < H; h++) {
      const F q = V::set1(state.q[h * head_length + d]);
      s[h][0] = V::fma(q, k0, s[h][0]);
      s[h][1] = V::fma(q, k1, s[h][1]);
    }
  }
  const F factor_of_scores = V::set1(scale);
  alignas(64) float old_max[kLanes] = {}, new_max[kLanes] = {}, factors[kLanes];
#pragma GCC unroll 16
  for (int h = 0; h < H; h++) {
    s[h][0] = V::keep_lanes(V::mul(s[h][0], factor_of_scores), first, last, -INFINITY);
    s[h][1] = V::keep_lanes(V::mul(s[h][1], factor_of_scores), first - kLanes, last - kLanes, -INFINITY);
    const float block_max = V::maximum(V::max(s[h][0], s[h][1]));
    old_max[h] = state.max[h];
    new_max[h] = old_max[h] > block_max ? old_max[h] : block_max;
  }
  V::store(factors, exp<V>(V::sub(V::load(old_max), V::load(new_max))));
#pragma GCC unroll 16
  for (int h = 0; h < H; h++) {
    const F m = V::set1(new_max[h]);
    const F p0 = exp<V>(V::sub(s[h][0], m)), p1 = exp<V>(V::sub(s[h][1], m));
    V::store(&p[h][0], p0);
    V::store(&p[h][kLanes], p1);
    factor[h] = factors[h];
    state.max[h] = new_max[h];
    state.sum[h] = fmaf(state.sum[h], factors[h], V::sum(V::add(p0, p1)));
  }
}

/// out[h][d] = out[h][d] × factor[h] + Σ p[h][j] × value[j][d] for H heads and W vectors along d. `lanes` may be below
/// 16 only where W is 1.
template <class V, class Element, int H, int W>
void add_values(const BlockView& block, int first, int last, int d, int lanes, int head_length,
                const float (*p)[kCacheBlock], const float* factor, float* out) {
  using F = typename V::F;
  F o[H][W];
#pragma GCC unroll 16
  for (int h = 0; h < H; h++)
#pragma GCC unroll 16
    for (int w = 0; w < W; w++) {
      const float* from = out + h * head_length + d + w * kLanes;
      o[h][w] = V::mul(lanes < kLanes ? load_partial<V>(from, lanes) : V::load(from), V::set1(factor[h]));
    }
  for (int j = first; j < last; j++) {
    F v[W];
#pragma GCC unroll 16
    for (int w = 0; w < W; w++) {
      const uint8_t* row = block.values + (j * block.value_stride + d + w * kLanes) * Element::kBytes;
      v[w] = lanes < kLanes ? load_partial<V, Element>(row, lanes) : Element::template load<V>(row);
    }
#pragma GCC unroll 16
    for (int h = 0; h < H; h++) {
      const F weight = V::set1(p[h][j]);
#pragma GCC unroll 16
      for (int w = 0; w < W; w++) o[h][w] = V::fma(weight, v[w], o[h][w]);
    }
  }
#pragma GCC unroll 16
  for (int h = 0; h < H; h++)
#pragma GCC unroll 16
    for (int w = 0; w < W; w++) {
      float* to = out + h * head_length + d + w * kLanes;
      if (lanes < kLanes) store_partial<V>(to, o[h][w], lanes);
      else V::store(to, o[h][w]);
    }
}

template <class V, class Element, int H>
void add_values(const BlockView& block, int first, int last, int head_length, const float (*p)[kCacheBlock],
                const float* factor, float* out) {
  constexpr int W = V::kValueVectors;
  int d = 0;
  for (; d + W * kLanes <= head_length; d += W * kLanes)
    add_values<V, Element, H, W>(block, first, last, d, kLanes, head_length, p, factor, out);
  for (; d < head_length; d += kLanes) {
    const int lanes = head_length - d < kLanes ? head_length - d : kLanes;
    add_values<V, Element, H, 1>(block, first, last, d, lanes, head_length, p, factor, out);
  }
}

template <class V, class Element, int H>
void attend_heads(const BlockView& block, int first, int last, int head_length, float scale, const AttendState& state) {
  alignas(64) float p[H][kCacheBlock];
  float factor[H];
  score_heads<V, Element, H>(block, first, last, head_length, scale, state, p, factor);
  constexpr int G = H < V::kValueHeads ? H : V::kValueHeads;
  static_assert(H % G == 0);
  for (int h = 0; h < H; h += G)
    add_values<V, Element, G>(block, first, last, head_length, p + h, factor + h, state.out + h * head_length);
}

/// Attends with all heads of one query row to the keys first..last-1 of a block.
template <class V, class Element>
void attend_row(const AttendChunk& c, int row, const BlockView& block, int first, int last) {
  const size_t state = static_cast<size_t>(row) * static_cast<size_t>(c.heads);
  BlockView view = block;
  for (int h = 0; h < c.heads;) {
    const AttendState heads{c.q + row * c.q_row_stride + h * c.head_length, c.out + (state + h) * c.head_length,
                            c.max + state + h, c.sum + state + h};
    if (constexpr int H = V::kScoreHeads; c.heads - h >= H) {
      attend_heads<V, Element, H>(view, first, last, c.head_length, c.scale, heads);
      h += H;
    } else {
      attend_heads<V, Element, 1>(view, first, last, c.head_length, c.scale, heads);
      h++;
    }
    view.next_lines = 0;
  }
}

template <class V, class Cache> void attend(const AttendChunk& c) {
  const int states = c.rows * c.heads;
  memset(c.out, 0, sizeof(float) * static_cast<size_t>(states) * static_cast<size_t>(c.head_length));
  for (int i = 0; i < states; i++) {
    c.max[i] = -INFINITY;
    c.sum[i] = 0.0f;
  }
  const auto first_visible = [&](int position) {
    const int low = c.window > 0 ? position - c.window + 1 : 0;
    return low > c.first_key ? low : c.first_key;
  };
  const auto end_visible = [&](int position) { return position + 1 < c.end_key ? position + 1 : c.end_key; };
  const int begin = first_visible(c.first_position), end = end_visible(c.first_position + c.rows - 1);
  if (begin >= end) return;

  AttendTile tile;
  const int last_block = (end - 1) / kCacheBlock;
  for (int i = begin / kCacheBlock; i <= last_block; i++) {
    const bool more = i < last_block;
    const BlockView cached{c.key_blocks[i],
                           c.value_blocks[i],
                           c.head_length,
                           more ? c.key_blocks[i + 1] : nullptr,
                           more ? c.value_blocks[i + 1] : nullptr,
                           more ? Cache::template lines<V>(c.head_length) : 0};
    const bool direct = Cache::kDirect && c.rows == 1;
    BlockView block = direct ? cached : load_tile<V, Cache>(cached, c.head_length, tile);
    for (int r = 0; r < c.rows; r++) {
      const int base = i * kCacheBlock;
      int first = first_visible(c.first_position + r) - base, last = end_visible(c.first_position + r) - base;
      first = first > 0 ? first : 0;
      last = last < kCacheBlock ? last : kCacheBlock;
      if (first >= last) continue;
      if constexpr (Cache::kDirect)
        if (direct) {
          attend_row<V, typename Cache::Element>(c, r, block, first, last);
          continue;
        }
      attend_row<V, ElementF32>(c, r, block, first, last);
      block.next_lines = 0;
    }
  }
}

/// The float kernels of V. The elements of each type of floats have a struct named after the type.
template <class V> constexpr FloatGroups float_groups() {
  FloatGroups groups{};
#define HEARTH_GROUP(name, id, ...) groups.of[id] = group_float<V, Element##name>;
  HEARTH_FLOAT_TYPES(HEARTH_GROUP)
#undef HEARTH_GROUP
  return groups;
}

/// A kernel set of V's float kernels and the given kernels for quantised groups.
template <class V> constexpr Kernels make_kernels(const char* name, const QuantGroups& quant_groups) {
  return {.name = name,
          .quantize_row = quantize_row<V>,
          .pack_tile = pack_tile_plainly<V>,
          .quant_groups = quant_groups,
          .packed_layouts = {},
          .float_groups = float_groups<V>(),
          .rms_norm = rms_norm<V>,
          .swiglu = swiglu<V>,
          .silu_glu = silu_glu<V>,
          .axpy = axpy<V>,
          .attend = attend<V, CacheF16>,
          .attend_q8_0 = attend<V, CacheQ8_0>,
          .to_f16 = to_f16<V>};
}

}  // namespace hearth::cpu
