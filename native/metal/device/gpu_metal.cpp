// Implements gpu.h over Metal. The values of Metal's enumerations are copied from its headers, and no header of Apple's
// is included.
#include <algorithm>

#ifndef _WIN32
#include <unistd.h>
#endif

#include "../../core/error.h"
#include "gpu.h"
#include "objc_runtime.h"

namespace hearth::gpu {

using namespace objc;

namespace {

// MTLResourceOptions: storage mode << 4, hazard tracking mode << 8. Metal tracks the buffers that kernels write, so
// that a command buffer sees what earlier ones wrote. Within a command buffer dispatches are concurrent, and only
// barrier() orders them.
constexpr NSUInteger kShared = 0 << 4, kUntracked = 1 << 8;
constexpr NSUInteger kConcurrentDispatch = 1;                  // MTLDispatchType
constexpr NSUInteger kBuffers = 1;                             // MTLBarrierScope
constexpr NSUInteger kFailed = 5;                              // MTLCommandBufferStatus
constexpr NSUInteger kMetal3_0 = 3 << 16;                      // MTLLanguageVersion; the tests check the kernels for it
constexpr NSInteger kSafeMath = 0;                             // MTLMathMode
constexpr NSInteger kFamilyApple1 = 1001, kNewestFamily = 20;  // MTLGPUFamily
constexpr size_t kMaxBytes = 4096;                             // the most that setBytes:length:atIndex: takes

NSUInteger data_type(Constant::Type type) {  // MTLDataType
  switch (type) {
    case Constant::Type::uint32: return 33;
    case Constant::Type::boolean: return 53;
  }
  return 0;
}
std::string description(id error) {
  return error ? to_string(send<"localizedDescription">(error)) : "the system gives no reason";
}

class MetalBuffer final : public Buffer {
 public:
  MetalBuffer(Owned object, size_t bytes)
      : object_(std::move(object)), bytes_(bytes), contents_(send<"contents", void*>(object_.get())) {}
  void* contents() const override { return contents_; }
  size_t bytes() const override { return bytes_; }
  id object() const { return object_.get(); }

 private:
  Owned object_;
  size_t bytes_;
  void* contents_;
};

class MetalPipeline final : public Pipeline {
 public:
  MetalPipeline(Owned state, std::string name)
      : state_(std::move(state)),
        name_(std::move(name)),
        max_threads_(static_cast<uint32_t>(send<"maxTotalThreadsPerThreadgroup", NSUInteger>(state_.get()))),
        simd_width_(static_cast<uint32_t>(send<"threadExecutionWidth", NSUInteger>(state_.get()))) {}
  uint32_t max_threads() const override { return max_threads_; }
  uint32_t simd_width() const override { return simd_width_; }
  size_t threadgroup_bytes() const override { return send<"staticThreadgroupMemoryLength", NSUInteger>(state_.get()); }
  const std::string& name() const { return name_; }
  id state() const { return state_.get(); }

 private:
  Owned state_;
  std::string name_;
  uint32_t max_threads_, simd_width_;
};

class MetalLibrary final : public Library {
 public:
  MetalLibrary(id device, Owned library) : device_(device), library_(std::move(library)) {}
  std::unique_ptr<Pipeline> pipeline(const std::string& kernel, const std::vector<Constant>& constants) override {
    const AutoreleasePool pool;
    const Owned values = create("MTLFunctionConstantValues");
    for (const auto& constant : constants)
      send<"setConstantValue:type:atIndex:", void>(values.get(), static_cast<const void*>(constant.bits),
                                                   data_type(constant.type), static_cast<NSUInteger>(constant.index));
    id error = nullptr;
    const Owned function(send<"newFunctionWithName:constantValues:error:">(library_.get(), ns_string(kernel.c_str()),
                                                                           values.get(), &error));
    if (!function) fail("the GPU has no kernel %s: %s", kernel.c_str(), description(error).c_str());
    Owned state(send<"newComputePipelineStateWithFunction:error:">(device_, function.get(), &error));
    if (!state) fail("the GPU cannot run the kernel %s: %s", kernel.c_str(), description(error).c_str());
    return std::make_unique<MetalPipeline>(std::move(state), kernel);
  }

