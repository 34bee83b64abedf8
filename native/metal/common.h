// What every kernel shares: how weights in GGUF layout are read, the one order in which products are summed, and small
// tools.
//
// A product W·x of width n is cut into half blocks. Half block i covers the elements b·32 + 8h + {0..7, 16..23} with
// b = i / 2 and h = i % 2, which is what 8 bytes of MXFP4 or Q4_0 hold. Lane l chains acc = fma(w[k], x[k], acc) from
// 0 over its half blocks l, l + 32, … with k ascending. Then the lanes are added pairwise: l and l xor 16, then 8, 4,
// 2, 1. A weight is the float nearest to what its type says. It is exact for most types. In the types with a minimum
// (scale · q − minimum) both products are exact and the difference is rounded once. All of this together defines the
// bits. Sums are written as fma() so that no compiler's contraction can change them.
#pragma once
#include <metal_simdgroup>
#include <metal_stdlib>

#include "../core/tensor_type_table.h"
#include "kernel_args.h"

using namespace metal;
using namespace hearth::gpu;

constant uint fc_columns [[function_constant(0)]];
constant uint fc_type [[function_constant(1)]];
constant uint fc_type_b [[function_constant(2)]];
constant uint fc_type_c [[function_constant(3)]];
constant bool fc_has_bias [[function_constant(4)]];
constant bool fc_residual [[function_constant(5)]];
constant bool fc_direct [[function_constant(6)]];
constant bool fc_gather [[function_constant(7)]];
constant uint fc_head_length [[function_constant(8)]];
constant uint fc_group [[function_constant(9)]];
constant bool fc_interleaved [[function_constant(10)]];
constant bool fc_raw [[function_constant(11)]];
constant bool fc_has_norm [[function_constant(12)]];
constant bool fc_q8_cache [[function_constant(13)]];

static inline uint columns_of(uint given) { return is_function_constant_defined(fc_columns) ? fc_columns : given; }

// The ids of the types that a matrix may have are kF32, kQ4_0 and so on.
#define HEARTH_ID(name, id, ...) constant constexpr uint k##name = id;
HEARTH_MATRIX_TYPES(HEARTH_ID)
#undef HEARTH_ID

static inline ulong row_bytes(uint type, uint n) {
  switch (type) {
#define HEARTH_CASE(name, id, block, bytes, ...) \
  case id: return ulong(n / block) * bytes;
    HEARTH_MATRIX_TYPES(HEARTH_CASE)
#undef HEARTH_CASE
    default: return 0;
  }
}

/// The 16 weights of a quantised half block. Types that are not quantised leave it empty. MXFP4 has the bits as they
/// are stored, and scale.x. Q8_0 has int8 values, a word for each quarter, and scale.x. The other types have unsigned
/// bytes, a word for each quarter, and a weight is scale · byte + offset. Quarters 0 and 1 use x of scale and offset,
/// quarters 2 and 3 use y.
struct HalfBlock {
  uint4 bits;
  float2 scale, offset;
};

/// Four bytes at an even address.
static inline uint word_at(device const uchar* from) {
  device const ushort* words = (device const ushort*)from;
  return uint(words[0]) | uint(words[1]) << 16;
}
/// The bytes of a half block in an array that has a byte for each of 32 elements, as K-quants have.
static inline uint4 words_at(device const uchar* from) {
  return uint4(word_at(from), word_at(from + 4), word_at(from + 16), word_at(from + 20));
}

/// Spreads the lowest four bits: each becomes the lowest bit of a byte.
static inline uint spread(uint bits) { return (bits & 15u) * 0x00204081u & 0x01010101u; }

/// Q4_0, Q4_1, Q5_0, Q5_1 (ggml, ggml-quants.c). Byte i of 16 has element i in its low half and element i + 16 in its
/// high half. A word has the fifth bits.
static inline HalfBlock load_legacy(uint type, device const uchar* row, uint b, uint h) {
  const bool fifth = type == kQ5_0 || type == kQ5_1, minimum = type == kQ4_1 || type == kQ5_1;
  const uint head = minimum ? 4u : 2u, bytes = head + (fifth ? 20u : 16u);
  device const uchar* block = row + ulong(b) * bytes;
  device const half* numbers = (device const half*)block;
  device const uchar* nibbles = block + bytes - 16u + 8u * h;
  const uint a = word_at(nibbles), c = word_at(nibbles + 4);
  HalfBlock out;
  out.bits = uint4(a, c, a >> 4, c >> 4) & uint4(0x0f0f0f0fu);
  if (fifth) {
    const uint bits = word_at(block + head) >> (8u * h);
    out.bits |= uint4(spread(bits), spread(bits >> 4), spread(bits >> 16), spread(bits >> 20)) << uint4(4u);
  }
  const float d = float(numbers[0]);
  out.scale = float2(d);
  out.offset = float2(minimum ? float(numbers[1]) : d * (fifth ? -16.0f : -8.0f));
  return out;
}

