// What the Metal backend knows of the GPU: device, buffers, libraries, pipelines, command buffers. gpu_metal.cpp is the
// one implementation. Functions throw an Error with the system's own text unless they say otherwise.
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
  size_t max_buffer_bytes;   ///< the longest that one buffer may be
  size_t working_set_bytes;  ///< what all buffers together may take before the GPU becomes slow
  int apple_family;          ///< the N of MTLGPUFamilyAppleN: the M1's is 7; another maker's GPU has 0
  bool unified_memory;
};

struct Size {
  uint32_t x, y = 1, z = 1;
};

class Buffer {
 public:
  virtual ~Buffer() = default;
  /// Where the CPU sees it.
  virtual void* contents() const = 0;
  virtual size_t bytes() const = 0;
};

/// A part of a buffer. `bytes` is what a kernel may touch: tests report anything beyond it.
struct View {
  const Buffer* buffer = nullptr;
  size_t offset = 0;
  size_t bytes = 0;
};

/// The value of a [[function_constant(index)]].
struct Constant {
  enum class Type { boolean, uint32 };
  template <class T> Constant(int index, T value)
      : index(index), type(std::is_same_v<T, bool> ? Type::boolean : Type::uint32) {
    static_assert(std::is_same_v<T, bool> || std::is_same_v<T, uint32_t>, "kernels have no other function constants");
    memcpy(bits, &value, sizeof value);
  }
  int index;
  Type type;
  alignas(4) unsigned char bits[4] = {};
};

class Pipeline {
 public:
  virtual ~Pipeline() = default;
  /// The threads that a threadgroup may have. Often they are fewer than 1024, since the kernel's registers limit them.
  virtual uint32_t max_threads() const = 0;
  virtual uint32_t simd_width() const = 0;
  /// What the kernel's own threadgroup variables take.
  virtual size_t threadgroup_bytes() const = 0;
};

/// A compiled .metal file.
class Library {
 public:
  virtual ~Library() = default;
  /// Specialises `kernel` for the constants. Throws where there is no such kernel, or the GPU cannot run it.
  virtual std::unique_ptr<Pipeline> pipeline(const std::string& kernel,
                                             const std::vector<Constant>& constants = {}) = 0;
};

/// A list of dispatches. They may run at the same time; only barrier() orders them. A bound buffer stays bound from one
/// dispatch to the next. Buffers and pipelines must live until wait() returns, because the command buffer does not hold
/// them.
class CommandBuffer {
 public:
  /// Waits if it was committed.
  virtual ~CommandBuffer() = default;
  virtual void pipeline(const Pipeline& pipeline) = 0;
  virtual void buffer(int index, const View& view) = 0;
  /// Copies the data, which may be 4 KiB long, at once.
  virtual void bytes(int index, const void* data, size_t count) = 0;
  template <class T> void value(int index, const T& data) {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
    bytes(index, &data, sizeof data);
  }
  /// Throws where the pipeline cannot have that many threads in a threadgroup.
  virtual void dispatch(Size threadgroups, Size threads) = 0;
  /// Dispatches after it see what those before it wrote.
  virtual void barrier() = 0;
  /// Nothing can be added afterwards. Command buffers of a device run in the order in which they are committed.
  virtual void commit() = 0;
  /// Returns when the GPU has finished. Throws if it failed (out of memory, a fault, a time limit of the system).
  virtual void wait() = 0;
  /// The seconds that the GPU took; after wait().
  virtual double seconds() const = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  /// New memory that the CPU and the GPU see. Its first contents are undefined.
  virtual std::unique_ptr<Buffer> buffer(size_t bytes) = 0;
  /// A buffer over the caller's own memory, which must outlive it. Nothing is copied. `data` and `bytes` must be
  /// multiples of page_bytes(), and `bytes` at most info().max_buffer_bytes.
  virtual std::unique_ptr<Buffer> wrap(const void* data, size_t bytes) = 0;
  virtual size_t page_bytes() const = 0;
  /// Compiles MSL. `name` is for messages. Throws with the compiler's text.
  virtual std::unique_ptr<Library> library(const std::string& name, const char* text) = 0;
  virtual std::unique_ptr<CommandBuffer> command_buffer() = 0;
  /// Asks the system to keep buffers ready for the GPU between command buffers; before macOS 15 it cannot, and nothing
  /// happens. The buffers must outlive the device, or release_residency() must take them out.
  virtual void keep_resident(const std::vector<const Buffer*>& buffers) = 0;
  virtual void release_residency() = 0;
};

/// The system's default GPU. Where there is none, it returns nullptr and `why_not` says why. It never throws.
std::unique_ptr<Device> open_device(std::string* why_not);

/// A mapped file as buffers that copy nothing: several of them where the device's buffers are shorter than the file.
/// They overlap, so that each span of at most `longest_span` bytes lies whole within one.
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
