#include "packed_stack.h"

#include <algorithm>

#include "../core/error.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace hearth {

namespace {
int groups_of(int rows) { return (rows + cpu::kGroupRows - 1) / cpu::kGroupRows; }
}  // namespace

size_t PackedStack::bytes_for(int experts, int rows, int columns) {
  return static_cast<size_t>(experts) * static_cast<size_t>(groups_of(rows)) * cpu::packed_group_bytes(columns / cpu::kBlock);
}

PackedStack::~PackedStack() {
  if (!base_) return;
#ifdef _WIN32
  VirtualFree(base_, 0, MEM_RELEASE);
#else
  munmap(base_, bytes_);
#endif
}

void PackedStack::fill(const Matrix& stack, int experts, const cpu::Kernels& kernels, ThreadPool& pool, const MappedFile& file) {
  const int rows = static_cast<int>(stack.rows / experts), blocks = stack.columns / cpu::kBlock;
  groups_ = groups_of(rows);
  group_bytes_ = cpu::packed_group_bytes(blocks);
  bytes_ = bytes_for(experts, rows, stack.columns);
#ifdef _WIN32
  void* memory = VirtualAlloc(nullptr, bytes_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
#else
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) memory = nullptr;
#ifdef MADV_HUGEPAGE
  // Fewer TLB misses: measured 10 % faster to read than 4 KiB pages.
  if (memory) madvise(memory, bytes_, MADV_HUGEPAGE);
#endif
#endif
  if (!memory) fail("no memory to repack %zu MB of weights; they stay as the file has them", bytes_ >> 20);
  base_ = static_cast<uint8_t*>(memory);
  pool.run(experts * groups_, [&](int task, int) {
    const int expert = task / groups_, group = task % groups_, first = group * cpu::kGroupRows;
    const int64_t row = static_cast<int64_t>(expert) * rows + first;
    kernels.pack_group_mxfp4(stack.row(row), stack.row_bytes, std::min(cpu::kGroupRows, rows - first), blocks,
                             base_ + static_cast<size_t>(task) * group_bytes_);
  });
  file.release(stack.data, stack.bytes());
}

}  // namespace hearth
