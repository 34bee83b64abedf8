// A matrix, or a stack of experts' matrices, in the kernels' own layout (PackedLayout), in memory outside the file.
#pragma once

#include <span>

#include "../core/mapped_file.h"
#include "../core/model.h"
#include "../core/thread_pool.h"
#include "kernels.h"

namespace hearth {

class PackedStack {
 public:
  PackedStack() = default;
  ~PackedStack();
  PackedStack(const PackedStack&) = delete;
  PackedStack& operator=(const PackedStack&) = delete;

  /// The bytes that these stacks take, of `experts` matrices each.
  static size_t bytes_for(std::span<const Matrix> stacks, int experts);

  /// Copies stacks of one shape and type out of the file and gives the file's pages back. Several stacks are stored
  /// group by group in turn, so that weights that are needed together are one stream of memory. Throws where there is
  /// no memory, and the stack is then empty.
  void fill(std::span<const Matrix> stacks, int experts, const cpu::Kernels& kernels, ThreadPool& pool,
            const MappedFile& file);

  explicit operator bool() const { return base_ != nullptr; }
  /// The first group (16 rows) of an expert; nullptr where the stack is empty.
  const uint8_t* first(int expert = 0) const {
    return base_ ? base_ + static_cast<size_t>(expert) * static_cast<size_t>(groups_) * group_bytes_ : nullptr;
  }

 private:
  void pack(std::span<const Matrix> stacks, int experts, const cpu::Kernels& kernels, ThreadPool& pool,
            const MappedFile& file);
  void drop();

  uint8_t* base_ = nullptr;
  size_t bytes_ = 0, group_bytes_ = 0;
  int groups_ = 0;  ///< the groups of one expert, in all stacks together
};

}  // namespace hearth
