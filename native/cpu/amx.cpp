// AMX kernels (Sapphire Rapids and newer) for MXFP4 and Q8_0. Many activation rows are multiplied by the tile unit. Few
// activation rows are multiplied by the same vector code as in avx512.cpp, but repacked groups are read side by side,
// which suits these processors. Everything else in the set is avx512's.
//
// A group's 16 weight rows are unpacked into the scratch, some blocks at a time. Each block is stored in the form of
// the tile unit's right operand: 8 rows of 64 bytes, with elements 4j..4j+3 of weight row r in dword r of row j. The 16
// scales follow as floats. A tile of activations, [columns][32] of int8, is the left operand as it lies. One tdpbssd
// therefore makes the exact dot products of a block for 16 rows and up to 16 columns. They are stored, and vector
// instructions scale them and add them up, in the order of kernels.h.
//
// The tile unit is not what bounds these kernels. A block of 16 × 16 takes it 16 cycles. Storing the products takes 16
// more, and scaling and adding them (48 vector operations, 32 loads) takes 24. On Granite Rapids these parts do not
// overlap, and take 60 to 65 cycles together in L1. There vpdpbusd needs 64 for the products alone. The products of
// BF16 tiles are floats that already contain MXFP4's scales, so that 16 of the vector operations remain. BF16 tiles are
// no faster all the same, because their operands are twice as large.
#include "kernels.h"

#if defined(__AMX_INT8__) && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__) && defined(__AVX512VBMI__) && defined(__AVX512VNNI__)

#include <array>
#include <utility>

#include "avx512_formats.h"
#include "avx512_products.h"

namespace hearth::cpu {
namespace {

/// The fewest columns with which the tile unit is faster than vpdpbusd, measured on Granite Rapids with weights from
/// memory. Q8_0's weights are twice as many bytes, and while they arrive the vector code has twice the time.
template <class Format> constexpr int kMinColumns = Format::kStored == 4 ? 10 : 25;

constexpr size_t kStoredBytes = 8 * 64 + 64;
static_assert(scratch_bytes(1) >= kStoredBytes);
/// Blocks that are unpacked before they are multiplied with all columns. They are 12 KB and stay in L1, together with a
/// tile's part for these blocks.
constexpr int kChunk = 20;
static_assert(kChunk % kBatch == 0);

// ---- the tile unit --------------------------------------------------------------------------------------------------
//
// Tile registers 0 and 1 hold the products of a full tile of activations, [16][16] of int32. 2 and 3 hold those of the
// last tile, [columns][16]. 4 holds the activations of a full tile and 5 those of the last. 6 and 7 hold weights. A
// group therefore sets the shapes only once. Setting them takes longer than a block's products.

/// Operand of ldtilecfg; layout: Intel's Software Developer's Manual, volume 1, 18.2.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  constexpr explicit TileShapes(int last_columns) {
    for (const int product : {0, 1}) set(product, kTileRows, 64);
    for (const int product : {2, 3}) set(product, last_columns, 64);
    set(4, kTileRows, kBlock);
    set(5, last_columns, kBlock);
    for (const int weights : {6, 7}) set(weights, kBlock / 4, 64);
  }
  constexpr void set(int tile, int tile_rows, int bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(bytes);
  }
};

template <int... I> constexpr std::array<TileShapes, kTileRows> shapes_of(std::integer_sequence<int, I...>) {
  return {TileShapes(I + 1)...};
}
constexpr std::array<TileShapes, kTileRows> kShapes = shapes_of(std::make_integer_sequence<int, kTileRows>{});

/// Sets the shapes for full tiles of activations and for a last tile of 1..16 columns.
HEARTH_INLINE void configure(int last_columns) {
  asm volatile("ldtilecfg %0" ::"m"(kShapes[static_cast<size_t>(last_columns - 1)]));
}
/// Clears the tiles. The operating system then need not save them when it switches to another thread.
HEARTH_INLINE void release() { asm volatile("tilerelease" ::: "memory"); }

