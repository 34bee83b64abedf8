// The table of CPU kernels: what an instruction set may override, one operation at a time.
//
// Contract of determinism. Every kernel set except `reference` gives the same bits: each function below fixes the order of
// its floating-point operations, and that order depends on the row itself only, never on how many rows are in the step, on
// threads or on tiling. `portable.cpp` states that order in plain C++; the instruction sets are tested for equality with it.
//
// Every multiply-add below is one fused operation (std::fma / FMA instruction); nothing else may be contracted
// (the files are compiled with -ffp-contract=off).
#pragma once

#include <cstddef>
#include <cstdint>

#include "../core/tensor_types.h"

namespace hearth::cpu {

/// Weight rows one call of a group kernel computes; the last group of a matrix may have fewer.
constexpr int kGroupRows = 16;
/// Activation rows packed together at most; a group kernel takes 1..kTileRows of them.
constexpr int kTileRows = 16;
/// Values that share a scale, in weights (but Q6_K, of which 16 do) and in quantised activations.
constexpr int kBlock = 32;

/// Blocks of kBlock quantised weights that are stored together, and their bytes; layouts: core/dequantize.cpp.
struct Unit {
  int blocks;
  size_t bytes;
};
static constexpr Unit unit_of(TensorType type) {
  return {type_traits(type).block / kBlock, static_cast<size_t>(type_traits(type).block_bytes)};
}

/// Bytes of one activation row's block in a packed tile: 32 int8, a scale (float bits), a sum.
constexpr size_t kPackedBlockBytes = 40;

/// MXFP4 weights with an exponent byte outside are clamped to it, so that scales multiply by integer addition without overflow
/// (real models lie within 100..130).
constexpr int kMinExponent = 48, kMaxExponent = 192;
/// Scales of quantised activations are clamped to [2^-40, 2^60] for the same reason.
constexpr float kMinScale = 0x1p-40f, kMaxScale = 0x1p60f;

/// Bytes of a packed tile of `columns` (1..kTileRows) activation rows of `blocks` blocks.
static constexpr size_t tile_bytes(int columns, int blocks) {
  return kPackedBlockBytes * static_cast<size_t>(columns) * static_cast<size_t>(blocks);
}
/// Bytes of QuantGroup::scratch for rows of `blocks` blocks: 16 unpacked rows, so that each further tile finds them in L2.
static constexpr size_t scratch_bytes(int blocks) { return 576 * static_cast<size_t>(blocks); }

/// Bytes of 16 rows in a kernel set's own layout: what they take in the file, in whole cache lines.
static constexpr size_t packed_group_bytes(TensorType type, int blocks) {
  const Unit unit = unit_of(type);
  return (kGroupRows * unit.bytes * static_cast<size_t>(blocks / unit.blocks) + 63) / 64 * 64;
}

/// 16 (or fewer) rows of a weight matrix times any number of quantised activation rows (columns), packed in tiles.
///
/// Give one group all the columns that need it in one call: its weights are then read and unpacked once.
///
/// For row r < rows, column c < columns:  y[c * ldy + r] = Σ over blocks b = 0..blocks-1, one FMA chain from 0:
///   acc = fma(float(I_b), D_b × s_b, acc)
///   acc = fma(M_b, s_b × float(S_b), acc)     in formats with minima, after the other
/// with s_b and S_b the scale and the sum of the block of activations, I_b the exact int32 dot product of its 32 integers with
/// those of the weights (below 2^24), and of the weights
///   MXFP4: D_b = 2^(clamp(e) − 128)
///   Q8_0, Q4_0, Q5_0: D_b = d; integers q, q − 8, q − 16
///   Q4_1, Q5_1: D_b = d, M_b = m
///   Q4_K, Q5_K: D_b = d × scale, M_b = −(dmin × minimum), of a sub-block (exact: 11 bits by 6)
///   Q6_K: D_b = d; integers scale × (q − 32), the scale of a block's first 16 or its last
/// Products with s_b are rounded once.
struct QuantGroup {
  const uint8_t* weights;  ///< first row: GGUF layout, any alignment
  size_t row_bytes;        ///< from one row to the next
  int rows;                ///< 1..16; rows past it may not be read
  int blocks;              ///< of 32 along k; a multiple of the type's Unit
  /// Tile t holds columns 16t .. min(16t + 16, columns) - 1 and begins at tiles + t * tile_bytes(16, blocks). In a tile of
  /// n columns, per block: int8 q[n][32] | float scale[n] | 4 bytes of sums[n], which the set's pack_tile writes in the form that its
  /// kernels read: an int32 sum, or int16 sums of the elements ≡ 0 and 1 (mod 4) and of those ≡ 2 and 3.
  const uint8_t* tiles;
  int columns;  ///< any number ≥ 1
  float* y;     ///< [columns][ldy]; only y[c*ldy + 0..rows-1] may be written
  size_t ldy;
  const uint8_t* end;  ///< one past the last readable byte of the mapping (prefetches may pass it, loads may not)
  uint8_t* scratch;    ///< scratch_bytes(blocks) bytes, 64-byte aligned, one a thread; contents mean nothing
};

/// Rows of F32, F16 or BF16 weights times float activations.
///
/// y[c*ldy + r]: 16 lane accumulators, lane l chaining acc[l] = fma(w[k], x[k], acc[l]) over k ≡ l (mod 16) ascending from 0;
/// then acc[l] += acc[l+8] for l<8, then +4, +2, +1.
struct FloatGroup {
  const uint8_t* weights;  ///< first row, 2- or 4-byte elements, any alignment
  size_t row_bytes;
  int rows;        ///< any number ≥ 1
  int k;           ///< any, not only multiples of 16
  const float* x;  ///< [columns][ldx]
  size_t ldx;
  int columns;  ///< any number ≥ 1
  float* y;     ///< [columns][ldy]
  size_t ldy;
};

/// Attention of R consecutive query rows of one sequence, the G query heads of one KV head, over one chunk of keys.
///
/// Cache blocks hold kCacheBlock positions. In a block, one KV head's keys lie transposed, [head_length][kCacheBlock], and
/// its values as [kCacheBlock][head_length]. `attend` reads F16. `attend_q8_0` reads int8 × scale, a product that is exact in
/// float; the F16 scales, one a position and 32 dimensions, follow the int8 keys as [ceil(head_length / 32)][kCacheBlock] and
/// the int8 values as [kCacheBlock][ceil(head_length / 32)]. With k and v what is read, both do the same:
///
/// Query row r (0..R-1) has position first_position + r and sees keys j with first_key ≤ j < end_key, j ≤ its position, and
/// (window > 0) position − j < window. Blocks without a visible key are skipped. Within a block, ascending:
///   s_j = (fma chain over d ascending from 0 of q[d] × k[d][j]) × scale
///   bm = max of the visible s_j;  m' = max(m, bm);  f = exp(m − m') (0 for the first block)
///   p_j = exp(s_j − m') for visible j, 0 for others
///   l = fma(l, f, Σ p_j)       Σ: 16 lanes over j mod 16 (two adds from 0 for 32 keys), then +8, +4, +2, +1
///   o[d] = o[d] × f, then the fma chain o[d] = fma(p_j, v[j][d], o[d]) over the visible j ascending (hidden K and V are
///   never used, so they may hold anything, NaN included)
/// exp is cpu::exp_f32. Rows with no visible key in the chunk get m = −INFINITY, l = 0, o = 0.
struct AttendChunk {
  const float* q;  ///< [R][q_row_stride], head g of the group at + g * head_length; RoPE applied
  size_t q_row_stride;
  int rows;         ///< R
  int heads;        ///< G
  int head_length;  ///< a multiple of 8, ≤ kMaxHeadLength
  float scale;
  int first_position;
  int window;              ///< 0: none
  int first_key, end_key;  ///< chunk bounds; first_key is a multiple of kCacheBlock
  /// Keys / values of block i of the sequence (position i * kCacheBlock …), this layer and KV head.
  const uint8_t* const* key_blocks;
  const uint8_t* const* value_blocks;
  float* out;  ///< [R][heads][head_length], not yet divided by l
  float* max;  ///< [R][heads]
  float* sum;  ///< [R][heads]
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

/// The group kernel of every quantised type, by the type's id; of others nullptr.
struct QuantGroups {
  void (*of[kTypeIds])(const QuantGroup&);
};
/// The group kernel of every type of floats, by the type's id.
struct FloatGroups {
  void (*of[kTypeIds])(const FloatGroup&);
};

/// A layout of a set's own for 16 rows of a quantised type, faster to read, with the same results; both nullptr: none.
struct PackedLayout {
  /// Packs up to 16 rows into packed_group_bytes(type, blocks) bytes, 64-byte aligned; missing rows are zeros.
  void (*pack)(const uint8_t* weights, size_t row_bytes, int rows, int blocks, uint8_t* packed);
  /// QuantGroup of any number of rows: their packed groups follow each other from `weights` on, row_bytes is the bytes of one, end
  /// is not used.
  void (*group)(const QuantGroup&);
};
/// By the type's id.
struct PackedLayouts {
  PackedLayout of[kTypeIds];
};

struct Kernels {
  const char* name;