/// Q4_K, Q5_K (ggml, ggml-quants.c). 256 elements are 8 sub-blocks of 32, and two sub-blocks share 32 bytes. Scales and
/// minimums have 6 bits, and the last four of each lie in two pieces. In Q5_K, bit s of byte i of the fifth bits
/// belongs to element i of sub-block s.
static inline HalfBlock load_q45_k(bool fifth, device const uchar* row, uint b, uint h) {
  const uint s = b % 8u;
  // The block's words are: one with d and the minimums' own scale, three with scales, eight with fifth bits (Q5_K
  // only), 32 with nibbles.
  device const uint* words = (device const uint*)(row + ulong(b / 8u) * (fifth ? 176u : 144u));
  const uint shift = s % 4u * 8u, first = words[1] >> shift, second = words[2] >> shift, third = words[3] >> shift;
  const uint scale = s < 4u ? first & 63u : (third & 15u) | (first >> 2 & 0x30u);
  const uint minimum = s < 4u ? second & 63u : (third >> 4 & 15u) | (second >> 2 & 0x30u);
  device const uint* nibbles = words + (fifth ? 12u : 4u) + s / 2u * 8u + 2u * h;
  HalfBlock out;
  out.bits = uint4(nibbles[0], nibbles[1], nibbles[4], nibbles[5]) >> uint4(4u * (s & 1u)) & uint4(0x0f0f0f0fu);
  if (fifth) {
    device const uint* bits = words + 4u + 2u * h;
    out.bits |= (uint4(bits[0], bits[1], bits[4], bits[5]) >> uint4(s) & uint4(0x01010101u)) << uint4(4u);
  }
  const uint head = words[0];
  const half2 numbers = as_type<half2>(head);
  out.scale = float2(float(numbers.x) * float(scale));
  out.offset = float2(-(float(numbers.y) * float(minimum)));
  return out;
}

/// Q6_K (ggml, ggml-quants.c). 128 elements have 64 bytes with their low four bits and 32 bytes with their high two
/// bits. 16 elements share an int8 scale.
static inline HalfBlock load_q6_k(device const uchar* row, uint b, uint h) {
  const uint part = b % 8u / 4u, piece = b % 4u;
  device const uchar* block = row + ulong(b / 8u) * 210u;
  device const char* scales = (device const char*)(block + 192u + b % 8u * 2u);
  HalfBlock out;
  out.bits = words_at(block + 64u * part + 32u * (piece % 2u) + 8u * h) >> uint4(piece / 2u * 4u) & uint4(0x0f0f0f0fu);
  out.bits |= (words_at(block + 128u + 32u * part + 8u * h) >> uint4(2u * piece) & uint4(0x03030303u)) << uint4(4u);
  out.scale = float(*(device const half*)(block + 208u)) * float2(float(scales[0]), float(scales[1]));
  out.offset = out.scale * -32.0f;
  return out;
}