/// Starts the products of one block's weights with N columns, in the tile register for products number P (0 or 1).
template <int P, int N> HEARTH_INLINE void multiply(const uint8_t* weights, const uint8_t* activations) {
  constexpr bool kFull = N == kTileRows;
  asm volatile(
      "tileloadd (%0,%2,1), %%tmm%c4\n\t"
      "tileloadd (%1,%3,1), %%tmm%c5\n\t"
      "tilezero %%tmm%c6\n\t"
      "tdpbssd %%tmm%c4, %%tmm%c5, %%tmm%c6" ::"r"(weights),
      "r"(activations), "r"(int64_t{64}), "r"(int64_t{kBlock}), "i"(6 + P), "i"(kFull ? 4 : 5), "i"(kFull ? P : 2 + P)
      : "memory");
}
template <int P, int N> HEARTH_INLINE void store(int32_t* products) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(products), "r"(int64_t{64}), "i"(N == kTileRows ? P : 2 + P)
               : "memory");
}

// ---- 16 unpacked rows × N columns -----------------------------------------------------------------------------------

/// The lines of the next group's weights that are prefetched to L2 meanwhile: `each` lines a block, up to `end`.
struct Ahead {
  const uint8_t *next, *end;
  int each;

  HEARTH_INLINE void step() {
    for (int i = 0; i < each && next < end; i++, next += 64) prefetch_paired(next);
  }
};

template <int N>
HEARTH_INLINE void add_products(const int32_t* products, __m512 weight_scales, const float* scales, __m512 (&y)[N]) {
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) {
    const __m512 scale = _mm512_mul_ps(weight_scales, _mm512_set1_ps(scales[c]));
    y[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(products + 16 * c)), scale, y[c]);
  }
}

/// Adds the products of unpacked rows with a tile to y. The products of the next block are under way while those of a
/// block are added up.
template <int N>
__attribute__((noinline)) void multiply_tile(const uint8_t* stored, int blocks, const uint8_t* tile, Ahead& ahead,
                                             float* to, size_t ldy) {
  constexpr size_t kTileBytes = kPackedBlockBytes * N;
  alignas(64) int32_t products[2][16 * N];
  __m512 y[N];
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) y[c] = _mm512_loadu_ps(to + c * ldy);
  const auto add = [&](const int32_t* from) __attribute__((always_inline)) {
    add_products<N>(from, _mm512_load_ps(reinterpret_cast<const float*>(stored + 8 * 64)),
                    reinterpret_cast<const float*>(tile + kBlock * N), y);
    stored += kStoredBytes;
    tile += kTileBytes;
    ahead.step();
  };
  multiply<0, N>(stored, tile);
  int b = 0;
  for (; b + 2 < blocks; b += 2) {
    multiply<1, N>(stored + kStoredBytes, tile + kTileBytes);
    store<0, N>(products[0]);
    add(products[0]);
    multiply<0, N>(stored + kStoredBytes, tile + kTileBytes);
    store<1, N>(products[1]);
    add(products[1]);
  }
  const bool another = b + 2 == blocks;
  if (another) multiply<1, N>(stored + kStoredBytes, tile + kTileBytes);
  store<0, N>(products[0]);
  add(products[0]);
  if (another) {
    store<1, N>(products[1]);
    add(products[1]);
  }
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) _mm512_storeu_ps(to + c * ldy, y[c]);
}

using MultiplyTile = void (*)(const uint8_t*, int, const uint8_t*, Ahead&, float*, size_t);
template <int... I> constexpr std::array<MultiplyTile, kTileRows> multipliers(std::integer_sequence<int, I...>) {
  return {multiply_tile<I + 1>...};
}

