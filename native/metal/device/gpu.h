// The thin face of the GPU that the Metal backend is written against: device, buffers, libraries, pipelines, command buffers.
// gpu_metal.cpp is its one implementation. Functions throw Error with the system's own text unless they say otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace hearth::gpu {

struct DeviceInfo {
  std::string name;
  size_t max_buffer_bytes;   ///< of one buffer
  size_t working_set_bytes;  ///< what the GPU may hold without becoming slow, over all buffers
  size_t threadgroup_bytes;  ///< threadgroup memory a kernel may use
  int apple_family;          ///< N of MTLGPUFamilyAppleN: 7 is the M1's; 0 for another maker's GPU
  bool unified_memory;
  bool residency_sets;  ///< macOS 15 and newer
};

struct Size {
  uint32_t x, y = 1, z = 1;
};

class Buffer {
 public:
  virtual ~Buffer() = default;
  /// Where the CPU sees it; nullptr for private buffers.
  virtual void* contents() const = 0;
  virtual size_t bytes() const = 0;
};

/// A part of a buffer. `bytes` is what a kernel may touch: tests report anything beyond it.
struct View {
  const Buffer* buffer = nullptr;
  size_t offset = 0;
  size_t bytes = 0;
};

enum class Storage {
  shared,       ///< CPU and GPU see it
  private_gpu,  ///< the GPU only; its first contents are undefined
};

/// The value of a [[function_constant(index)]].
struct Constant {
  enum class Type { boolean, int32, uint32, float32, uint16 };
  template <class T> Constant(int index, T value) : index(index) {
    if constexpr (std::is_same_v<T, bool>) type = Type::boolean;
    else if constexpr (std::is_same_v<T, int32_t>) type = Type::int32;
    else if constexpr (std::is_same_v<T, uint32_t>) type = Type::uint32;
    else if constexpr (std::is_same_v<T, float>) type = Type::float32;
    else {
      static_assert(std::is_same_v<T, uint16_t>, "bool, int32_t, uint32_t, float or uint16_t");
      type = Type::uint16;
    }
    memcpy(bits, &value, sizeof value);
  }
  int index;
  Type type;
  alignas(4) unsigned char bits[4] = {};
};

class Pipeline {
 public:
  virtual ~Pipeline() = default;
  /// Threads a threadgroup may have, often less than 1024: depends on the registers the kernel uses.
  virtual uint32_t max_threads() const = 0;
  virtual uint32_t simd_width() const = 0;
  /// Of the kernel's own threadgroup variables.
  virtual size_t threadgroup_bytes() const = 0;
  virtual const std::string& name() const = 0;
};

/// A compiled .metal file.
class Library {
 public:
  virtual ~Library() = default;
  /// `kernel` specialised for the constants. Throws if there is no such kernel or the GPU cannot run it.
  virtual std::unique_ptr<Pipeline> pipeline(const std::string& kernel,
                                             const std::vector<Constant>& constants = {}) = 0;
};

/// Dispatches that run after one another or at the same time: only barrier() orders them. Bound buffers stay bound from one
/// dispatch to the next. Buffers and pipelines must live until wait() returns: the command buffer does not hold them.
class CommandBuffer {
 public:
  /// Waits if it was committed.
  virtual ~CommandBuffer() = default;
  virtual void pipeline(const Pipeline& pipeline) = 0;
  virtual void buffer(int index, const View& view) = 0;
  /// At most 4 KiB, copied now.
  virtual void bytes(int index, const void* data, size_t count) = 0;
  template <class T> void value(int index, const T& data) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    bytes(index, &data, sizeof data);
  }
  /// Length of [[threadgroup(index)]] memory; rounded up to 16 bytes.
  virtual void threadgroup_memory(int index, size_t count) = 0;
  /// Throws where the pipeline cannot have that many threads in a threadgroup.
  virtual void dispatch(Size threadgroups, Size threads) = 0;
  /// Dispatches after it see what those before it wrote.
  virtual void barrier() = 0;
  /// Nothing can be added afterwards. Command buffers of a device run in the order in which they are committed.
  virtual void commit() = 0;
  /// Returns when the GPU has finished. Throws if it failed (out of memory, a fault, a time limit of the system).
  virtual void wait() = 0;
  /// Whether the GPU has finished, well or not.
  virtual bool finished() const = 0;
  /// Time on the GPU in seconds, after wait().
  virtual double seconds() const = 0;
  virtual int dispatches() const = 0;
  virtual int barriers() const = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual std::unique_ptr<Buffer> buffer(size_t bytes, Storage storage = Storage::shared) = 0;
  /// A buffer over memory of the caller's, which must outlive it: nothing is copied. `data` and `bytes` must be multiples of
  /// page_bytes(), and bytes at most info().max_buffer_bytes.
  virtual std::unique_ptr<Buffer> wrap(const void* data, size_t bytes) = 0;
  virtual size_t page_bytes() const = 0;
  /// Compiles MSL. `name` is for messages. Throws with the compiler's text.
  virtual std::unique_ptr<Library> library(const std::string& name, const char* text) = 0;
  virtual std::unique_ptr<CommandBuffer> command_buffer() = 0;
  /// Keeps buffers ready for the GPU between command buffers, where the system can (info().residency_sets); a hint. They
  /// must outlive the device, or be taken out with release_residency().
  virtual void keep_resident(const std::vector<const Buffer*>& buffers) = 0;
  virtual void release_residency() = 0;
};

/// The system's default GPU. nullptr, and in `why_not` the reason, where there is none; never throws.
std::unique_ptr<Device> open_device(std::string* why_not);

/// Memory mapped from a file as buffers without a copy, several where the device's buffers are shorter. Buffers overlap, so
/// that each span of at most `longest_span` bytes lies whole within one.
class MappedMemory {
 public:
  /// `data` is rounded down and its end up to whole pages, which must be mapped.
  MappedMemory(Device& device, const void* data, size_t bytes, size_t longest_span);
  /// The buffer and offset of [data, data + bytes). Throws if it is not within one buffer.
  View view(const void* data, size_t bytes) const;
  std::vector<const Buffer*> buffers() const;

 private:
  struct Part {
    uintptr_t begin;
    std::unique_ptr<Buffer> buffer;
  };
  std::vector<Part> parts_;
};

}  // namespace hearth::gpu