/// `w` is the tensor, which begins at an even address. `at` is the byte offset of the row.
static inline HalfBlock load_half_block(uint type, device const uchar* w, ulong at, uint half_block) {
  HalfBlock out;
  out.bits = uint4(0u);
  out.scale = float2(0.0f);
  out.offset = float2(0.0f);
  const uint b = half_block >> 1, h = half_block & 1u;
  if (type == kMXFP4) {
    const ulong block = at + ulong(b) * 17, first = block + 1 + 8 * h;
    // Every second block of 17 bytes begins at an odd address, so this reads whole 16-bit words and shifts them.
    const uint odd = uint(first & 1);
    device const ushort* words = (device const ushort*)(w + (first - odd));
    const uint low = uint(words[0]) | uint(words[1]) << 16, high = uint(words[2]) | uint(words[3]) << 16;
    const uint last = w[first + 7];
    out.bits.x = odd != 0u ? low >> 8 | high << 24 : low;
    out.bits.y = odd != 0u ? high >> 8 | last << 24 : high;
    // A value is k · 2^(e − 128), and e2m1() gives k · 2^−15. The factor 2^(e − 113) between them is a normal number
    // for every exponent in use.
    out.scale.x = as_type<float>((min(uint(w[block]), 240u) + 14u) << 23);
  } else if (type == kQ8_0) {
    device const uchar* block = w + at + ulong(b) * 34;
    out.bits = words_at(block + 2 + 8 * h);
    out.scale.x = float(*(device const half*)block);
  } else if (type == kQ4_K || type == kQ5_K) {
    out = load_q45_k(type == kQ5_K, w + at, b, h);
  } else if (type == kQ6_K) {
    out = load_q6_k(w + at, b, h);
  } else if (type == kQ4_0 || type == kQ4_1 || type == kQ5_0 || type == kQ5_1) {
    out = load_legacy(type, w + at, b, h);
  }
  return out;
}

/// Nibbles in E2M1 format, as halves of 2^−14 times their value. The caller has moved the sign, exponent and mantissa
/// bits to their places in a half.
static inline float4 e2m1(uint even, uint odd) {
  const half2 a = as_type<half2>(even), b = as_type<half2>(odd);
  return float4(float(a.x), float(b.x), float(a.y), float(b.y));
}

/// The first element of quarter q of a half block, counted from the half block's first element.
static inline uint quarter_offset(uint q) { return q < 2u ? q * 4u : q * 4u + 8u; }

/// Weights k .. k + 3 of a row, which are quarter q of the half block `stored`.
static inline float4 quarter(uint type, HalfBlock stored, device const uchar* w, ulong at, uint k, uint q) {
  if (type == kMXFP4) {
    const uint word = (q & 1u) != 0u ? stored.bits.y : stored.bits.x;
    const float4 value = q < 2u ? e2m1((word << 12 & 0x80008000u) | (word << 9 & 0x0e000e00u),
                                       (word << 4 & 0x80008000u) | (word << 1 & 0x0e000e00u))
                                : e2m1((word << 8 & 0x80008000u) | (word << 5 & 0x0e000e00u),
                                       (word & 0x80008000u) | (word >> 3 & 0x0e000e00u));
    return value * stored.scale.x;
  }
  const uint bytes = q == 0u ? stored.bits.x : q == 1u ? stored.bits.y : q == 2u ? stored.bits.z : stored.bits.w;
  if (type == kQ8_0) return float4(as_type<char4>(bytes)) * stored.scale.x;
  if (type != kF16 && type != kBF16 && type != kF32)
    return fma(float4(as_type<uchar4>(bytes)), float4(q < 2u ? stored.scale.x : stored.scale.y),
               float4(q < 2u ? stored.offset.x : stored.offset.y));
  if (type == kF16) return float4(half4(*(device const packed_half4*)(w + at + ulong(k) * 2)));
  if (type == kBF16)
    return as_type<float4>(uint4(ushort4(*(device const packed_ushort4*)(w + at + ulong(k) * 2))) << 16);
  return float4(*(device const packed_float4*)(w + at + ulong(k) * 4));
}

/// Weight k of a row of F32, F16 or BF16.
static inline float scalar(uint type, device const uchar* w, ulong at, uint k) {
  if (type == kF16) return float(*(device const half*)(w + at + ulong(k) * 2));
  if (type == kBF16) return as_type<float>(uint(*(device const ushort*)(w + at + ulong(k) * 2)) << 16);
  return *(device const float*)(w + at + ulong(k) * 4);
}

