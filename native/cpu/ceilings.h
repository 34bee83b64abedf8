// Measures what this machine can do at most: the ceilings that a benchmark's figures are compared with.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../core/backend.h"
#include "../core/thread_pool.h"

namespace hearth::cpu {

/// Reads memory once, from its beginning to its end, and does nothing else with it.
void read_memory(const uint8_t* memory, size_t bytes);

/// Whether this CPU has an instruction for int8 dot products that dot_instructions knows: vpdpbusd, sdot, or AVX2's
/// vpmaddubsw. (vpmaddubsw leaves sums of two products, which other instructions must widen and add.)
bool has_dot_instructions();
/// Runs `turns` turns of a loop of nothing but that instruction on independent registers. Returns the number of
/// multiply-adds done.
double dot_instructions(long turns);

/// Does the same with the tile unit's instruction for int8, AMX's tdpbssd. Returns 0 where this CPU has no tile unit or
/// this process may not use it.
double tile_instructions(long turns);

/// Measures how fast all threads of the pool read memory, and how many int8 multiply-adds they do by vectors and by
/// tiles (0 where the CPU has no instruction for them). Each figure is the median of short rounds. The whole
/// measurement takes a second or two. Memory is read in several ways, and the fastest counts: plainly, in several
/// places abreast, with prefetches, in pages of the usual size and in huge ones. Meanwhile the measurement takes 512
/// MB, or up to three times the L3 cache where that is more. Throws Error where there is not so much memory.
Ceilings measure_ceilings(ThreadPool& pool);

}  // namespace hearth::cpu
