// The table of CPU kernels: the operations that an instruction set may override, one at a time.
//
// Contract of determinism. Every kernel set gives the same bits. Each function below fixes the order of its
// floating-point operations. That order depends on the row alone: the number of rows in the step, threads and tiling do
// not change it. `portable.cpp` states the order in plain C++, and tests compare every instruction set with it, bit for
// bit. (The backend `reference` does not use these kernels, and its bits differ.)
//
// Every multiply-add below is one fused operation (std::fma, or an FMA instruction). No other pair of operations may be
// contracted into one, so the files are compiled with -ffp-contract=off.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../core/tensor_types.h"

namespace hearth::cpu {

/// Weight rows in a group. The last group of a matrix may have fewer.
constexpr int kGroupRows = 16;
/// Activation rows that are packed into one tile. The last tile may have fewer.
constexpr int kTileRows = 16;
/// Values that share a scale, in weights and in quantised activations. (In Q6_K, 16 values share a scale.)
constexpr int kBlock = 32;

/// The blocks of kBlock quantised weights that a type stores together, and their bytes. Layouts: core/dequantize.cpp.
struct Unit {
  int blocks;
  size_t bytes;
};
static constexpr Unit unit_of(TensorType type) {
  return {type_traits(type).block / kBlock, static_cast<size_t>(type_traits(type).block_bytes)};
}

/// Bytes of one activation row's block in a packed tile: 32 int8, a scale (float bits), a sum.
constexpr size_t kPackedBlockBytes = 40;

/// Exponent bytes of MXFP4 weights are clamped to this range. Kernels can then multiply by a scale with an integer
/// addition to the exponent, which cannot overflow. (The exponents of real models lie within 100..130.)
constexpr int kMinExponent = 48, kMaxExponent = 192;
/// Scales of quantised activations are clamped to [2^-40, 2^60] for the same reason.
constexpr float kMinScale = 0x1p-40f, kMaxScale = 0x1p60f;

/// Bytes of a packed tile of `columns` (1..kTileRows) activation rows of `blocks` blocks.
static constexpr size_t tile_bytes(int columns, int blocks) {
  return kPackedBlockBytes * static_cast<size_t>(columns) * static_cast<size_t>(blocks);
}
/// Bytes of QuantGroup::scratch for rows of `blocks` blocks. It holds 16 unpacked rows, which each further tile then
/// finds in L2.
static constexpr size_t scratch_bytes(int blocks) { return 576 * static_cast<size_t>(blocks); }

/// Bytes of 16 rows in a kernel set's own layout: as many as in the file, rounded up to whole cache lines.
static constexpr size_t packed_group_bytes(TensorType type, int blocks) {
  const Unit unit = unit_of(type);
  return (kGroupRows * unit.bytes * static_cast<size_t>(blocks / unit.blocks) + 63) / 64 * 64;
}

/// 16 (or fewer) rows of a weight matrix times any number of quantised activation rows (columns), packed in tiles.
///
/// One call should take all the columns that need the group: its weights are then read and unpacked once.
///
/// For row r < rows and column c < columns, y[c * ldy + r] is one FMA chain from 0 over the blocks b = 0..blocks-1:
///   acc = fma(float(I_b), D_b × s_b, acc)
///   acc = fma(M_b, s_b × float(S_b), acc)     second, in formats with minima only
/// The activations give s_b and S_b, the scale and the sum of block b. I_b is the exact int32 dot product of their 32
/// integers with the integers of the weights (below 2^24). The formats of weights give
///   MXFP4: D_b = 2^(clamp(e) − 128)
///   Q8_0, Q4_0, Q5_0: D_b = d; the integers are q, q − 8, q − 16
///   Q4_1, Q5_1: D_b = d, M_b = m
///   Q4_K, Q5_K: D_b = d × scale, M_b = −(dmin × minimum) with the sub-block's scale and minimum (exact: 11 bits by 6)
///   Q6_K: D_b = d; the integers are scale × (q − 32), one scale for a block's first 16, another for its last 16
/// Each product with s_b is rounded once.
struct QuantGroup {
  const uint8_t* weights;  ///< first row: GGUF layout, any alignment
  size_t row_bytes;        ///< from one row to the next
  int rows;                ///< 1..16; rows past it may not be read
  int blocks;              ///< blocks of 32 along k; a multiple of the type's Unit
  /// Tile t holds columns 16t .. min(16t + 16, columns) - 1 and begins at tiles + t * tile_bytes(16, blocks). A tile of
  /// n columns holds, per block: int8 q[n][32] | float scale[n] | 4 bytes of sums[n]. The set's pack_tile writes the
  /// sums in the form that the set's kernels read: one int32 sum, or two int16 sums, of the elements ≡ 0 and 1 (mod 4)
  /// and of the elements ≡ 2 and 3.
  const uint8_t* tiles;
  int columns;  ///< any number ≥ 1
  float* y;     ///< [columns][ldy]; only y[c*ldy + 0..rows-1] may be written
  size_t ldy;
  const uint8_t* end;  ///< one past the last readable byte of the mapping; prefetches may pass it, loads may not
  uint8_t* scratch;    ///< scratch_bytes(blocks) bytes, 64-byte aligned, one for each thread; contents mean nothing
};

/// Rows of F32, F16 or BF16 weights times float activations.
///
/// y[c*ldy + r] is summed in 16 lanes. Lane l is the chain acc[l] = fma(w[k], x[k], acc[l]) from 0 over the ascending
/// k ≡ l (mod 16). Then acc[l] += acc[l+8] for l < 8, and so on with +4, +2, +1.
struct FloatGroup {
  const uint8_t* weights;  ///< first row, 2- or 4-byte elements, any alignment
  size_t row_bytes;
  int rows;        ///< any number ≥ 1
  int k;           ///< any number, not only multiples of 16
  const float* x;  ///< [columns][ldx]
  size_t ldx;
  int columns;  ///< any number ≥ 1
  float* y;     ///< [columns][ldy]
  size_t ldy;
};

/// Attention of R consecutive query rows of one sequence over one chunk of keys, in the G query heads of one KV head.
///
/// A cache block holds kCacheBlock positions. In a block, one KV head's keys lie transposed,
/// [head_length][kCacheBlock], and its values lie as [kCacheBlock][head_length]. `attend` reads elements of F16.
/// `attend_q8_0` reads int8 × scale, a product that is exact in float. A Q8_0 cache has one F16 scale for each position
/// and 32 dimensions. The scales follow the int8 keys as [ceil(head_length / 32)][kCacheBlock] and the int8 values as
/// [kCacheBlock][ceil(head_length / 32)]. From then on both kernels compute the same, with k and v for the elements
/// read:
///
/// Query row r (0..R-1) has the position first_position + r. It sees the keys j with first_key ≤ j < end_key and
/// j ≤ position, and with position − j < window if window > 0. Blocks without a visible key are skipped. The others are
/// taken in ascending order, and in each block:
///   s_j = (fma chain over d ascending from 0 of q[d] × k[d][j]) × scale
///   bm = max of the visible s_j;  m' = max(m, bm);  f = exp(m − m') (0 for the first block)
///   p_j = exp(s_j − m') for visible j, 0 for others
///   l = fma(l, f, Σ p_j)       Σ: 16 lanes over j mod 16 (two adds from 0 for 32 keys), then +8, +4, +2, +1
///   o[d] = o[d] × f, then the fma chain o[d] = fma(p_j, v[j][d], o[d]) over the visible j ascending
/// Keys and values that no row sees are never used, so they may hold anything, NaN included.
/// exp is cpu::exp_f32. A row without a visible key in the chunk gets m = −INFINITY, l = 0, o = 0.
struct AttendChunk {
  const float* q;  ///< [R][q_row_stride], with RoPE; head g of the group begins at + g * head_length
  size_t q_row_stride;
  int rows;         ///< R
  int heads;        ///< G
  int head_length;  ///< a multiple of 8, ≤ kMaxHeadLength
  float scale;
  int first_position;
  int window;              ///< 0: none
  int first_key, end_key;  ///< the chunk's bounds; first_key is a multiple of kCacheBlock
  /// Element i is the address of this layer's and KV head's keys (or values) in block i of the sequence. Block i begins
  /// with position i * kCacheBlock.
  const uint8_t* const* key_blocks;
  const uint8_t* const* value_blocks;
  float* out;  ///< o: [R][heads][head_length], not yet divided by l
  float* max;  ///< m: [R][heads]
  float* sum;  ///< l: [R][heads]
};
constexpr int kCacheBlock = 32;
constexpr int kMaxHeadLength = 256;
/// Dimensions of a head that share a scale in a Q8_0 cache.
constexpr int kCacheScaled = 32;

/// Scales of one position's key, or value, in a Q8_0 cache.
static constexpr int cache_scales(int head_length) { return (head_length + kCacheScaled - 1) / kCacheScaled; }
/// Bytes of one KV head's keys, or values, in a block of a Q8_0 cache.
static constexpr size_t q8_0_cache_bytes(int head_length) {
  return static_cast<size_t>(kCacheBlock) * static_cast<size_t>(head_length + 2 * cache_scales(head_length));
}

/// The group kernel of every quantised type, indexed by the type's id. The other types have nullptr.
struct QuantGroups {
  void (*of[kTypeIds])(const QuantGroup&);
};
/// The group kernel of every type of floats, indexed by the type's id. The other types have nullptr.
struct FloatGroups {
  void (*of[kTypeIds])(const FloatGroup&);
};

/// A kernel set's own layout for 16 rows of a quantised type. It is faster to read and gives the same results. Both
/// functions are nullptr where the set has no such layout.
struct PackedLayout {
  /// Packs up to 16 rows into packed_group_bytes(type, blocks) bytes, 64-byte aligned. Missing rows become zeros.
  void (*pack)(const uint8_t* weights, size_t row_bytes, int rows, int blocks, uint8_t* packed);
  /// Computes a QuantGroup of any number of rows. Their packed groups follow each other from `weights` on, row_bytes is
  /// the bytes of one packed group, and `end` is not used.
  void (*group)(const QuantGroup&);
};
/// The packed layout of every quantised type, indexed by the type's id.
struct PackedLayouts {
  PackedLayout of[kTypeIds];
};

struct Kernels {
  const char* name;

