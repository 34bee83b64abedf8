// AVX-512 kernels (F, BW, DQ, VL, VBMI, VNNI).
//
// Quantised groups: 16 weight rows lie in the 16 lanes of a register, 4 consecutive bytes of a row in each lane. One
// vpdpbusd with 4 broadcast activation bytes therefore advances 16 rows. The weights are the unsigned operand, so an
// offset makes them unsigned: 12 for MXFP4, added by the table, and 128 for Q8_0. The accumulators start at −offset × Σ
// activations, which takes the offset back.
#include "vector_kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    defined(__AVX512VBMI__) && defined(__AVX512VNNI__)

#include <array>
#include <utility>

#include "avx512_formats.h"
#include "avx512_products.h"

/// How many rows ahead groups are prefetched into L2, linearly. Measured on Zen 4: 16 to 24 rows are best. Prefetching
/// from memory to L1, or not at all, costs half of the bandwidth.
constexpr size_t kPrefetchRows = 24;
/// The most columns with which weights are also prefetched from L2 to L1.
constexpr int kMaxColumnsToPrefetchL1 = 8;

namespace hearth::cpu {
namespace {

struct Avx512 {
  using F = __m512;
  static constexpr int kDotRows = 4, kDotColumns = 4, kScoreHeads = 8, kValueHeads = 4, kValueVectors = 4;

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float a) { return _mm512_set1_ps(a); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static F load_f16(const void* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }
  static F load_bf16(const void* p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
  }
  static F load_int8(const void* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))));
  }
  static void store_f16(void* p, F v) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F scale_exponent(F v, F n) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), _mm512_slli_epi32(_mm512_castps_si512(n), 23)));
  }
  static F zero_below(F v, F x, float bound) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, set1(bound), _CMP_NLT_UQ), v);
  }
  static F keep_lanes(F v, int first, int last, float other) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 kept = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(first)) &
                           _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(last));
    return _mm512_mask_mov_ps(set1(other), kept, v);
  }
  static float sum(F v) {
    const __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
  }
  static float maximum(F v) {
    const __m256 a = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
  }
  static void store_int8(int8_t* q, F v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
  }
};

// ---- 16 rows × 1 column, rows as they lie in the file ---------------------------------------------------------------

/// Adds the 4 dwords of each row, which lie as load_rows leaves them. Lane r of the result belongs to row r.
HEARTH_INLINE __m512i sum_rows(const __m512i rows[4]) {
  const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[0], rows[1]));
  const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(rows[2], rows[3]), _mm512_unpackhi_epi32(rows[2], rows[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/// Multiplies one block of 16 rows, as load_rows leaves them, with one column. It shuffles the sums instead of the
/// weights.
template <class Format>
HEARTH_INLINE void add_block_rowwise(const __m512i (&bytes)[8], __m512i scale, const uint8_t* tile, __m512& y) {
  const __m512i low = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(tile)));
  const __m512i high = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + 16)));
  int16_t sums[2];
  memcpy(sums, tile + kBlock + 4, 4);
  __m512i acc[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
    acc[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), bytes[i], low), bytes[i + 4], high);
  const __m512i dot = _mm512_add_epi32(sum_rows(acc), _mm512_set1_epi32(-Format::kOffset * (sums[0] + sums[1])));
  y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), Format::combine(scale, reinterpret_cast<const float*>(tile + kBlock)),
                      y);
}

/// Where the scratch keeps block b's weights. stored_scales gives the place of its scales.
template <class Format> HEARTH_INLINE uint8_t* stored_weights(uint8_t* scratch, int b) {
  return scratch + static_cast<size_t>(b) * (Format::kStored + 1) * 64;
}
template <class Format> HEARTH_INLINE uint8_t* stored_scales(uint8_t* scratch, int b) {
  return stored_weights<Format>(scratch, b) + Format::kStored * 64;
}