 private:
  id device_;
  Owned library_;
};

class MetalCommandBuffer final : public CommandBuffer {
 public:
  explicit MetalCommandBuffer(id queue) {
    const AutoreleasePool pool;
    buffer_ = retained(send<"commandBufferWithUnretainedReferences">(queue));
    if (!buffer_) fail("the GPU takes no more work");
    encoder_ = retained(send<"computeCommandEncoderWithDispatchType:">(buffer_.get(), NSUInteger{kConcurrentDispatch}));
    if (!encoder_) fail("the GPU takes no more work");
  }
  ~MetalCommandBuffer() override {
    if (!committed_) send<"endEncoding", void>(encoder_.get());
    else if (!waited_) send<"waitUntilCompleted", void>(buffer_.get());
  }

  void pipeline(const Pipeline& pipeline) override {
    pipeline_ = static_cast<const MetalPipeline*>(&pipeline);
    send<"setComputePipelineState:", void>(encoder_.get(), pipeline_->state());
  }
  void buffer(int index, const View& view) override {
    const auto* buffer = static_cast<const MetalBuffer*>(view.buffer);
    if (!buffer || view.offset + view.bytes > buffer->bytes()) fail("a view past the end of a GPU buffer");
    send<"setBuffer:offset:atIndex:", void>(encoder_.get(), buffer->object(), NSUInteger{view.offset},
                                            static_cast<NSUInteger>(index));
    if (runtime().buffer_extent) runtime().buffer_extent(encoder_.get(), static_cast<NSUInteger>(index), view.bytes);
  }
  void bytes(int index, const void* data, size_t count) override {
    if (count == 0 || count > kMaxBytes) fail("%zu bytes of arguments, of at most %zu", count, kMaxBytes);
    send<"setBytes:length:atIndex:", void>(encoder_.get(), data, NSUInteger{count}, static_cast<NSUInteger>(index));
  }
  void dispatch(Size threadgroups, Size threads) override {
    const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
    if (!pipeline_) fail("a dispatch without a pipeline");
    if (count == 0 || count > pipeline_->max_threads())
      fail("kernel %s: %llu threads a threadgroup, of at most %u", pipeline_->name().c_str(),
           static_cast<unsigned long long>(count), pipeline_->max_threads());
    send<"dispatchThreadgroups:threadsPerThreadgroup:", void>(encoder_.get(),
                                                              MTLSize{threadgroups.x, threadgroups.y, threadgroups.z},
                                                              MTLSize{threads.x, threads.y, threads.z});
  }
  void barrier() override { send<"memoryBarrierWithScope:", void>(encoder_.get(), NSUInteger{kBuffers}); }
  void commit() override {
    send<"endEncoding", void>(encoder_.get());
    send<"commit", void>(buffer_.get());
    committed_ = true;
  }
  void wait() override {
    const AutoreleasePool pool;
    send<"waitUntilCompleted", void>(buffer_.get());
    waited_ = true;
    if (send<"status", NSUInteger>(buffer_.get()) == kFailed)
      fail("the GPU failed: %s", description(send<"error">(buffer_.get())).c_str());
  }
  double seconds() const override {
    return send<"GPUEndTime", double>(buffer_.get()) - send<"GPUStartTime", double>(buffer_.get());
  }

 private:
  Owned buffer_, encoder_;
  const MetalPipeline* pipeline_ = nullptr;
  bool committed_ = false, waited_ = false;
};

class MetalDevice final : public Device {
 public:
  explicit MetalDevice(id device) : device_(device) {
    const AutoreleasePool pool;
    queue_ = Owned(send<"newCommandQueue">(device));
    if (!queue_) fail("the GPU has no free queue");
    info_.name = to_string(send<"name">(device));
    info_.max_buffer_bytes = send<"maxBufferLength", NSUInteger>(device);
    info_.working_set_bytes = send<"recommendedMaxWorkingSetSize", NSUInteger>(device);
    info_.unified_memory = send<"hasUnifiedMemory", bool>(device);
    info_.apple_family = 0;
    for (NSInteger n = 1; n <= kNewestFamily; n++)
      if (send<"supportsFamily:", bool>(device, kFamilyApple1 + n - 1)) info_.apple_family = static_cast<int>(n);
    residency_sets_ = responds<"newResidencySetWithDescriptor:error:">(device);
  }
  ~MetalDevice() override { release_residency(); }

