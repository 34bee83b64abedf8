// The contract between the Metal kernels (native/metal/*.metal) and the host. It has the argument structs, and says of
// each kernel what it computes, its buffers, grid, threads, function constants, threadgroup memory and the bytes it
// reads. Both compilers read this file.
//
// ---- Sources
// Each .metal file is a library of its own. It includes "kernel_args.h" and "common.h" of this folder.
// newLibraryWithSource has no include path, so the embedder puts the included text in the place of each such line and
// changes nothing else. The language version is 3.0 or newer. Fast math must be off (fastMathEnabled = NO, or mathMode
// = safe), because the bits below depend on it.
//
// ---- Notation
// R is the number of rows (tokens) of the step, E the embedding, H the query heads, K the key/value heads, D the head
// length, G = H/K, F the feed-forward, X the experts, U the experts that a row uses, V the vocabulary and S the
// simdgroups of a threadgroup.
// A float matrix of activations of width n has rows of stride(n) floats (activation_stride below). Its padding may hold
// anything, and no kernel uses it.
// Weights are in GGUF layout at any byte offset that is a multiple of 2 (of 4 for F32, Q4_K and Q5_K). A stack of
// experts is one tensor.
// Vectors (biases, norms, sinks) are F32.
//
// ---- Every kernel
// buffer(0)   is its argument struct.
// buffer(30)  is the stop word, a uint. Where it is not 0, the kernel returns at once. Only latch_stop sets it while
//             commands run. If the word changed within a launch, some threads of a threadgroup would return while
//             others wait for them at a barrier.
// No kernel reads or writes rows or outputs past the end, so grids may be rounded up.
// Threads: a threadgroup has 32·S × 1 × 1 threads. "S any" means that results do not depend on S. The host takes S from
// maxTotalThreadsPerThreadgroup, where 4 is good. "256 threads" is exact.
// The host passes no threadgroup memory: threadgroup variables are static, and their sizes are stated.
//
// ---- Determinism
// Every product W·x is summed in one order (common.h): 32 chains of FMAs, one for each lane, over fixed k, then the
// tree of lane xor 16, 8, 4, 2, 1. The order does not depend on the kernel, the number of rows, S or the tile. So a row
// has the same bits alone, in a batch, among drafts and in prefill. The kernels on simdgroup matrices (…_mm) add in the
// hardware's order. Their results are equal to about 1e-5 relative, but not in bits, so the user has to ask for them.
//
// ---- Function constants
// They are uint unless stated. The host sets only what a kernel names. Where an "optional" one is absent, the kernel
// takes the value from its arguments.
//  0 columns (optional): n of the products, for loops of fixed length (2880 = 90 blocks of 32)
//  1 type, 2 type_b, 3 type_c: ids of the weights' types, as core/tensor_type_table.h has them
//  4 has_bias (bool), 5 residual (bool), 6 direct (bool), 7 gather (bool)
//  8 head_length, 9 group (= G): both optional
// 10 interleaved (bool): RoPE turns the pairs 2i, 2i + 1 of a head, not i, i + D/2
// 11 raw (bool): q, k and v go to `heads` as they are
// 12 has_norm (bool): the query and key heads have an RMSNorm
// 13 q8_cache (bool): the KV cache is Q8_0, not F16
//
// ---- Launch sequence of a layer. "→" is a barrier. Nothing within a layer can overlap.
//  one row (8 launches):           norm → qkv_c1 → attention → attention_merge → linear_c1 (out) → router
//                                  → gate_up_c1 (direct) → down_sum
//  2 rows and more (10 launches):  norm → qkv_cN → attention → attention_merge → linear_cN (out) → router
//                                  → expert_lists → gate_up_cN → down_cN → expert_sum
//  long runs of rows (9 launches): the same with attention_rows_… in place of attention → attention_merge, with the
//                                  same bits
//  a dense feed-forward:           norm → ffn_cN → linear_cN (down) in place of router … expert_sum: 8 launches, 7 for
//                                  long runs of rows
//  norms of heads, a Q8_0 cache:   qkv_cN (raw) → heads in place of qkv_cN: one launch more (Qwen3 has norms of heads)
// Before the layers: embed. After them: norm (gather) → linear_cN (head) → sample.
// N is 1, 2, 4 or 8: the columns (rows of the step) that a simdgroup computes together. The host takes the smallest N ≥
// R, at most 8. More rows are several tiles of N columns. The kernels order them so that up to kSharedTiles tiles (64
// rows) use the same weights side by side. So each weight comes from memory once for 64 rows, whatever the grid's
// shape.
// Matrix units (when the user asks for them, and R ≥ 32): qkv_mm, linear_mm, ffn_mm, gate_up_mm, down_mm and
// attention_mm_… take the place of …_cN and attention_rows_…, with the same buffers and constants.
#pragma once