/// Multiplies a group of 16 rows with all columns. unpack(first, count) leaves the blocks first .. first + count - 1 in
/// the scratch. The next group needs the `weight_bytes` bytes from `next` on.
template <class Unpack> HEARTH_INLINE void multiply_group(const QuantGroup& g, const uint8_t* next, size_t weight_bytes,
                                                          Unpack unpack) {
  static constexpr auto kMultiply = multipliers(std::make_integer_sequence<int, kTileRows>{});
  const int steps = (g.columns + kTileRows - 1) / kTileRows * g.blocks;
  const int lines = static_cast<int>((weight_bytes + 63) / 64);
  Ahead ahead{next, next + weight_bytes, (lines + steps - 1) / steps};
  for (int c = 0; c < g.columns; c++) _mm512_storeu_ps(g.y + static_cast<size_t>(c) * g.ldy, _mm512_setzero_ps());
  const int last = g.columns % kTileRows;
  configure(last > 0 ? last : kTileRows);
  for (int first = 0; first < g.blocks; first += kChunk) {
    const int count = g.blocks - first < kChunk ? g.blocks - first : kChunk;
    unpack(first, count);
    for (int c = 0; c < g.columns; c += kTileRows) {
      const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
      const uint8_t* tile =
          g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks) + tile_bytes(columns, first);
      kMultiply[static_cast<size_t>(columns - 1)](g.scratch, count, tile, ahead, g.y + static_cast<size_t>(c) * g.ldy,
                                                  g.ldy);
    }
  }
  release();
}

// ---- unpacking ------------------------------------------------------------------------------------------------------

HEARTH_INLINE void store_block(uint8_t* to, const __m512i (&bytes)[8], __m512 scales) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) _mm512_store_si512(to + 64 * j, bytes[j]);
  _mm512_store_ps(reinterpret_cast<float*>(to + 8 * 64), scales);
}

/// Unpacks `count` blocks of 16 rows in the file's layout, which begin at w. The rows must have 4 blocks or more.
template <class Format> void unpack(const uint8_t* w, size_t row_bytes, int count, uint8_t* to) {
  const auto block = [&](const typename Format::Scales& scales, int i) __attribute__((always_inline)) {
    __m512i bytes[8];
    Format::load_signed(w, row_bytes, bytes);
    store_block(to, bytes, Format::multiplier(Format::scale(scales, w, row_bytes, i)));
    w += Format::kBlockBytes;
    to += kStoredBytes;
  };
  int b = 0;
  for (; b + kBatch <= count; b += kBatch) {
    const typename Format::Scales scales = Format::load_scales(w, row_bytes);
    block(scales, 0);
    block(scales, 1);
    block(scales, 2);
    block(scales, 3);
  }
  if (const int rest = count - b; rest > 0) {
    const typename Format::Scales scales = Format::load_last_scales(w, row_bytes, rest);
    block(scales, 0);
    if (rest > 1) block(scales, 1);
    if (rest > 2) block(scales, 2);
  }
}

/// Unpacks `count` blocks of a packed group.
template <class Format> void unpack_packed(const uint8_t* packed, const uint8_t* scales, int count, uint8_t* to) {
  constexpr int kStored = Format::kStored;
  for (int b = 0; b < count; b++, packed += 64 * kStored, scales += Format::kPackedScaleBytes, to += kStoredBytes) {
    __m512i stored[kStored], bytes[8];
    load_stored<Format>(packed, stored);
    Format::expand_signed(stored, bytes);
    store_block(to, bytes, Format::multiplier(Format::load_packed_scale(scales)));
  }
}

template <class Format> void group_quantised(const QuantGroup& g) {
  if (g.columns < kMinColumns<Format> || g.rows < kGroupRows || g.blocks < kBatch)
    return quant_group(*avx512_kernels(), Format::kType)(g);
  const size_t bytes = g.row_bytes * kGroupRows;
  multiply_group(g, g.weights + bytes, bytes, [&](int first, int count) {
    unpack<Format>(g.weights + static_cast<size_t>(first) * Format::kBlockBytes, g.row_bytes, count, g.scratch);
  });
}

