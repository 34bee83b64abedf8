// Memory that the GPU works in: scratch that only grows, and the list of buffers that the system keeps ready for the
// GPU.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "device/gpu.h"

namespace hearth::metal {

/// Memory of the GPU that only grows. Its contents are lost when it grows.
class GpuScratch {
 public:
  /// Returns at least `bytes` of memory. Throws Error where the GPU has no memory left. No command that uses the
  /// earlier memory may be under way.
  gpu::View get(gpu::Device& device, size_t bytes) {
    bytes_ = std::max<size_t>(bytes, 4);
    if (!buffer_ || buffer_->bytes() < bytes_) {
      buffer_.reset();
      buffer_ = device.buffer((bytes_ + bytes_ / 4 + 15) / 16 * 16);
    }
    return view();
  }
  /// The memory that the last get() returned.
  gpu::View view() const { return {buffer_.get(), 0, bytes_}; }
  template <class T> T* data() const { return static_cast<T*>(buffer_->contents()); }

 private:
  std::unique_ptr<gpu::Buffer> buffer_;
  size_t bytes_ = 0;
};

/// The buffers that stay ready for the GPU between command buffers. A mutex guards them, because caches come and go on
/// other threads than the one that computes.
class Residency {
 public:
  explicit Residency(std::shared_ptr<gpu::Device> device) : device_(std::move(device)) {}
  ~Residency() { device_->release_residency(); }

  gpu::Device& device() const { return *device_; }

  void add(const std::vector<const gpu::Buffer*>& buffers) {
    std::lock_guard lock(mutex_);
    buffers_.insert(buffers_.end(), buffers.begin(), buffers.end());
    device_->keep_resident(buffers);
  }
  void remove(const std::vector<const gpu::Buffer*>& buffers) {
    std::lock_guard lock(mutex_);
    std::erase_if(buffers_,
                  [&](const gpu::Buffer* b) { return std::find(buffers.begin(), buffers.end(), b) != buffers.end(); });
    device_->release_residency();
    if (!buffers_.empty()) device_->keep_resident(buffers_);
  }

 private:
  std::shared_ptr<gpu::Device> device_;
  std::mutex mutex_;
  std::vector<const gpu::Buffer*> buffers_;
};

}  // namespace hearth::metal