/// Adds this lane's part of row rows[r] times x + x_at[c] to acc[r * C + c]. The first half of the rows belongs to
/// matrix a, the second half to matrix b.
template <int R, int C>
static void accumulate(uint type_a, device const uchar* a, uint type_b, device const uchar* b, thread const uint* rows,
                       device const float* x, thread const uint* x_at, uint n, uint lane, thread float* acc) {
  ulong at[R];
  for (int r = 0; r < R; r++) at[r] = ulong(rows[r]) * row_bytes(r < (R + 1) / 2 ? type_a : type_b, n);
  const uint half_blocks = (n + 31u) / 32u * 2u;
  for (uint i = lane; i < half_blocks; i += kSimdWidth) {
    HalfBlock stored[R];
    for (int r = 0; r < R; r++)
      stored[r] = r < (R + 1) / 2 ? load_half_block(type_a, a, at[r], i) : load_half_block(type_b, b, at[r], i);
    for (uint q = 0; q < 4u; q++) {
      const uint k = (i >> 1) * 32u + (i & 1u) * 8u + quarter_offset(q);
      if (k + 4u <= n) {
        float4 v[C];
        for (int c = 0; c < C; c++) v[c] = *(device const float4*)(x + x_at[c] + k);
        for (int r = 0; r < R; r++) {
          const float4 w =
              r < (R + 1) / 2 ? quarter(type_a, stored[r], a, at[r], k, q) : quarter(type_b, stored[r], b, at[r], k, q);
          for (int c = 0; c < C; c++)
            acc[r * C + c] = fma(w.w, v[c].w, fma(w.z, v[c].z, fma(w.y, v[c].y, fma(w.x, v[c].x, acc[r * C + c]))));
        }
      } else {
        for (uint j = k; j < n; j++)
          for (int r = 0; r < R; r++) {
            const float w = r < (R + 1) / 2 ? scalar(type_a, a, at[r], j) : scalar(type_b, b, at[r], j);
            for (int c = 0; c < C; c++) acc[r * C + c] = fma(w, x[x_at[c] + j], acc[r * C + c]);
          }
      }
    }
  }
}

/// Sums N values over the lanes in the order that the head of this file gives. At every step each lane works on half as
/// many values. At the end lane l has the sum of value l·N/32. N is a power of 2 and at most 32.
template <int N, int Mask> struct LaneTree {
  static float sum(thread float* a, uint lane) {
    const bool upper = (lane & uint(Mask)) != 0u;
    if (N >= 8) {
      for (int i = 0; i < N / 2; i += 4) {
        const float4 low = float4(a[i], a[i + 1], a[i + 2], a[i + 3]);
        const float4 high = float4(a[i + N / 2], a[i + N / 2 + 1], a[i + N / 2 + 2], a[i + N / 2 + 3]);
        const float4 sum = (upper ? high : low) + simd_shuffle_xor(upper ? low : high, Mask);
        a[i] = sum.x;
        a[i + 1] = sum.y;
        a[i + 2] = sum.z;
        a[i + 3] = sum.w;
      }
    } else if (N > 1) {
      for (int i = 0; i < N / 2; i++)
        a[i] = (upper ? a[i + N / 2] : a[i]) + simd_shuffle_xor(upper ? a[i] : a[i + N / 2], Mask);
    } else {
      a[0] += simd_shuffle_xor(a[0], Mask);
    }
    return LaneTree<(N > 1 ? N / 2 : 1), Mask / 2>::sum(a, lane);
  }
};
template <int N> struct LaneTree<N, 0> {
  static float sum(thread float* a, uint) { return a[0]; }
};
template <int N> static float lane_sum(thread float* a, uint lane) { return LaneTree<N, 16>::sum(a, lane); }

/// What a simdgroup of linear, ffn or qkv computes: the number of its unit of outputs and of its tile of columns.
struct ProductUnit {
  uint outputs, tile;
};

/// The unit of the simdgroup that is number `index` in the grid. Consecutive simdgroups take the tiles of the same
/// outputs, kSharedTiles at most, then the next outputs, then further tiles. So simdgroups that run at the same time
/// share weights. For an index past the end, the unit's `outputs` is the number of units.
static inline ProductUnit product_unit(uint index, uint outputs, uint rows, uint columns) {
  const uint tiles = (rows + columns - 1u) / columns, shared = outputs * kSharedTiles;
  const uint first_tile = index / shared * kSharedTiles, rest = index % shared;
  ProductUnit unit;
  unit.outputs = outputs;
  unit.tile = 0u;
  if (first_tile < tiles) {
    const uint side_by_side = min(uint(kSharedTiles), tiles - first_tile);
    unit.outputs = min(rest / side_by_side, outputs);
    unit.tile = first_tile + rest % side_by_side;
  }
  return unit;
}

/// exp(x), for x of about 0 or less. Every kernel uses this one, so that all have the same bits.
static inline float exponential(float x) { return precise::exp(x); }

/// x · sigmoid(alpha · x).
static inline float swish(float x, float alpha) { return x / (1.0f + exponential(-alpha * x)); }

static inline uint head_length_of(uint given) {
  return is_function_constant_defined(fc_head_length) ? fc_head_length : given;
}
