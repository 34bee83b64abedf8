// A stack of expert matrices in the kernels' own MXFP4 layout (Kernels::pack_group_mxfp4), outside the file.
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

  /// Bytes for a stack of `experts` matrices of `rows` rows and `columns` columns.
  static size_t bytes_for(int experts, int rows, int columns);

  /// Copies the stack out of the file and gives the file's pages back. Throws Error where there is no memory.
  void fill(const Matrix& stack, int experts, const cpu::Kernels& kernels, ThreadPool& pool, const MappedFile& file);

  explicit operator bool() const { return base_ != nullptr; }
  /// Group `group` (16 rows) of an expert.
  const uint8_t* group(int expert, int group) const {
    return base_ + (static_cast<size_t>(expert) * static_cast<size_t>(groups_) + static_cast<size_t>(group)) * group_bytes_;
  }

 private:
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0, group_bytes_ = 0;
  int groups_ = 0;  ///< of one expert
};

}  // namespace hearth