/// Multiplies 16 whole rows in the file's layout with the first N columns. With Save it also leaves them unpacked in
/// the scratch.
template <class Format, int N, bool Save> __attribute__((noinline)) void group_native(const QuantGroup& g) {
  const uint8_t* w = g.weights;
  const uint8_t* next = w + kPrefetchRows * g.row_bytes;
  const uint8_t* tile = g.tiles;
  const size_t row_bytes = g.row_bytes;
  uint8_t* scratch = g.scratch;
  __m512 y[N];
  clear(y);
  const auto block = [&](const typename Format::Scales& scales, int i) __attribute__((always_inline)) {
    __m512i stored[Format::kStored], bytes[8];
    const __m512i scale = Format::scale(scales, w, row_bytes, i);
    if constexpr (N == 1 && !Save) {
      Format::load_rowwise(w, row_bytes, stored);
      Format::expand(stored, bytes);
      add_block_rowwise<Format>(bytes, scale, tile, y[0]);
    } else {
      Format::load_lanewise(w, row_bytes, stored);
      if constexpr (Save) {
#pragma GCC unroll 8
        for (int j = 0; j < Format::kStored; j++) _mm512_store_si512(scratch + 64 * j, stored[j]);
        _mm512_store_si512(scratch + 64 * Format::kStored, scale);
        scratch += 64 * (Format::kStored + 1);
      }
      Format::expand(stored, bytes);
      add_block<Format, N>(bytes, scale, tile, y);
    }
    w += Format::kBlockBytes;
    tile += kPackedBlockBytes * N;
  };
  // Each block is preceded by its share of the prefetches. In one burst they would fill the few line buffers of Intel's
  // L1, for which the loads would wait, and memory would be idle afterwards (a third of the bandwidth, measured on
  // Granite Rapids).
  constexpr size_t kLines = kBatch * Format::kBlockBytes * kGroupRows / 64;
  const auto prefetch = [&](size_t i) __attribute__((always_inline)) {
#pragma GCC unroll 1
    for (size_t line = kLines * i / kBatch; line < kLines * (i + 1) / kBatch; line++) prefetch_paired(next + 64 * line);
  };
  int b = 0;
  for (; b + kBatch <= g.blocks; b += kBatch, next += 64 * kLines) {
    if constexpr (N <= kMaxColumnsToPrefetchL1)
      for (int r = 0; r < kGroupRows; r++) Format::prefetch_row(w + r * row_bytes);
    const typename Format::Scales scales = Format::load_scales(w, row_bytes);
    prefetch(0);
    block(scales, 0);
    prefetch(1);
    block(scales, 1);
    prefetch(2);
    block(scales, 2);
    prefetch(3);
    block(scales, 3);
  }
  if (const int rest = g.blocks - b; rest > 0) {
    const typename Format::Scales scales = Format::load_last_scales(w, row_bytes, rest);
    block(scales, 0);
    if (rest > 1) block(scales, 1);
    if (rest > 2) block(scales, 2);
  }
  store_columns(y, 0xFFFF, g.y, g.ldy);
}

/// Multiplies 16 unpacked rows from the scratch with a tile of N columns.
template <class Format, int N>
__attribute__((noinline)) void group_stored(const uint8_t* stored_rows, int blocks, const uint8_t* tile, __mmask16 rows,
                                            float* to, size_t ldy) {
  __m512 y[N];
  clear(y);
  for (int b = 0; b < blocks; b++, stored_rows += 64 * (Format::kStored + 1), tile += kPackedBlockBytes * N) {
    __m512i stored[Format::kStored], bytes[8];
    load_stored<Format>(stored_rows, stored);
    Format::expand(stored, bytes);
    add_block<Format, N>(bytes, _mm512_load_si512(stored_rows + 64 * Format::kStored), tile, y);
  }
  store_columns(y, rows, to, ldy);
}

/// The kernels for 1..16 columns.
template <class Format> struct Instances {
  using Native = void (*)(const QuantGroup&);
  using Stored = void (*)(const uint8_t*, int, const uint8_t*, __mmask16, float*, size_t);
  Native native[kTileRows];
  Stored stored[kTileRows];

  template <int... I> static constexpr Instances make(std::integer_sequence<int, I...>) {
    return {{group_native<Format, I + 1, false>...}, {group_stored<Format, I + 1>...}};
  }
};
template <class Format>
constexpr Instances<Format> kInstances = Instances<Format>::make(std::make_integer_sequence<int, kTileRows>{});

/// Unpacks a group that the vector code cannot read whole: fewer than 16 rows, or rows shorter than 4 blocks.
template <class Format> void unpack_ragged(const QuantGroup& g) {
  for (int b = 0; b < g.blocks; b++) {
    uint8_t *weights = stored_weights<Format>(g.scratch, b), *scales = stored_scales<Format>(g.scratch, b);
    memset(weights, 0, 64 * (Format::kStored + 1));
    for (int r = 0; r < g.rows; r++)
      Format::store_row(g.weights + r * g.row_bytes + b * Format::kBlockBytes, weights, scales, r);
  }
}

template <class Format> void group_quantised(const QuantGroup& g) {
  int done = 0;
  if (g.rows < kGroupRows || g.blocks < kBatch) {
    unpack_ragged<Format>(g);
  } else if (g.columns <= kTileRows) {
    kInstances<Format>.native[g.columns - 1](g);
    return;
  } else {
    group_native<Format, kTileRows, true>(g);
    done = kTileRows;
  }
  const __mmask16 rows = static_cast<__mmask16>((1u << g.rows) - 1);
  for (int c = done; c < g.columns; c += kTileRows) {
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    kInstances<Format>.stored[columns - 1](g.scratch, g.blocks, tile, rows, g.y + c * g.ldy, g.ldy);
  }
}

// ---- the packed layout ----------------------------------------------------------------------------------------------

/// How many rows ahead packed groups are prefetched into L2.
constexpr size_t kPackedPrefetchRows = 24;

