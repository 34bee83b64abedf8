// A matrix, or a stack of experts' matrices, in the kernels' own layout (PackedLayout), outside the file.
#pragma once

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

  /// Bytes for a stack of `experts` matrices.
  static size_t bytes_for(const Matrix& stack, int experts, cpu::Format format);

  /// Copies the stack out of the file and gives the file's pages back. Throws Error where there is no memory.
  void fill(const Matrix& stack, int experts, cpu::Format format, const cpu::Kernels& kernels, ThreadPool& pool, const MappedFile& file);

  explicit operator bool() const { return base_ != nullptr; }
  /// Group `group` (16 rows) of an expert; not of an empty stack.
  const uint8_t* group(int expert, int group) const {
    return base_ + (static_cast<size_t>(expert) * static_cast<size_t>(groups_) + static_cast<size_t>(group)) * group_bytes_;
  }
  /// The first group; nullptr: an empty stack.
  const uint8_t* first() const { return base_; }

 private:
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0, group_bytes_ = 0;
  int groups_ = 0;  ///< of one expert
};

}  // namespace hearth