  /// Quantises one row of k floats (k a multiple of 32) in blocks of 32. A block's scale is d = clamp(max|x| / 127,
  /// kMinScale, kMaxScale). Its integers are q = x * (1/d), clamped to ±127 and rounded to nearest even. Writes int8
  /// q[k], float d[k/32], and int32 sums of q[k/32].
  void (*quantize_row)(const float* x, int k, int8_t* q, float* scales, int32_t* sums);

  /// Packs `columns` (1..16) quantised rows into a tile, as QuantGroup::tiles describes. Row rows[c] becomes column c.
  /// q is [*][k], scales and sums are [*][k/32].
  void (*pack_tile)(const int8_t* q, const float* scales, const int32_t* sums, int k, const int32_t* rows, int columns,
                    uint8_t* tile);

  QuantGroups quant_groups;

  PackedLayouts packed_layouts;

  FloatGroups float_groups;

  /// y = x / sqrt(mean(x²) + epsilon) * weight. Σx² is summed by fma in 16 lanes, by k mod 16, and the lanes are added
  /// by +8, +4, +2, +1. Then s = 1 / sqrt(Σ / n + epsilon) in float, and y[k] = (x[k] * s) * weight[k].
  void (*rms_norm)(const float* x, const float* weight, int n, float epsilon, float* y);

