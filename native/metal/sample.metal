// Chooses a token from each row of logits on the GPU, as core/sampler.cpp does on the CPU, so that several steps can be
// queued at once.
//
// Weights of tokens are fixed-point numbers (2^-40). Their sums are exact and so do not depend on the order of threads.
// A filter keeps a prefix of the tokens sorted by logit (the lower id first among equals). The kernel finds the prefix
// without sorting: it searches for the logit at or above which there are enough tokens, or tokens of enough weight. The
// search goes over the tokens close to the best one, which are in threadgroup memory. It goes over all tokens only
// where those are not enough.
#include "common.h"

/// A logit as bits whose order as a uint is that of the logits. NaN, which is never chosen, gives 0.
static inline uint key_of(float logit) {
  const uint bits = as_type<uint>(logit);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0u;
  if ((bits & 0x7fffffffu) == 0u) return 0x80000000u;  // -0 equals 0
  return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}
static inline float logit_of(uint key) { return as_type<float>((key & 0x80000000u) != 0u ? key & 0x7fffffffu : ~key); }

/// exp(x) in units of 2^-40, for x ≤ 0.
static inline ulong fixed_exp(float x) { return ulong(exponential(x) * 1099511627776.0f); }

static inline ulong high_product(ulong a, ulong b) {
  const ulong a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const ulong middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (middle & 0xffffffffu);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

/// splitmix64's finaliser (Steele, Lea, Flood 2014), as in core/sampler.cpp.
static inline ulong mix_bits(ulong x) {
  x += 0x9e3779b97f4a7c15ul;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ul;
  x = (x ^ x >> 27) * 0x94d049bb133111ebul;
  return x ^ x >> 31;
}

static inline ulong lanes_total(ulong value) {
  for (uint mask = 16; mask > 0u; mask >>= 1) {
    const uint2 other = simd_shuffle_xor(uint2(uint(value), uint(value >> 32)), ushort(mask));
    value += ulong(other.x) | ulong(other.y) << 32;
  }
  return value;
}

struct Place {
  uint tid, threads, lane, simdgroup, simdgroups;
};
static inline ulong total_of(ulong value, Place place, threadgroup ulong* parts) {
  const ulong mine = lanes_total(value);
  if (place.lane == 0u) parts[place.simdgroup] = mine;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  ulong total = 0;
  for (uint s = 0; s < place.simdgroups; s++) total += parts[s];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return total;
}

enum SearchMode : uint { kByCount, kByWeight, kTiesById };

/// A simdgroup keeps at most kCandidates tokens that are close to the best one. A token is close whose logit is at most
/// kClose lower.
constant constexpr uint kCandidates = 48;
constant constexpr float kClose = 14.0f;

/// What a search adds up.
struct Search {
  uint mode;
  float best;  ///< the largest logit; only kByWeight uses it
  /// With kByWeight tokens with a smaller key do not count, and of those with this key `ties` do. With kTiesById only
  /// tokens with this key count.
  uint least;
  ulong ties;
  /// Whether to search only the candidates, which are (key, id) pairs. The thread's simdgroup has `candidates` of them.
  bool close;
  uint candidates;
};

/// Adds up the weight of the tokens whose order is at or above `bound` + step · {1, 2, 3}. A token's order is its key,
/// or with kTiesById the complement of its id. `parts` is the threadgroup's memory for sums.
static inline void weigh(device const float* logits, threadgroup const uint2* close, uint vocabulary, Search search,
                         uint bound, uint step, thread ulong* sums, Place place, threadgroup ulong* parts) {
  for (uint i = 0; i < 3u; i++) sums[i] = 0;
  const uint begin = search.close ? place.lane : place.tid, end = search.close ? search.candidates : vocabulary;
  for (uint i = begin; i < end; i += search.close ? kSimdWidth : place.threads) {
    uint key, id = i;
    if (search.close) {
      key = close[i].x;
      id = close[i].y;
    } else {
      key = key_of(logits[i]);
    }
    if (key == 0u) continue;
    const uint order = search.mode == kTiesById ? ~id : key;
    if (order < bound + step ||
        (search.mode == kTiesById ? key != search.least : search.mode == kByWeight && key <= search.least))
      continue;
    const ulong weight = search.mode == kByWeight ? fixed_exp(logit_of(key) - search.best) : 1ul;
    for (uint j = 0; j < 3u; j++) sums[j] += order >= bound + step * (j + 1u) ? weight : 0ul;
  }
  const ulong at_least = search.mode == kByWeight && search.ties != 0ul
                             ? search.ties * fixed_exp(logit_of(search.least) - search.best)
                             : 0ul;
  for (uint i = 0; i < 3u; i++)
    sums[i] = total_of(sums[i], place, parts) + (search.least >= bound + step * (i + 1u) ? at_least : 0ul);
}

/// The largest order such that the tokens at or above it weigh at least `need`. `above` gets the weight of the tokens
/// above it. The search goes over all tokens where the candidates weigh less than `need`.
static inline uint find_order(device const float* logits, threadgroup const uint2* close, uint vocabulary,
                              Search search, ulong need, thread ulong& above, Place place, threadgroup ulong* parts) {
  uint bound = 0;
  ulong sums[3];
  above = 0;
  if (search.close) {
    weigh(logits, close, vocabulary, search, 0u, 1u, sums, place, parts);
    search.close = sums[0] >= need;
  }
  for (int shift = 30; shift >= 0; shift -= 2) {
    weigh(logits, close, vocabulary, search, bound, 1u << uint(shift), sums, place, parts);
    const uint digit = sums[2] >= need ? 3u : sums[1] >= need ? 2u : sums[0] >= need ? 1u : 0u;
    if (digit < 3u) above = sums[digit];
    bound += digit << uint(shift);
  }
  return bound;
}

kernel void sample(constant SampleArgs& args [[buffer(0)]], device const float* all_logits [[buffer(1)]],
                   device const SampleParams* all_params [[buffer(2)]], device SampleResult* results [[buffer(3)]],
                   device uint* tokens [[buffer(4)]], device const uint* stop [[buffer(30)]],
                   uint row [[threadgroup_position_in_grid]], uint tid [[thread_position_in_threadgroup]],
                   uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]], uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup ulong parts[32];
  threadgroup uint2 candidates[32 * kCandidates];
  if (*stop != 0u) return;
  Place place;
  place.tid = tid;
  place.threads = threads;
  place.lane = lane;
  place.simdgroup = simdgroup;
  place.simdgroups = simdgroups;
  device const float* logits = all_logits + ulong(row) * activation_stride(args.vocabulary);
  device const SampleParams& params = all_params[row];

  // The best token has the largest key, and among equal keys the lowest id. Both are compared as one number.
  ulong first = 0;
  for (uint id = tid; id < args.vocabulary; id += threads) {
    const uint key = key_of(logits[id]);
    const ulong rank = ulong(key) << 32 | ulong(~id);
    if (key != 0u && rank > first) first = rank;
  }
  for (uint mask = 16; mask > 0u; mask >>= 1) {
    const uint2 other = simd_shuffle_xor(uint2(uint(first), uint(first >> 32)), ushort(mask));
    const ulong rank = ulong(other.x) | ulong(other.y) << 32;
    first = rank > first ? rank : first;
  }
  if (lane == 0u) parts[simdgroup] = first;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint s = 0; s < simdgroups; s++) first = parts[s] > first ? parts[s] : first;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const uint best_key = uint(first >> 32);
  const float best = logit_of(best_key);
  if (best_key <= 0x007fffffu || best_key >= 0xff800000u) {  // nothing but NaN and −infinity, or +infinity
    if (tid == 0u) {
      const uint token = best_key <= 0x007fffffu ? 0u : ~uint(first);
      results[row].token = token;
      results[row].probability = 0.0f;
      tokens[row] = token;
    }
    return;
  }

  // Adds up the weight and the number of all tokens, and collects those close to the best one for the searches.
  ulong weight = 0, count = 0;
  uint found = 0;
  const uint close_key = key_of(best - kClose);
  const bool filters = params.temperature > 0.0f && (params.top_k != 0u || params.top_p < 1.0f);
  threadgroup uint2* close = candidates + simdgroup * kCandidates;
  for (uint base = simdgroup * kSimdWidth; base < args.vocabulary; base += threads) {
    const uint id = base + lane, key = id < args.vocabulary ? key_of(logits[id]) : 0u;
    if (key != 0u) {
      weight += fixed_exp(logit_of(key) - best);
      count++;
    }
    const bool is_close = filters && key >= close_key;
    if (simd_any(is_close)) {
      const uint at = found + simd_prefix_exclusive_sum(is_close ? 1u : 0u);
      if (is_close && at < kCandidates) close[at] = uint2(key, id);
      found += simd_sum(is_close ? 1u : 0u);
    }
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  const ulong total = total_of(weight, place, parts);
  const float norm = 1.0f / (float(total) / 1099511627776.0f);
  if (params.temperature <= 0.0f) {
    if (tid == 0u) {
      results[row].token = ~uint(first);
      results[row].probability = norm;
      tokens[row] = ~uint(first);
    }
    return;
  }
  count = total_of(count, place, parts);

  // The filters keep the tokens with a larger key than `least`, and the first `ties` tokens with that key.
  uint least = 0, last_tie = ~0u;
  ulong ties = 0;
  Search search;
  search.close = total_of(found > kCandidates ? 1ul : 0ul, place, parts) == 0ul;
  search.candidates = found;
  search.best = best;
  search.least = 0u;
  search.ties = 0;
  ulong mass = total;
  if (params.top_k != 0u && ulong(params.top_k) < count) {
    search.mode = kByCount;
    ulong above;
    least = find_order(logits, close, args.vocabulary, search, params.top_k, above, place, parts);
    ties = params.top_k - above;
  }
  if (params.top_p < 1.0f) {
    search.mode = kByWeight;
    search.least = least;
    search.ties = ties;
    if (least != 0u) {
      search.close = search.close && least >= close_key;
      ulong sums[3];
      weigh(logits, close, args.vocabulary, search, 0u, 1u, sums, place, parts);
      mass = sums[0];
    }
    const ulong share = ulong(max(params.top_p, 0.0f) * 4294967296.0f);
    const ulong part = (mass >> 32) * share + ((mass & 0xffffffffu) * share >> 32), need = part > 0ul ? part : 1ul;
    ulong above;
    least = find_order(logits, close, args.vocabulary, search, need, above, place, parts);
    const ulong weight_of_least = fixed_exp(logit_of(least) - best),
                each = weight_of_least > 0ul ? weight_of_least : 1ul;
    ties = (need - above + each - 1ul) / each;
  }
  if (ties != 0ul) {
    search.mode = kTiesById;
    search.least = least;
    search.close = search.close && least >= close_key;
    ulong sums[3], above;
    weigh(logits, close, args.vocabulary, search, 0u, 1u, sums, place, parts);
    if (sums[0] > ties) last_tie = ~find_order(logits, close, args.vocabulary, search, ties, above, place, parts);
  }
  const float least_logit = params.has_min_p != 0u ? best + params.log_min_p : -MAXFLOAT;

  // Ids in order: a range for each simdgroup, then 32 at a time.
  const uint range = (args.vocabulary + simdgroups * 32u - 1u) / (simdgroups * 32u) * 32u;
  const uint begin = simdgroup * range, end = min(begin + range, args.vocabulary);
  const float heat = params.temperature;
  ulong sum = 0;
  for (uint base = begin; base < end; base += 32u) {
    const uint id = base + lane, key = id < end ? key_of(logits[id]) : 0u;
    if (key > least || (key != 0u && key == least && id <= last_tie))
      if (logit_of(key) >= least_logit) sum += fixed_exp((logit_of(key) - best) / heat);
  }
  sum = lanes_total(sum);
  if (lane == 0u) parts[simdgroup] = sum;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  sum = 0;
  for (uint s = 0; s < simdgroups; s++) sum += parts[s];
  const ulong seed = ulong(params.seed_low) | ulong(params.seed_high) << 32;
  const ulong random = mix_bits(mix_bits(seed) + ulong(params.position)) & ~2047ul;  // 53 bits
  const ulong target = high_product(random, sum);
  ulong before = 0;
  for (uint s = 0; s < simdgroup; s++) before += parts[s];
  if (before > target || before + parts[simdgroup] <= target) return;
  for (uint base = begin; base < end; base += 32u) {
    const uint id = base + lane, key = id < end ? key_of(logits[id]) : 0u;
    ulong own = 0;
    if (key > least || (key != 0u && key == least && id <= last_tie))
      if (logit_of(key) >= least_logit) own = fixed_exp((logit_of(key) - best) / heat);
    ulong upto = own;
    for (uint distance = 1; distance < 32u; distance <<= 1) {
      const uint2 other =
          simd_shuffle(uint2(uint(upto), uint(upto >> 32)), ushort(lane >= distance ? lane - distance : lane));
      if (lane >= distance) upto += ulong(other.x) | ulong(other.y) << 32;
    }
    if (before + upto > target && before + upto - own <= target) {
      results[row].token = id;
      results[row].probability = exponential(logit_of(key) - best) * norm;
      tokens[row] = id;
    }
    before += lanes_total(own);
    if (before > target) return;
  }
}
