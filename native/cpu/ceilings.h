// What this machine can do at most, measured: the ceilings that a benchmark's figures are held against.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../core/backend.h"
#include "../core/thread_pool.h"

namespace hearth::cpu {

/// Reads memory once, front to back, and does nothing else with it.
void read_memory(const uint8_t* memory, size_t bytes);

/// Whether this CPU has an instruction for int8 dot products that dot_instructions knows: vpdpbusd, sdot, or AVX2's vpmaddubsw,
/// which leaves sums of two products to be widened and added by others.
bool has_dot_instructions();
/// Runs `turns` turns of a loop of nothing but that instruction on independent registers; gives the multiply-adds done.
double dot_instructions(long turns);

/// The same of the tile unit's instruction for int8, AMX's tdpbssd; 0: this CPU has none, or may not use it.
double tile_instructions(long turns);

/// Reading memory, and int8 multiply-adds, by vectors and by tiles (0 where the CPU has no instruction for them): medians of short
/// rounds on all threads of the pool, a second or two in all; of reading, the fastest way. Memory is read plainly, in several places
/// abreast and with prefetches, in pages of the usual size and in huge ones. Takes 512 MB for that time, or up to three times the L3
/// cache where that is more. Throws Error where they cannot be had.
Ceilings measure_ceilings(ThreadPool& pool);

}  // namespace hearth::cpu