  /// gpt-oss's SwiGLU: g = min(gate, limit), u = clamp(up, −limit, limit),
  /// y = (g / (1 + exp_f32(−alpha·g))) × (u + 1).
  void (*swiglu)(const float* gate, const float* up, int n, float alpha, float limit, float* y);
  /// y = (gate / (1 + exp_f32(−gate))) × up.
  void (*silu_glu)(const float* gate, const float* up, int n, float* y);

  /// y[i] = fma(a, x[i], y[i])
  void (*axpy)(float a, const float* x, int n, float* y);

  void (*attend)(const AttendChunk&);
  void (*attend_q8_0)(const AttendChunk&);

  /// F32 to F16, round to nearest even.
  void (*to_f16)(const float* x, int n, uint16_t* y);
};

static inline void (*quant_group(const Kernels& kernels, TensorType type))(const QuantGroup&) {
  return kernels.quant_groups.of[static_cast<size_t>(type)];
}
static inline void (*float_group(const Kernels& kernels, TensorType type))(const FloatGroup&) {
  return kernels.float_groups.of[static_cast<size_t>(type)];
}
static inline const PackedLayout& packed_layout(const Kernels& kernels, TensorType type) {
  return kernels.packed_layouts.of[static_cast<size_t>(type)];
}

/// exp with a relative error below 2e-7 on [−87, 88]; 0 below that range, exp(88) above it. Every kernel set gives
/// these bits.
float exp_f32(float x);

/// Calls body(group) with each group of 16 rows of a packed QuantGroup, in order.
template <class Body> static inline void each_packed_group(const QuantGroup& g, Body body) {
  for (int first = 0; first < g.rows; first += kGroupRows) {
    QuantGroup one = g;
    one.weights += static_cast<size_t>(first / kGroupRows) * g.row_bytes;
    one.rows = g.rows - first < kGroupRows ? g.rows - first : kGroupRows;
    one.y += first;
    body(one);
  }
}

// The kernel sets in this binary. A set of another architecture is nullptr.

const Kernels* portable_kernels();
/// Needs AVX2, FMA and F16C.
const Kernels* avx2_kernels();
/// Needs AVX-512 F, BW, DQ, VL, VBMI and VNNI, and all that avx2 needs.
const Kernels* avx512_kernels();
/// Needs all that avx512 needs, AMX-INT8, and the operating system's permission for this process to use the tiles.
const Kernels* amx_kernels();
/// Needs dotprod and FP16. Uses i8mm where the CPU has it.
const Kernels* neon_kernels();

/// The kernel sets that this CPU can run, best first. The last is portable; nullptr ends the list.
const Kernels* const* available_kernels();
/// The kernel set of this name; nullptr if there is none or this CPU cannot run it.
const Kernels* find_kernels(const char* name);
/// The features of this CPU that matter to kernels (avx2, avx512vnni, dotprod, i8mm…), for reports. nullptr ends the
/// list.
const char* const* cpu_features();

}  // namespace hearth::cpu