template <class Format>
void pack_group(const uint8_t* weights, size_t row_bytes, int rows, int blocks, uint8_t* packed) {
  uint8_t* scales = packed + packed_scales_at<Format>(blocks);
  memset(packed, 0, packed_group_bytes(Format::kType, blocks));
  for (int b = 0; b < blocks;
       b++, weights += Format::kBlockBytes, packed += 64 * Format::kStored, scales += Format::kPackedScaleBytes) {
    if (rows == kGroupRows) {
      __m512i stored[Format::kStored];
      Format::load_lanewise(weights, row_bytes, stored);
      for (int j = 0; j < Format::kStored; j++) _mm512_storeu_si512(packed + 64 * j, stored[j]);
    }
    for (int r = 0; r < rows; r++) {
      const uint8_t* p = weights + static_cast<size_t>(r) * row_bytes;
      uint8_t unused[4 * kGroupRows];
      if (rows < kGroupRows) Format::store_row(p, packed, unused, r);
      Format::pack_scale(p, scales, r);
    }
  }
}

/// How many bytes ahead a group is prefetched from L2 to L1, and the fewest columns for which this pays.
constexpr size_t kPackedBytesToL1 = 512;
constexpr int kMinColumnsToL1 = 5;

/// Multiplies a packed group with one tile of N columns. With Prefetch, which is for the first tile of a group, it also
/// prefetches the groups that follow to L2. The prefetches are spread over the columns, because bursts fill the line
/// buffers that loads wait for (3 to 5 % with 5 to 16 columns on Granite Rapids).
template <class Format, int N, bool Prefetch>
__attribute__((noinline)) void group_packed_tile(const uint8_t* packed, int blocks, const uint8_t* tile, __mmask16 rows,
                                                 float* to, size_t ldy) {
  constexpr int kStored = Format::kStored;
  constexpr size_t kScaleBytes = Format::kPackedScaleBytes;
  const size_t ahead = static_cast<size_t>(blocks) * Format::kBlockBytes * kPackedPrefetchRows;
  const uint8_t* scales = packed + packed_scales_at<Format>(blocks);
  __m512 y[N];
  clear(y);
  for (int b = 0; b < blocks; b++, packed += 64 * kStored, scales += kScaleBytes, tile += kPackedBlockBytes * N) {
    __m512i stored[kStored], bytes[8];
    load_stored<Format>(packed, stored);
    Format::expand(stored, bytes);
    add_block<Format, N>(
        bytes, Format::load_packed_scale(scales), tile, y, [&](int column, int end) __attribute__((always_inline)) {
          if constexpr (Prefetch) {
            for (int j = kStored * column / N; j < kStored * end / N; j++) {
              prefetch_paired(packed + ahead + 64 * j);
              if constexpr (N >= kMinColumnsToL1)
                _mm_prefetch(reinterpret_cast<const char*>(packed + kPackedBytesToL1 + 64 * j), _MM_HINT_T0);
            }
            if (column == 0 && begins_scales<Format>(b)) prefetch_paired(scales + ahead);
          }
        });
  }
  store_columns(y, rows, to, ldy);
}

template <class Format, bool Prefetch, int... I>
constexpr std::array<typename Instances<Format>::Stored, kTileRows> packed_tiles(std::integer_sequence<int, I...>) {
  return {group_packed_tile<Format, I + 1, Prefetch>...};
}

template <class Format> void one_group_packed(const QuantGroup& g) {
  static constexpr auto kFirst = packed_tiles<Format, true>(std::make_integer_sequence<int, kTileRows>{});
  static constexpr auto kOther = packed_tiles<Format, false>(std::make_integer_sequence<int, kTileRows>{});
  const __mmask16 rows = static_cast<__mmask16>((1u << g.rows) - 1);
  for (int c = 0; c < g.columns; c += kTileRows) {
    const int columns = g.columns - c < kTileRows ? g.columns - c : kTileRows;
    const uint8_t* tile = g.tiles + static_cast<size_t>(c / kTileRows) * tile_bytes(kTileRows, g.blocks);
    (c == 0 ? kFirst : kOther)[static_cast<size_t>(columns - 1)](g.weights, g.blocks, tile, rows, g.y + c * g.ldy,
                                                                 g.ldy);
  }
}

template <class Format> void group_packed(const QuantGroup& g) { each_packed_group(g, one_group_packed<Format>); }

template <class Format> void set_groups(Kernels& set) {
  set.quant_groups.of[static_cast<size_t>(Format::kType)] = group_quantised<Format>;
  set.packed_layouts.of[static_cast<size_t>(Format::kType)] = {pack_group<Format>, group_packed<Format>};
}

}  // namespace

const Kernels* avx512_kernels() {
  // The kernels of the other types are AVX2's, so the tiles have the form that those read. Every CPU with AVX-512 has
  // AVX2, and the bits are the same.
  static const Kernels kernels = [] {
    const Kernels& avx2 = *avx2_kernels();
    Kernels set = make_kernels<Avx512>("avx512", avx2.quant_groups);
    set_groups<MXFP4>(set);
    set_groups<Q8_0>(set);
    set.pack_tile = avx2.pack_tile;
    return set;
  }();
  return &kernels;
}

}  // namespace hearth::cpu

#else

namespace hearth::cpu {
const Kernels* avx512_kernels() { return nullptr; }
}  // namespace hearth::cpu

#endif