template <class Format> void one_group_packed(const QuantGroup& g) {
  if (g.rows < kGroupRows) return packed_layout(*avx512_kernels(), Format::kType).group(g);
  const uint8_t* scales = g.weights + packed_scales_at<Format>(g.blocks);
  multiply_group(g, g.weights + g.row_bytes, g.row_bytes, [&](int first, int count) {
    const auto b = static_cast<size_t>(first);
    unpack_packed<Format>(g.weights + 64 * Format::kStored * b, scales + Format::kPackedScaleBytes * b, count,
                          g.scratch);
  });
}

// ---- packed groups side by side -------------------------------------------------------------------------------------
//
// With few columns, memory bounds the speed. Several streams keep more requests to memory under way than one. On
// Granite Rapids this is 6 to 8 % faster for 1 to 4 columns, where the sums of all groups fit into registers. For 5 to
// 16 columns the sums are stored between the groups, which is 5 to 10 % faster for Q8_0 only: its weights are more
// bytes, which hide the work for more columns than MXFP4's do.

constexpr int kMaxColumnsAbreast = 4;
/// Groups that are read side by side for so many columns, measured.
template <class Format> constexpr int groups_for(int columns) { return columns == 1 ? 32 / Format::kStored : 4; }
/// How many bytes ahead each stream is prefetched to L1.
constexpr size_t kAbreastAhead = 512, kInTurnAhead = 1024;
/// Blocks that groups_in_turn takes of a group before it takes the next group.
constexpr int kBlocksInTurn = 2;

/// The distance from a block to the bytes to prefetch. They are kAhead bytes further on in the block's group. Where the
/// group ends before, they are at the beginning of the group that this stream reads next, `groups` groups later.
template <class Format, size_t kAhead> HEARTH_INLINE size_t ahead_of(const QuantGroup& g, int groups, int block) {
  constexpr size_t kBlockBytes = 64 * Format::kStored;
  const bool within = block + static_cast<int>(kAhead / kBlockBytes) < g.blocks;
  return kAhead +
         (within ? 0 : static_cast<size_t>(groups) * g.row_bytes - static_cast<size_t>(g.blocks) * kBlockBytes);
}
HEARTH_INLINE void prefetch_to_l1(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }

/// Multiplies groups_for(N) whole groups with N columns, a block of each in turn, with all sums in registers.
template <class Format, int N> __attribute__((noinline)) void groups_abreast(const QuantGroup& g) {
  constexpr int kAbreast = groups_for<Format>(N);
  constexpr int kStored = Format::kStored;
  const uint8_t *packed = g.weights, *scales = packed + packed_scales_at<Format>(g.blocks), *tile = g.tiles;
  __m512 y[kAbreast][N];
#pragma GCC unroll 8
  for (auto& columns : y) clear(columns);
  for (int b = 0; b < g.blocks;
       b++, packed += 64 * kStored, scales += Format::kPackedScaleBytes, tile += kPackedBlockBytes * N) {
    const size_t ahead = ahead_of<Format, kAbreastAhead>(g, kAbreast, b);
#pragma GCC unroll 8
    for (int i = 0; i < kAbreast; i++) {
      const uint8_t *block = packed + static_cast<size_t>(i) * g.row_bytes,
                    *scale = scales + static_cast<size_t>(i) * g.row_bytes;
      __m512i stored[kStored], bytes[8];
#pragma GCC unroll 8
      for (int j = 0; j < kStored; j++) {
        prefetch_to_l1(block + ahead + 64 * j);
        stored[j] = _mm512_load_si512(block + 64 * j);
      }
      if (begins_scales<Format>(b)) prefetch_to_l1(scale + 64);
      Format::expand(stored, bytes);
      add_block<Format, N>(bytes, Format::load_packed_scale(scale), tile, y[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kAbreast; i++) store_columns(y[i], 0xFFFF, g.y + kGroupRows * i, g.ldy);
}

/// Multiplies groups_for(N) whole groups with N columns, a few blocks of each in turn, with the sums in memory
/// meanwhile.
template <class Format, int N> __attribute__((noinline)) void groups_in_turn(const QuantGroup& g) {
  constexpr int kInTurn = groups_for<Format>(N), kStored = Format::kStored;
  alignas(64) float sums[kInTurn][N][kGroupRows] = {};
  for (int first = 0; first < g.blocks; first += kBlocksInTurn)
    for (int i = 0; i < kInTurn; i++) {
      const uint8_t* group = g.weights + static_cast<size_t>(i) * g.row_bytes;
      __m512 y[N];
#pragma GCC unroll 16
      for (int c = 0; c < N; c++) y[c] = _mm512_load_ps(sums[i][c]);
      for (int b = first; b < first + kBlocksInTurn && b < g.blocks; b++) {
        const uint8_t* block = group + static_cast<size_t>(b) * 64 * kStored;
        const uint8_t* scale =
            group + packed_scales_at<Format>(g.blocks) + static_cast<size_t>(b) * Format::kPackedScaleBytes;
        const size_t ahead = ahead_of<Format, kInTurnAhead>(g, kInTurn, b);
        __m512i stored[kStored], bytes[8];
        load_stored<Format>(block, stored);
        Format::expand(stored, bytes);
        add_block<Format, N>(bytes, Format::load_packed_scale(scale), g.tiles + tile_bytes(N, b), y,
                             [&](int column, int end) __attribute__((always_inline)) {
                               for (int j = kStored * column / N; j < kStored * end / N; j++)
                                 prefetch_to_l1(block + ahead + 64 * j);
                               if (column == 0 && begins_scales<Format>(b)) prefetch_to_l1(scale + 64);
                             });
      }
#pragma GCC unroll 16
      for (int c = 0; c < N; c++) _mm512_store_ps(sums[i][c], y[c]);
    }
  for (int i = 0; i < kInTurn; i++)
    for (int c = 0; c < N; c++)
      _mm512_storeu_ps(g.y + static_cast<size_t>(c) * g.ldy + kGroupRows * i, _mm512_load_ps(sums[i][c]));
}

/// The kernels for 1..16 columns. nullptr means that groups one by one are as fast.
using ManyGroups = std::array<void (*)(const QuantGroup&), kTileRows>;
template <class Format, int N> constexpr ManyGroups::value_type many_groups_for() {
  if constexpr (N <= kMaxColumnsAbreast) return groups_abreast<Format, N>;
  else if constexpr (Format::kStored == 8) return groups_in_turn<Format, N>;
  else return nullptr;
}
template <class Format, int... I> constexpr ManyGroups many_groups(std::integer_sequence<int, I...>) {
  return {many_groups_for<Format, I + 1>()...};
}

template <class Format> void group_packed(const QuantGroup& g) {
  static constexpr ManyGroups kManyGroups = many_groups<Format>(std::make_integer_sequence<int, kTileRows>{});
  if (g.columns >= kMinColumns<Format>) return each_packed_group(g, one_group_packed<Format>);
  const auto one_by_one = packed_layout(*avx512_kernels(), Format::kType).group;
  QuantGroup rest = g;
  if (const auto kernel = g.columns <= kTileRows ? kManyGroups[static_cast<size_t>(g.columns - 1)] : nullptr) {
    const int groups = groups_for<Format>(g.columns), rows = groups * kGroupRows;
    for (; rest.rows >= rows; rest.rows -= rows) {
      kernel(rest);
      rest.weights += static_cast<size_t>(groups) * g.row_bytes;
      rest.y += rows;
    }
  }
  one_by_one(rest);
}

template <class Format> void set_groups(Kernels& set) {
  set.quant_groups.of[static_cast<size_t>(Format::kType)] = group_quantised<Format>;
  set.packed_layouts.of[static_cast<size_t>(Format::kType)].group = group_packed<Format>;
}

}  // namespace

const Kernels* amx_kernels() {
  static const Kernels kernels = [] {
    Kernels set = *avx512_kernels();
    set.name = "amx";
    set_groups<MXFP4>(set);
    set_groups<Q8_0>(set);
    return set;
  }();
  return &kernels;
}

}  // namespace hearth::cpu

#else

namespace hearth::cpu {
const Kernels* amx_kernels() { return nullptr; }
}  // namespace hearth::cpu

#endif
