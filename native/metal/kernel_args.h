// The contract between the Metal kernels (native/metal/*.metal) and the host: argument structs, and for each kernel what it
// computes, its buffers, grid, threads, function constants, threadgroup memory and bytes read. Read by both compilers.
//
// ---- Sources
// Each .metal file is a library of its own. It includes "kernel_args.h" and "common.h" of this folder; newLibraryWithSource has no
// include path, so the embedder puts the included text in place of each such line and changes nothing else. Language version 3.0 or
// newer. Compile with fast math off (fastMathEnabled = NO / mathMode = safe): the bits below depend on it.
//
// ---- Notation
// R rows (tokens) of the step; E embedding, H query heads, K key/value heads, D head length, G = H/K, F feed-forward, X experts,
// U experts used, V vocabulary; S simdgroups a threadgroup. A float matrix of activations of width n has rows of stride(n) floats
// (activation_stride below); its padding may hold anything and is never used.
// Weights are in GGUF layout at any byte offset that is a multiple of 2 (4 for F32, Q4_K and Q5_K); a stack of experts is one tensor.
// Vectors (biases, norms, sinks) are F32.
//
// ---- Every kernel
// buffer(0)   its argument struct.
// buffer(30)  stop word, uint: where it is not 0 the kernel returns at once. Only latch_stop sets it while commands run: a word that
//             changed within a threadgroup would part its threads at a barrier.
// Rows or outputs past the end are never read or written: grids are rounded up freely.
// Threads: a threadgroup is 32·S × 1 × 1 threads; "S any" means results do not depend on it: choose S from
// maxTotalThreadsPerThreadgroup (4 is good). "256 threads" is exact.
// No threadgroup memory is passed by the host: threadgroup variables are static, the sizes are stated.
//
// ---- Determinism
// Every product W·x uses one order (common.h): 32 chains of FMAs, one a lane, over fixed k, then the tree of lane xor 16, 8, 4, 2, 1.
// It does not depend on the kernel, the number of rows, S or the tile. So a row's bits are the same alone, in a batch, among drafts
// and in prefill. The kernels on simdgroup matrices (…_mm) have the hardware's order: equal to about 1e-5 relative, not in bits; they
// are a switch, not the default.
//
// ---- Function constants (uint unless stated; set only what a kernel names; "optional": absent means taken from the arguments)
//  0 columns   optional: n of the products, for loops of fixed length (2880 = 90 blocks of 32)
//  1 type, 2 type_b, 3 type_c: ids of the weights' types, as core/tensor_type_table.h has them
//  4 has_bias (bool), 5 residual (bool), 6 direct (bool), 7 gather (bool)
//  8 head_length, 9 group (= G): optional
// 10 interleaved (bool): RoPE turns the pairs 2i, 2i + 1 of a head, not i, i + D/2
// 11 raw (bool): q, k and v go to `heads` as they are
// 12 has_norm (bool): RMSNorm of the query and key heads
// 13 q8_cache (bool): the KV cache is Q8_0, not F16
//
// ---- Launch sequence of a layer. → needs a barrier before it; nothing within a layer can overlap.
//  one row (8 launches):           norm → qkv_c1 → attention → attention_merge → linear_c1 (out) → router → gate_up_c1 (direct) → down_sum
//  2 rows and more (10 launches):  norm → qkv_cN → attention → attention_merge → linear_cN (out) → router → expert_lists → gate_up_cN → down_cN
//                                  → expert_sum
//  long runs of rows (9 launches): the same with attention_rows_… instead of attention → attention_merge. Same bits.
//  a dense feed-forward:           norm → ffn_cN → linear_cN (down) in place of router … expert_sum: 8 launches, 7 for long runs of rows
//  norms of heads (Qwen3), and a Q8_0 cache: qkv_cN (raw) → heads in place of qkv_cN: one launch more
//  Before the layers: embed. After: norm (gather) → linear_cN (head) → sample.
// N is 1, 2, 4 or 8: columns (rows of the step) that a simdgroup computes together. Choose the smallest N ≥ R, at most 8. More rows are
// several tiles of N columns. The kernels order them so that up to kSharedTiles tiles (64 rows) use the same weights side by side:
// memory gives each weight once for 64 rows, whatever the grid's shape.
// Matrix units (switch, R ≥ 32): qkv_mm, linear_mm, ffn_mm, gate_up_mm, down_mm, attention_mm_… in place of …_cN and attention_rows_…, with the
// same buffers and constants.
#pragma once