  /// Quantises one row of k floats (k a multiple of 32) in blocks of 32: d = clamp(max|x| / 127), q = round-to-nearest-even
  /// (x * (1/d)) clamped to ±127. Writes int8 q[k], float d[k/32], int32 sum-of-q[k/32].
  void (*quantize_row)(const float* x, int k, int8_t* q, float* scales, int32_t* sums);

  /// Packs `columns` (1..16) quantised rows into a tile as QuantGroup::tiles describes. rows[c] selects the row.
  /// q is [*][k], scales and sums [*][k/32].
  void (*pack_tile)(const int8_t* q, const float* scales, const int32_t* sums, int k, const int32_t* rows, int columns,
                    uint8_t* tile);

  QuantGroups quant_groups;

  PackedLayouts packed_layouts;

  FloatGroups float_groups;

  /// y = x / sqrt(mean(x²) + epsilon) * weight. Σx²: 16 lanes by k mod 16, fma, then +8, +4, +2, +1; then
  /// s = 1 / sqrt(Σ / n + epsilon) in float, y[k] = (x[k] * s) * weight[k].
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

/// exp with relative error below 2e-7 on [−87, 88], 0 below, exp(88) above; the same bits in every kernel set.
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

/// Kernel sets compiled into this binary; `nullptr` where the architecture lacks them.
const Kernels* portable_kernels();
const Kernels* avx2_kernels();    ///< needs AVX2, FMA, F16C
const Kernels* avx512_kernels();  ///< needs AVX-512 F, BW, DQ, VL, VBMI, VNNI
const Kernels*
amx_kernels();  ///< needs what avx512 needs, AMX-INT8, and that the operating system let this process use it
const Kernels* neon_kernels();  ///< Arm with dotprod and FP16; i8mm used where present

/// The kernel sets this CPU can run, best first, ended by nullptr; the last is portable.
const Kernels* const* available_kernels();
/// By name; nullptr if unknown or not runnable here.
const Kernels* find_kernels(const char* name);
/// Features of this CPU that matter to kernels (avx2, avx512vnni, dotprod, i8mm…), for reports; ended by nullptr.
const char* const* cpu_features();

}  // namespace hearth::cpu