  const DeviceInfo& info() const override { return info_; }

  std::unique_ptr<Buffer> buffer(size_t bytes) override {
    const AutoreleasePool pool;
    Owned object(bytes <= info_.max_buffer_bytes ? send<"newBufferWithLength:options:">(
                                                       device_.get(), NSUInteger{std::max<size_t>(bytes, 1)}, kShared)
                                                 : nullptr);
    if (!object) fail("the GPU has no memory for a buffer of %zu MB", bytes >> 20);
    return std::make_unique<MetalBuffer>(std::move(object), bytes);
  }
  std::unique_ptr<Buffer> wrap(const void* data, size_t bytes) override {
    const AutoreleasePool pool;
    // No kernel writes to this memory: all of them take weights as `device const`.
    Owned object(send<"newBufferWithBytesNoCopy:length:options:deallocator:">(
        device_.get(), const_cast<void*>(data), NSUInteger{bytes}, kShared | kUntracked, nullptr));
    if (!object) fail("%zu MB of the model's file cannot be mapped for the GPU", bytes >> 20);
    return std::make_unique<MetalBuffer>(std::move(object), bytes);
  }
  size_t page_bytes() const override {
#ifdef _WIN32
    return 4096;
#else
    return static_cast<size_t>(sysconf(_SC_PAGESIZE));
#endif
  }

  std::unique_ptr<Library> library(const std::string& name, const char* text) override {
    const AutoreleasePool pool;
    const Owned options = create("MTLCompileOptions");
    send<"setLanguageVersion:", void>(options.get(), kMetal3_0);
    // Fast math would break two things: kernels use infinities, and a row's bits must be the same whatever other rows
    // are in the step.
    if (responds<"setMathMode:">(options.get())) send<"setMathMode:", void>(options.get(), kSafeMath);
    else send<"setFastMathEnabled:", void>(options.get(), false);
    id error = nullptr;
    Owned library(send<"newLibraryWithSource:options:error:">(device_.get(), ns_string(text), options.get(), &error));
    if (!library) fail("the system's Metal compiler rejects %s: %s", name.c_str(), description(error).c_str());
    return std::make_unique<MetalLibrary>(device_.get(), std::move(library));
  }
  std::unique_ptr<CommandBuffer> command_buffer() override {
    return std::make_unique<MetalCommandBuffer>(queue_.get());
  }

  void keep_resident(const std::vector<const Buffer*>& buffers) override {
    if (!residency_sets_) return;
    const AutoreleasePool pool;
    if (!residency_) {
      const Owned descriptor = create("MTLResidencySetDescriptor");
      id error = nullptr;
      residency_ = Owned(send<"newResidencySetWithDescriptor:error:">(device_.get(), descriptor.get(), &error));
      if (!residency_) return;
      send<"addResidencySet:", void>(queue_.get(), residency_.get());
    }
    for (const auto* buffer : buffers)
      send<"addAllocation:", void>(residency_.get(), static_cast<const MetalBuffer*>(buffer)->object());
    send<"commit", void>(residency_.get());
    send<"requestResidency", void>(residency_.get());
  }
  void release_residency() override {
    if (!residency_) return;
    send<"endResidency", void>(residency_.get());
    send<"removeResidencySet:", void>(queue_.get(), residency_.get());
    residency_ = Owned();
  }

 private:
  Owned device_, queue_, residency_;
  DeviceInfo info_;
  bool residency_sets_;  ///< whether the system has them, as macOS 15 and newer do
};

}  // namespace

std::unique_ptr<Device> open_device(std::string* why_not) {
  if (!runtime().message_send) {
    *why_not = runtime().error;
    return nullptr;
  }
  try {
    const AutoreleasePool pool;
    const id device = runtime().create_device();
    if (!device) {
      *why_not = "the system has no Metal device";
      return nullptr;
    }
    return std::make_unique<MetalDevice>(device);
  } catch (const Error& error) {
    *why_not = error.what();
    return nullptr;
  }
}

}  // namespace hearth::gpu