namespace hearth {
namespace gpu {

typedef unsigned int u32;  ///< 32 bits for both compilers

enum : u32 {
  kStopBuffer = 30,
  kSimdWidth = 32,
  kPositionsPerBlock = 32,   ///< positions of a KV cache block (kCacheBlock of core/kv_blocks.h)
  kAttentionChunk = 128,     ///< keys are split at multiples of this many positions
  kAttentionRowTile = 8,     ///< query rows of a threadgroup of attention_rows
  kMatrixOutputs = 64,       ///< outputs and
  kMatrixColumns = 32,       ///< columns of a threadgroup of the …_mm kernels
  kOutputsPerSimdgroup = 4,  ///< outputs of a simdgroup of linear, down and (as 2 pairs) qkv and gate_up
  kSharedTiles = 8,          ///< column tiles that go over the weights together
  kExpertTile = 64,          ///< columns of an expert that share its weights: ExpertListsArgs::tile
  kMaxExperts = 1024,
  kMaxExpertsUsed = 64,
  kMaxHeadLength = 256,
  kCeilingChains = 4,  ///< of four values each, independent of one another
};

/// Floats from one row of activations of this width to the next.
static inline u32 activation_stride(u32 width) { return (width + 31u) / 32u * 32u; }

/// Threadgroups of linear and qkv: `units` of kOutputsPerSimdgroup outputs, times the tiles of N columns, by S simdgroups.
static inline u32 product_groups(u32 units, u32 rows, u32 columns, u32 simdgroups) {
  return (units * ((rows + columns - 1u) / columns) + simdgroups - 1u) / simdgroups;
}

/// One row of the step.
struct RowInfo {
  u32 position;  ///< in its sequence
  u32 table;     ///< where its sequence's block numbers begin in the block tables (uint[])
};

/// A KV cache (core/kv_blocks.h), bound at the first byte of the layer: block b's keys of head k begin at b * block_bytes + k * head_bytes, as
/// half [D][32]; its values block_bytes / 2 later, as half [32][D]. Q8_0: int8 in the same order, then the half scales of 32 dimensions
/// each, [ceil(D / 32)][32] of keys and [32][ceil(D / 32)] of values.
struct CacheInfo {
  u32 block_bytes;  ///< a layer's bytes of one block: 2·K·head_bytes
  u32 head_bytes;   ///< 32·D·2; Q8_0: 32·(D + 2·ceil(D / 32))
};

// ---------------------------------------------------------------------------------------------------------------- embedding.metal
/// embed: x[r] = row tokens[r] of the embedding. constants: type, columns.
/// buffers: 1 table [V][E] of `type`, 2 uint tokens[R], 3 float x[R][stride(E)]. grid: R × 1; 256 threads or fewer.
/// Reads R rows of the table.
struct EmbedArgs {
  u32 columns;  ///< E
};

// --------------------------------------------------------------------------------------------------------------------- norm.metal
/// latch_stop: the first launch of each command buffer. Sets *stop, which stays set, where *request, which the host may raise at any
/// time, is `number` or more; and where each of `rows` rows has met one of its stop ids by now, which it looks for at the beginning of
/// a round but the first. buffers: 1 uint request, 2 uint tokens[rows], what the round before has chosen, 3 uint stop_ids[]: those of row r
/// are at stop_ids[r] … stop_ids[r + 1] − 1 of this array, 4 uint ended[rows] (read and written), 30 (written). grid: 1 × 1; 32 threads.
struct LatchArgs {
  u32 number;  ///< of the run, at the beginning of a round; else ~0
  u32 rows;    ///< 0 within a round: buffers 2, 3 and 4 are not used
};
///
/// norm: y[i] = x[r]·w / sqrt(mean(x[r]²) + epsilon) with r = i, or rows[i] where `gather` is true. constants: gather, columns.
/// buffers: 1 float x[][stride(E)], 2 float w[E], 3 float y[R][stride(E)], 4 uint rows[R] (gather only).
/// grid: R × 1; 256 threads. Threadgroup memory 32 B. Reads (R + 1)·E·4 bytes.
struct NormArgs {
  u32 columns;
  float epsilon;
};

// ---------------------------------------------------------------------------------------------------------------------- qkv.metal
/// qkv_c1, _c2, _c4, _c8: q, k, v = W·h (+ b); RoPE on q and k; q to memory, k and v (clamped to ±65504) into the cache.
/// constants: type (q), type_b (k), type_c (v), columns, has_bias, interleaved, raw.
/// buffers: 1, 2, 3 Wq [H·D][E], Wk, Wv [K·D][E]; 4, 5, 6 their biases (has_bias only); 7 float h[R][stride(E)]; 8 float2 rope[R][D/2]
/// (cos, sin, both scaled by YaRN's concentration); 9 RowInfo rows[R]; 10 uint block_tables[]; 11 float q[R][stride(H·D)]; 12 the cache at
/// this layer. `raw`: without RoPE, k and v go to 12 as float kv[R][stride(2·K·D)], and 8, 9, 10 are not used.
/// grid: product_groups((H + 2K)·(D/4), R, N, S) threadgroups in any shape (x × y may be more); S any. Threadgroup memory 0. Reads the
/// three matrices once for 64 rows, h once a simdgroup.
/// qkv_mm: grid ceil((H + 2K)·D / 64) × ceil(R / 32), 128 threads, 12 KiB of threadgroup memory.
struct QkvArgs {
  u32 columns;  ///< E
  u32 rows;     ///< R
  u32 heads, heads_kv, head_length;
  CacheInfo cache;
};

// --------------------------------------------------------------------------------------------------------------------- heads.metal
/// heads: what qkv (raw) leaves to do: q and k of a head become norm(q)·w, as in norm, where has_norm is true; RoPE on both; q to memory
/// again, k and v (clamped to ±65504) into the cache. A simdgroup works on one head of one row; lane l chains x² over the elements
/// l, l + 32, …. Q8_0 as the CPU makes it: of 32 dimensions scale = clamp(max |x| / 127), int8 = rint(x · (1 / scale)) within ±127.
/// constants: head_length, interleaved, has_norm, q8_cache.
/// buffers: 1 float q[R][stride(H·D)] (read and written), 2 float kv[R][stride(2·K·D)], 3, 4 float wq[D], wk[D] (has_norm only),
/// 5 float2 rope[R][D/2], 6 RowInfo rows[R], 7 uint block_tables[], 8 the cache at this layer.
/// grid: ceil((H + 2K) / S) × R; S 1..4. Threadgroup memory 4 KiB.
struct HeadsArgs {
  u32 heads, heads_kv, head_length;
  float epsilon;
  CacheInfo cache;
};

// ---------------------------------------------------------------------------------------------------------------- attention.metal
/// The keys a row at position p sees are p − window + 1 .. p (window 0: 0 .. p). Chunk c holds positions c·128 … c·128 + 127; a row's
/// slot 0 is the chunk of its first visible key, and a row has slots(p, window) of them.
/// Order of the arithmetic, the same in all three kernels: in a chunk, blocks of 32 keys ascending with a running maximum (scores
/// chain over d, values chain over keys); then the chunks ascending from the sink's state (maximum = sink, sum = 1, output 0). A model
/// without sinks gives the least float, whose share is 0.
///
/// attention: one chunk of one row for the query heads that share a KV head (8 at most at once), K and V read once for all of them.
/// constants: head_length, group, q8_cache. buffers: 1 float q[R][stride(H·D)], 2 the cache at this layer, 3 RowInfo rows[R], 4 uint block_tables[],
/// 5 float part_out[R][slots][H][D] (not divided by the sum), 6 float2 part_state[R][slots][H] (maximum, sum).
/// part_out and part_state are indexed from first_row: the host may cut R into slices to bound them.
/// grid: ceil(slots / S) × K·ceil(G/8) × rows; S 1..4. Threadgroup memory 12 KiB. Reads each visible K and V once a KV head and 8 heads.
///
/// attention_merge: a[r][h] = the merged and normalised output. constants: head_length.
/// buffers: 1 part_out, 2 part_state, 3 RowInfo rows[R], 4 float sinks[H], 5 float a[R][stride(H·D)]. grid: ceil(H / S) × rows; S any.
///
/// attention_rows_d64, attention_rows_d128: the same result for tiles of up to 8 adjacent rows of one sequence, which share each K and V
/// they read; for prefill. d64 for D ≤ 64, d128 for D ≤ 128 (a D beyond that: use attention).
/// constants: head_length, group, q8_cache. buffers: 1 q, 2 cache, 3 rows, 4 block_tables, 5 float sinks[H], 6 float a[R][stride(H·D)],
/// 7 RowTile tiles[]. grid: tiles × K·ceil(G/8); 256 threads (one simdgroup a row). Threadgroup memory 16 or 24 KiB.
///
/// attention_mm_d64, attention_mm_d128: attention_rows on simdgroup matrices, for G a multiple of 8 and an F16 cache; the same in all but
/// the bits.
struct AttentionArgs {
  u32 rows;       ///< attention, attention_merge: rows of this launch
  u32 first_row;  ///< the first of them
  u32 slots;      ///< the most chunks any row of the launch sees
  u32 heads, heads_kv, head_length;
  u32 window;   ///< 0: none
  float scale;  ///< 1/sqrt(D)
  CacheInfo cache;
};
struct RowTile {
  u32 first_row;
  u32 rows;  ///< 1..kAttentionRowTile, of one sequence, positions ascending by 1
};
/// First chunk that a row sees.
static inline u32 first_chunk(u32 position, u32 window) {
  return window != 0u && position >= window ? (position - window + 1u) / kAttentionChunk : 0u;
}
/// Chunks that a row sees.
static inline u32 chunk_slots(u32 position, u32 window) {
  return position / kAttentionChunk - first_chunk(position, window) + 1u;
}

// ------------------------------------------------------------------------------------------------------------------- linear.metal
/// linear_c1, _c2, _c4, _c8: y[r][o] (+)= W[o]·x[r] (+ bias[o]); adds to y where `residual` is true. Attention output and output head.
/// constants: type, columns, has_bias, residual.
/// buffers: 1 W [outputs][columns], 2 float bias[outputs] (has_bias only), 3 float x[R][stride(columns)], 4 float y[R][stride(outputs)].
/// grid: product_groups(ceil(outputs / 4), R, N, S) threadgroups in any shape (x × y may be more); S any. Threadgroup memory 0. Reads W once
/// for 64 rows, x once a simdgroup.
/// linear_mm: grid ceil(outputs / 64) × ceil(R / 32), 128 threads, 12 KiB of threadgroup memory.
struct LinearArgs {
  u32 columns;
  u32 rows;  ///< R
  u32 outputs;
};

// ------------------------------------------------------------------------------------------------------------- feed_forward.metal
/// ffn_c1, _c2, _c4, _c8: act[r] = silu(Wg·h + bg) · (Wu·h + bu), silu(g) = g / (1 + exp(−g)); the dense feed-forward up to its down
/// product, which is linear's. constants: type (gate), type_b (up), columns, has_bias.
/// buffers: 1, 2 Wg, Wu [F][E]; 3, 4 float bg, bu [F] (has_bias only); 5 float h[R][stride(E)]; 6 float act[R][stride(F)].
/// grid: product_groups(ceil(F / 2), R, N, S) threadgroups in any shape; S any. Threadgroup memory 0. Reads the weights once for 64 rows.
/// ffn_mm: grid ceil(F / 32) × ceil(R / 32), 128 threads, 12 KiB of threadgroup memory. The arguments are LinearArgs, F the outputs.

// ------------------------------------------------------------------------------------------------------------------- router.metal
struct Choice {
  u32 expert;
  float weight;
};
/// router: h = norm(x)·w as in norm; scores = Wr·h + b; the U best (the lower number among equals), best first; softmax over them.
/// constants: type, columns. buffers: 1 float x[R][stride(E)], 2 float w[E], 3 Wr [X][E], 4 float b[X], 5 float h[R][stride(E)] (written),
/// 6 Choice choices[R][U] (written). grid: R × 1; 256 threads. Threadgroup memory 4.3 KiB. Reads Wr once a row.
struct RouterArgs {
  u32 columns;  ///< E
  u32 experts;  ///< X ≤ kMaxExperts
  u32 used;     ///< U ≤ kMaxExpertsUsed
  float epsilon;
};

/// expert_lists: lines the choices up by expert. buffers: 1 Choice choices[R·U], 2 uint lists[X][R] (written: expert e's choices, numbers
/// r·U + u ascending), 3 ExpertTile tiles[] (written: by expert, then by position in its list), 4 uint tile_count (written).
/// grid: 1 × 1; S any (8 to 32). Threadgroup memory 4 KiB.
struct ExpertListsArgs {
  u32 rows;
  u32 experts;
  u32 used;
  u32 tile;  ///< columns a tile holds at most: kExpertTile, or 32 for …_mm; any number is correct
};
struct ExpertTile {
  u32 expert;
  u32 first;  ///< in the expert's list
  u32 count;
};
/// Tiles that R rows can need at most: the y extent of gate_up and down, and the capacity of `tiles`.
static inline u32 max_expert_tiles(u32 rows, u32 experts, u32 used, u32 tile) {
  const u32 choices = rows * used, bound = choices / tile + (experts < choices ? experts : choices);
  return bound < choices ? bound : choices;
}

// ------------------------------------------------------------------------------------------------------------------ experts.metal
/// gate_up_c1, _c2, _c4, _c8: act[choice] = SwiGLU(Wg·h + bg, Wu·h + bu) of the choice's expert and row: g = min(g, limit),
/// u = clamp(u, ±limit), y = g / (1 + exp(−alpha·g)) · (u + offset). gpt-oss has alpha 1.702, limit 7, offset 1; others 1, none (the largest
/// float) and 0. A tile's weights are read once for all its rows, N at a time.
/// constants: type (gate), type_b (up), columns, direct. `direct` (c1 only): tile y is choice y, buffers 7, 8 and 9 are not used.
/// buffers: 1, 2 Wg, Wu [X·F][E]; 3, 4 float bg, bu [X][F]; 5 float h[R][stride(E)]; 6 Choice choices[R·U]; 7 lists; 8 tiles;
/// 9 tile_count; 10 float act[R·U][stride(F)].
/// grid: ceil(F / (2·S)) × (direct: R·U, else max_expert_tiles); S any. Threadgroup memory 0.
/// gate_up_mm: grid ceil(F / 32) × max_expert_tiles(…, 32), 128 threads, 12 KiB; no buffer 6.
///
/// down_c1, _c2, _c4, _c8: out[choice] = Wd·act[choice] + bd. constants: type, columns.
/// buffers: 1 Wd [X·E][F]; 2 float bd[X][E]; 3 float act[R·U][stride(F)]; 4 lists; 5 tiles; 6 tile_count; 7 float out[R·U][stride(E)].
/// grid: ceil(E / (4·S)) × max_expert_tiles; S any. down_mm: ceil(E / 64) × max_expert_tiles(…, 32), 128 threads, 12 KiB.
///
/// down_sum: x[r] = fma(weight_u, Wd_u·act + bd_u, x[r]) for u ascending, in one launch; for one row (or few). constants: type, columns.
/// buffers: 1 Wd, 2 bd, 3 act, 4 Choice choices[R·U], 5 float x[R][stride(E)]. grid: ceil(E / (4·S)) × R; S any.
///
/// expert_sum: the same sum from `out`; same bits. buffers: 1 float out[R·U][stride(E)], 2 Choice choices[R·U], 3 float x[R][stride(E)].
/// grid: ceil(E / (32·S)) × R; S any.
struct ExpertArgs {
  u32 columns;  ///< E for gate_up, F for down
  u32 outputs;  ///< F for gate_up, E for down and expert_sum
  u32 rows;     ///< R
  u32 used;     ///< U
  float alpha, limit, offset;
};

// ------------------------------------------------------------------------------------------------------------------- sample.metal
/// sample: chooses a token from a row of logits as core/sampler.cpp does: top-k, top-p, min-p, then temperature; the random number is
/// the same hash of seed and position. Sums are in fixed point (2^-40), so the order of addition and S do not matter; a choice differs
/// from the CPU's only where a float exp does, about once in 10^7.
/// buffers: 1 float logits[][stride(V)], 2 SampleParams params[outputs], 3 SampleResult results[outputs] (written), 4 uint tokens[outputs]
/// (written: the `tokens` of the next round). grid: outputs × 1; S any (32 if the pipeline allows). Threadgroup memory 12.3 KiB.
/// Reads a row of logits 2 times (greedy) or 4 times; 17 times more for a top-k or top-p that hundreds of tokens near the best do not fill.
struct SampleArgs {
  u32 vocabulary;
};
struct SampleParams {
  float temperature;  ///< 0: greedy
  float top_p;        ///< 1 or more: all
  float log_min_p;    ///< log(min(1, min_p)), computed by the host; not used where has_min_p is 0
  u32 has_min_p;
  u32 top_k;     ///< 0: all
  u32 position;  ///< of the token being chosen
  u32 seed_low, seed_high;
};
struct SampleResult {
  u32 token;
  float probability;  ///< under softmax(logits)
};

// ----------------------------------------------------------------------------------------------------------------- ceilings.metal
/// ceiling_read: sums[i] = the sum, modulo 2^32, of all words that simdgroup i read; all together read `count` uint4s once.
/// buffers: 1 uint4 data[count], 2 uint sums[simdgroups]. grid: any × 1; S any.
///
/// ceiling_multiply_add: `count` turns of v = fma(v, factor, addend) on kCeilingChains float4s a thread; sums[i] = their sum over simdgroup
/// i. buffers: 1 float sums[simdgroups]. grid: any × 1; S any.
struct CeilingArgs {
  u32 count;
  float factor, addend;
};

}  // namespace gpu
}  // namespace hearth