namespace hearth {
namespace gpu {

typedef unsigned int u32;  ///< 32 bits for both compilers

enum : u32 {
  kStopBuffer = 30,
  kSimdWidth = 32,
  kPositionsPerBlock = 32,   ///< positions of a block of the KV cache (kCacheBlock of core/kv_blocks.h)
  kAttentionChunk = 128,     ///< keys are split at multiples of this many positions
  kAttentionRowTile = 8,     ///< query rows of a threadgroup of attention_rows
  kMatrixOutputs = 64,       ///< outputs of a threadgroup of the …_mm kernels
  kMatrixColumns = 32,       ///< columns of a threadgroup of the …_mm kernels
  kOutputsPerSimdgroup = 4,  ///< outputs of a simdgroup of linear and down, and (as 2 pairs) of qkv, ffn and gate_up
  kSharedTiles = 8,          ///< column tiles that go over the weights together
  kExpertTile = 64,          ///< columns of an expert that share its weights (ExpertListsArgs::tile)
  kMaxExperts = 1024,
  kMaxExpertsUsed = 64,
  kMaxHeadLength = 256,
  kCeilingChains = 4,  ///< independent chains of a thread, of four values each
};

/// Floats from one row of activations of this width to the next.
static inline u32 activation_stride(u32 width) { return (width + 31u) / 32u * 32u; }

/// How many threadgroups linear, ffn and qkv have: `units` of kOutputsPerSimdgroup outputs, times the tiles of N
/// columns, divided by S simdgroups.
static inline u32 product_groups(u32 units, u32 rows, u32 columns, u32 simdgroups) {
  return (units * ((rows + columns - 1u) / columns) + simdgroups - 1u) / simdgroups;
}

/// One row of the step.
struct RowInfo {
  u32 position;  ///< in its sequence
  u32 table;     ///< where its sequence's block numbers begin in the block tables (uint[])
};

/// A KV cache (core/kv_blocks.h), bound at the first byte of the layer. The keys of block b and head k begin at b *
/// block_bytes + k * head_bytes, as half [D][32]. The values begin block_bytes / 2 later, as half [32][D]. A Q8_0 cache
/// has int8 in the same order, and behind them a half scale for every 32 dimensions: [ceil(D / 32)][32] for keys and
/// [32][ceil(D / 32)] for values.
struct CacheInfo {
  u32 block_bytes;  ///< a layer's bytes of one block: 2·K·head_bytes
  u32 head_bytes;   ///< 32·D·2; Q8_0: 32·(D + 2·ceil(D / 32))
};

// ----------------------------------------------------------------------------------------------------- embedding.metal
/// embed: x[r] = row tokens[r] of the embedding. constants: type, columns.
/// buffers: 1 table [V][E] of `type`, 2 uint tokens[R], 3 float x[R][stride(E)]. grid: R × 1; 256 threads or fewer.
/// Reads R rows of the table.
struct EmbedArgs {
  u32 columns;  ///< E
};

// ---------------------------------------------------------------------------------------------------------- norm.metal
/// latch_stop: the first launch of each command buffer. It sets *stop, which then stays set, in two cases: *request is
/// `number` or more, or each of `rows` rows has met one of its stop ids by now. The host may raise *request at any
/// time. The kernel looks for stop ids at the beginning of each round but the first. buffers: 1 uint request,
/// 2 uint tokens[rows] (what the round before has chosen), 3 uint stop_ids[] (those of row r are at stop_ids[r] …
/// stop_ids[r + 1] − 1 of this array), 4 uint ended[rows] (read and written), 30 (written). grid: 1 × 1; 32 threads.
struct LatchArgs {
  u32 number;  ///< the run's number at the beginning of a round, otherwise ~0
  u32 rows;    ///< 0 within a round, where buffers 2, 3 and 4 are not used
};
///
/// norm: y[i] = x[r]·w / sqrt(mean(x[r]²) + epsilon) with r = i, or rows[i] where `gather` is true. constants: gather,
/// columns.
/// buffers: 1 float x[][stride(E)], 2 float w[E], 3 float y[R][stride(E)], 4 uint rows[R] (gather only).
/// grid: R × 1; 256 threads. Threadgroup memory 32 B. Reads (R + 1)·E·4 bytes.
struct NormArgs {
  u32 columns;
  float epsilon;
};

// ----------------------------------------------------------------------------------------------------------- qkv.metal
/// qkv_c1, _c2, _c4, _c8: computes q, k, v = W·h (+ b), applies RoPE to q and k, and writes q to memory and k and v
/// (clamped to ±65504) into the cache.
/// constants: type (q), type_b (k), type_c (v), columns, has_bias, interleaved, raw.
/// buffers: 1, 2, 3 Wq [H·D][E], Wk, Wv [K·D][E]; 4, 5, 6 their biases (has_bias only); 7 float h[R][stride(E)];
/// 8 float2 rope[R][D/2] (cos, sin, both scaled by YaRN's concentration); 9 RowInfo rows[R]; 10 uint block_tables[];
/// 11 float q[R][stride(H·D)]; 12 the cache at this layer. With `raw` there is no RoPE, k and v go to 12 as
/// float kv[R][stride(2·K·D)], and 8, 9, 10 are not used.
/// grid: product_groups((H + 2K)·(D/4), R, N, S) threadgroups in any shape (x × y may be more); S any. Threadgroup
/// memory 0. Reads the three matrices once for 64 rows, and h once for each simdgroup.
/// qkv_mm: grid ceil((H + 2K)·D / 64) × ceil(R / 32), 128 threads, 12 KiB of threadgroup memory.
struct QkvArgs {
  u32 columns;  ///< E
  u32 rows;     ///< R
  u32 heads, heads_kv, head_length;
  CacheInfo cache;
};

// --------------------------------------------------------------------------------------------------------- heads.metal
/// heads: does what qkv (raw) leaves to do. Where has_norm is true, q and k of a head become norm(q)·w, as in norm.
/// Both get RoPE. q goes to memory again, k and v (clamped to ±65504) into the cache. A simdgroup works on one head of
/// one row, and lane l chains x² over the elements l, l + 32, …. Q8_0 is made as on the CPU: for 32 dimensions
/// scale = clamp(max |x| / 127), and int8 = rint(x · (1 / scale)) within ±127.
/// constants: head_length, interleaved, has_norm, q8_cache.
/// buffers: 1 float q[R][stride(H·D)] (read and written), 2 float kv[R][stride(2·K·D)], 3, 4 float wq[D], wk[D]
/// (has_norm only), 5 float2 rope[R][D/2], 6 RowInfo rows[R], 7 uint block_tables[], 8 the cache at this layer.
/// grid: ceil((H + 2K) / S) × R; S 1..4. Threadgroup memory 4 KiB.
struct HeadsArgs {
  u32 heads, heads_kv, head_length;
  float epsilon;
  CacheInfo cache;
};

// ----------------------------------------------------------------------------------------------------- attention.metal
/// A row at position p sees the keys p − window + 1 .. p (0 .. p where the window is 0). Chunk c holds positions c·128
/// … c·128 + 127. A row's slot 0 is the chunk of its first visible key, and a row has chunk_slots(p, window) slots. The
/// order of the arithmetic is the same in all three kernels. In a chunk, blocks of 32 keys ascend with a running
/// maximum (scores chain over d, values chain over keys). Then the chunks ascend from the sink's state (maximum = sink,
/// sum = 1, output 0). For a model without sinks the host gives the least float, whose share is 0.
///
/// attention: computes one chunk of one row for the query heads that share a KV head (8 at most at once). K and V are
/// read once for all of them.
/// constants: head_length, group, q8_cache. buffers: 1 float q[R][stride(H·D)], 2 the cache at this layer,
/// 3 RowInfo rows[R], 4 uint block_tables[], 5 float part_out[R][slots][H][D] (not divided by the sum),
/// 6 float2 part_state[R][slots][H] (maximum, sum). part_out and part_state are indexed from first_row, so that the
/// host may cut R into slices to bound their size.
/// grid: ceil(slots / S) × K·ceil(G/8) × rows; S 1..4. Threadgroup memory 12 KiB. Reads each visible K and V once for
/// each KV head and each 8 of its query heads.
///
/// attention_merge: a[r][h] = the merged and normalised output. constants: head_length.
/// buffers: 1 part_out, 2 part_state, 3 RowInfo rows[R], 4 float sinks[H], 5 float a[R][stride(H·D)]. grid: ceil(H / S)
/// × rows; S any.
///
/// attention_rows_d64, attention_rows_d128: compute the same result for tiles of up to 8 adjacent rows of one sequence,
/// which share each K and V they read. They are for prefill. d64 is for D ≤ 64 and d128 for D ≤ 128. Longer heads use
/// attention.
/// constants: head_length, group, q8_cache. buffers: 1 q, 2 cache, 3 rows, 4 block_tables, 5 float sinks[H],
/// 6 float a[R][stride(H·D)], 7 RowTile tiles[]. grid: tiles × K·ceil(G/8); 256 threads (one simdgroup a row).
/// Threadgroup memory 16 or 24 KiB.
///
/// attention_mm_d64, attention_mm_d128: are attention_rows on simdgroup matrices, where G is a multiple of 8 and the
/// cache is F16. They differ in the bits only.
struct AttentionArgs {
  u32 rows;       ///< rows of this launch of attention or attention_merge
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
/// The first chunk that a row sees.
static inline u32 first_chunk(u32 position, u32 window) {
  return window != 0u && position >= window ? (position - window + 1u) / kAttentionChunk : 0u;
}
/// How many chunks a row sees.
static inline u32 chunk_slots(u32 position, u32 window) {
  return position / kAttentionChunk - first_chunk(position, window) + 1u;
}

// -------------------------------------------------------------------------------------------------------- linear.metal
/// linear_c1, _c2, _c4, _c8: computes y[r][o] (+)= W[o]·x[r] (+ bias[o]). It adds to y where `residual` is true. The
/// attention output, the dense down product and the output head use it.
/// constants: type, columns, has_bias, residual.
/// buffers: 1 W [outputs][columns], 2 float bias[outputs] (has_bias only), 3 float x[R][stride(columns)],
/// 4 float y[R][stride(outputs)].
/// grid: product_groups(ceil(outputs / 4), R, N, S) threadgroups in any shape (x × y may be more); S any. Threadgroup
/// memory 0. Reads W once for 64 rows, and x once for each simdgroup.
/// linear_mm: grid ceil(outputs / 64) × ceil(R / 32), 128 threads, 12 KiB of threadgroup memory.
struct LinearArgs {
  u32 columns;
  u32 rows;  ///< R
  u32 outputs;
};

// -------------------------------------------------------------------------------------------------- feed_forward.metal
/// ffn_c1, _c2, _c4, _c8: act[r] = silu(Wg·h + bg) · (Wu·h + bu) with silu(g) = g / (1 + exp(−g)). This is the dense
/// feed-forward up to its down product, which linear computes. constants: type (gate), type_b (up), columns, has_bias.
/// buffers: 1, 2 Wg, Wu [F][E]; 3, 4 float bg, bu [F] (has_bias only); 5 float h[R][stride(E)];
/// 6 float act[R][stride(F)].
/// grid: product_groups(ceil(F / 2), R, N, S) threadgroups in any shape; S any. Threadgroup memory 0. Reads the weights
/// once for 64 rows.
/// ffn_mm: grid ceil(F / 32) × ceil(R / 32), 128 threads, 12 KiB of threadgroup memory. The arguments are LinearArgs, F
/// the outputs.

// -------------------------------------------------------------------------------------------------------- router.metal
struct Choice {
  u32 expert;
  float weight;
};
/// router: h = norm(x)·w as in norm, and scores = Wr·h + b. The choices are the U experts with the best scores, best
/// first, and among equals the lower number. Their weights are the softmax over them.
/// constants: type, columns. buffers: 1 float x[R][stride(E)], 2 float w[E], 3 Wr [X][E], 4 float b[X],
/// 5 float h[R][stride(E)] (written), 6 Choice choices[R][U] (written). grid: R × 1; 256 threads. Threadgroup memory
/// 4.3 KiB. Reads Wr once for each row.
struct RouterArgs {
  u32 columns;  ///< E
  u32 experts;  ///< X ≤ kMaxExperts
  u32 used;     ///< U ≤ kMaxExpertsUsed
  float epsilon;
};

/// expert_lists: sorts the choices by expert. buffers: 1 Choice choices[R·U], 2 uint lists[X][R] (written: the numbers
/// r·U + u of each expert's choices, ascending), 3 ExpertTile tiles[] (written: by expert, then by place in its list),
/// 4 uint tile_count (written).
/// grid: 1 × 1; S any (8 to 32). Threadgroup memory 4 KiB.
struct ExpertListsArgs {
  u32 rows;
  u32 experts;
  u32 used;
  u32 tile;  ///< the most columns of a tile: kExpertTile, or 32 for …_mm. Any number is correct.
};
struct ExpertTile {
  u32 expert;
  u32 first;  ///< in the expert's list
  u32 count;
};
/// The most tiles that R rows can need. It is the y extent of gate_up and down, and the capacity of `tiles`.
static inline u32 max_expert_tiles(u32 rows, u32 experts, u32 used, u32 tile) {
  const u32 choices = rows * used, bound = choices / tile + (experts < choices ? experts : choices);
  return bound < choices ? bound : choices;
}

// ------------------------------------------------------------------------------------------------------- experts.metal
/// gate_up_c1, _c2, _c4, _c8: act[choice] = SwiGLU(Wg·h + bg, Wu·h + bu) of the choice's expert and row, with
/// g = min(g, limit), u = clamp(u, ±limit), y = g / (1 + exp(−alpha·g)) · (u + offset). gpt-oss has alpha 1.702, limit
/// 7 and offset 1. Other models have 1, no limit (the largest float) and 0. A tile's weights are read once for all its
/// rows, N at a time.
/// constants: type (gate), type_b (up), columns, direct. With `direct` (only c1 has it) tile y is choice y, and buffers
/// 7, 8 and 9 are not used.
/// buffers: 1, 2 Wg, Wu [X·F][E]; 3, 4 float bg, bu [X][F]; 5 float h[R][stride(E)]; 6 Choice choices[R·U]; 7 lists;
/// 8 tiles; 9 tile_count; 10 float act[R·U][stride(F)].
/// grid: ceil(F / (2·S)) × (direct: R·U, else max_expert_tiles); S any. Threadgroup memory 0.
/// gate_up_mm: grid ceil(F / 32) × max_expert_tiles(…, 32), 128 threads, 12 KiB; no buffer 6.
///
/// down_c1, _c2, _c4, _c8: out[choice] = Wd·act[choice] + bd. constants: type, columns.
/// buffers: 1 Wd [X·E][F]; 2 float bd[X][E]; 3 float act[R·U][stride(F)]; 4 lists; 5 tiles; 6 tile_count;
/// 7 float out[R·U][stride(E)].
/// grid: ceil(E / (4·S)) × max_expert_tiles; S any. down_mm: ceil(E / 64) × max_expert_tiles(…, 32), 128 threads,
/// 12 KiB.
///
/// down_sum: x[r] = fma(weight_u, Wd_u·act + bd_u, x[r]) for u ascending, in one launch. It is for one row or few.
/// constants: type, columns.
/// buffers: 1 Wd, 2 bd, 3 act, 4 Choice choices[R·U], 5 float x[R][stride(E)]. grid: ceil(E / (4·S)) × R; S any.
///
/// expert_sum: computes the same sum from `out`, with the same bits. buffers: 1 float out[R·U][stride(E)],
/// 2 Choice choices[R·U], 3 float x[R][stride(E)].
/// grid: ceil(E / (32·S)) × R; S any.
struct ExpertArgs {
  u32 columns;  ///< E for gate_up, F for down
  u32 outputs;  ///< F for gate_up, E for down and expert_sum
  u32 rows;     ///< R
  u32 used;     ///< U
  float alpha, limit, offset;
};

// -------------------------------------------------------------------------------------------------------- sample.metal
/// sample: chooses a token from a row of logits as core/sampler.cpp does: top-k, top-p, min-p, then temperature. The
/// random number is the same hash of seed and position. Sums are in fixed point (2^-40), so the order of addition and S
/// do not matter. A choice differs from the CPU's only where a float exp differs, about once in 10^7.
/// buffers: 1 float logits[][stride(V)], 2 SampleParams params[outputs], 3 SampleResult results[outputs] (written),
/// 4 uint tokens[outputs] (written, and read as the `tokens` of the next round). grid: outputs × 1; S any (32 if the
/// pipeline allows). Threadgroup memory 12.3 KiB. Reads a row of logits 2 times (greedy) or 4 times. It reads it
/// 17 times more for a top-k or top-p that hundreds of tokens near the best do not fill.
struct SampleArgs {
  u32 vocabulary;
};
struct SampleParams {
  float temperature;  ///< 0 for greedy
  float top_p;        ///< 1 or more: all
  float log_min_p;    ///< log(min(1, min_p)), which the host computes; not used where has_min_p is 0
  u32 has_min_p;
  u32 top_k;     ///< 0: all
  u32 position;  ///< position of the token that is chosen
  u32 seed_low, seed_high;
};
struct SampleResult {
  u32 token;
  float probability;  ///< under softmax(logits)
};

// ------------------------------------------------------------------------------------------------------ ceilings.metal
/// ceiling_read: sums[i] = the sum, modulo 2^32, of all words that simdgroup i read. All simdgroups together read
/// `count` uint4s once.
/// buffers: 1 uint4 data[count], 2 uint sums[simdgroups]. grid: any × 1; S any.
///
/// ceiling_multiply_add: each thread does `count` turns of v = fma(v, factor, addend) on kCeilingChains float4s.
/// sums[i] = their sum over simdgroup i. buffers: 1 float sums[simdgroups]. grid: any × 1; S any.
struct CeilingArgs {
  u32 count;
  float factor, addend;
};

}  // namespace gpu
}  // namespace hearth
