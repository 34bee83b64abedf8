// Metal in C++: the classes and methods that the host code uses. Command buffers run on the emulator.
#include "fake_metal.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "fake_objc.h"

namespace hearth::fake {

Settings& settings() {
  static Settings all = [] {
    Settings s;
    s.page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const char* list = getenv("HEARTH_FAKE_METAL");
    for (const char* at = list; at && *at;) {
      const char* end = strchrnul(at, ',');
      const std::string item(at, end);
      const std::string name = item.substr(0, item.find('=')),
                        value = item.substr(std::min(item.size(), name.size() + 1));
      const auto number = static_cast<size_t>(strtoull(value.c_str(), nullptr, 10));
      if (name == "order")
        s.order = value == "reverse"  ? msl::LaneOrder::reverse
                  : value == "random" ? msl::LaneOrder::random
                                      : msl::LaneOrder::natural;
      else if (name == "seed") s.seed = static_cast<uint32_t>(number);
      else if (name == "max-threads") s.max_threads = static_cast<uint32_t>(number);
      else if (name == "max-buffer") s.max_buffer_bytes = number;
      else if (name == "page") s.page_bytes = number;
      else if (name == "family") s.apple_family = static_cast<int>(number);
      else if (name == "device") s.device = number != 0;
      else if (name == "residency-sets") s.residency_sets = number != 0;
      else if (name == "math-mode") s.math_mode = number != 0;
      else if (name == "compile-error") s.compile_error = value;
      else if (name == "failing-command-buffer") s.failing_command_buffer = static_cast<int>(number);
      else if (name == "gpu-seconds") s.gpu_seconds = strtod(value.c_str(), nullptr);
      else if (name == "wrong") s.wrong.insert(value);
      else mistake("unknown setting " + item + " in HEARTH_FAKE_METAL");
      at = *end ? end + 1 : end;
    }
    return s;
  }();
  return all;
}
Counts& counts() {
  static Counts all;
  return all;
}

namespace {

using objc::MTLSize;
using objc::NSInteger;
using objc::NSUInteger;
using objc::SEL;

struct Device : Object {};
struct Queue : Object {};
struct Buffer : Object {
  unsigned char* data = nullptr;
  size_t bytes = 0;
  bool owned = false;
  void end() override {
    if (owned) free(data);
  }
};
struct CompileOptions : Object {
  NSUInteger language_version = 0;
  bool safe_math = false;
};
struct Library : Object {
  const char* file = nullptr;
};
struct ConstantValues : Object {
  struct Value {
    NSUInteger type;
    std::string bits;
  };
  std::map<int, Value> values;
};
struct Function : Object {
  const msl::KernelInfo* kernel = nullptr;
  std::map<int, ConstantValues::Value> constants;
};
struct Pipeline : Object {
  const msl::KernelInfo* kernel = nullptr;
  std::map<int, ConstantValues::Value> constants;
  size_t threadgroup_bytes = 0;
};
struct ResidencySet : Object {
  std::vector<Object*> allocations;
  bool committed = true;
};
struct Descriptor : Object {};

struct Bound {
  Buffer* buffer = nullptr;
  size_t offset = 0, extent = 0;
  std::vector<unsigned char> bytes;
  bool set = false;
};
struct Dispatch {
  Pipeline* pipeline = nullptr;
  Bound buffers[msl::kMaxBindings];
  size_t threadgroup_bytes[msl::kMaxBindings] = {};
  msl::Size3 groups, threads;
  int interval;  // dispatches with the same number may run at the same time
};
enum Status : NSUInteger { kNotEnqueued = 0, kCommitted = 2, kScheduled = 3, kCompleted = 4, kFailed = 5 };
struct CommandBuffer : Object {
  int number = 0;
  bool encoding = false, encoded = false;
  NSUInteger status = kNotEnqueued;
  int interval = 0;
  std::vector<Dispatch> dispatches;
  std::string error;
  double started = 0, ended = 0;  ///< seconds
  void end() override {
    if (encoding) mistake("a command buffer was released before endEncoding");
    if (status == kCommitted) mistake("a command buffer without retained references was released in flight");
  }
};
struct Encoder : Object {
  CommandBuffer* commands = nullptr;
  bool concurrent = false, ended = false;
  Dispatch next;
  void end() override {
    if (!ended) mistake("an encoder was released before endEncoding");
  }
};

std::deque<CommandBuffer*> in_flight;

uint64_t hash(const char* text) {  // FNV-1a, as generate.mjs
  uint64_t value = 14695981039346656037ull;
  for (; *text; text++) value = (value ^ static_cast<unsigned char>(*text)) * 1099511628211ull;
  return value;
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

msl::Arguments bind(const Dispatch& d) {
  const msl::KernelInfo& kernel = *d.pipeline->kernel;
  const std::string name = std::string("kernel ") + kernel.name + ": ";
  msl::Arguments arguments{};
  for (int i = 0; i < msl::kMaxBindings; i++) {
    if ((kernel.threadgroup_slots >> i & 1) && !d.threadgroup_bytes[i])
      mistake(name + "threadgroup memory " + std::to_string(i) + " has no length");
    if (!(kernel.buffers >> i & 1)) continue;
    const Bound& bound = d.buffers[i];
    if (!bound.set) mistake(name + "buffer " + std::to_string(i) + " is not bound");
    if (!bound.buffer) {
      if (kernel.written >> i & 1)
        mistake(name + "buffer " + std::to_string(i) + " is written, but bound with setBytes");
      arguments.buffers[i] = {const_cast<unsigned char*>(bound.bytes.data()), bound.bytes.size()};
      continue;
    }
    if (!is_live(bound.buffer))
      mistake(name + "buffer " + std::to_string(i) + " was freed before the command buffer ran");
    arguments.buffers[i] = {bound.buffer->data + bound.offset, bound.extent};
    if (bound.offset % kernel.alignment(i))
      mistake(name + "the offset of buffer " + std::to_string(i) + " is not a multiple of its type's " +
              std::to_string(kernel.alignment(i)) + " bytes");
  }
  return arguments;
}
void run(CommandBuffer* commands) {
  counts().command_buffers++;
  commands->started = commands->ended = seconds();
  if (commands->number == settings().failing_command_buffer) {
    commands->status = kFailed;
    commands->error = "Caused GPU Hang Error (as the settings of fake Metal ask for)";
    return;
  }
  int previous = -1;
  for (const auto& d : commands->dispatches) {
    if (!is_live(d.pipeline)) mistake("a pipeline was freed before the command buffer ran");
    const msl::Arguments arguments = bind(d);
    msl::reset_constants();
    for (const auto& [index, value] : d.pipeline->constants)
      msl::set_constant(d.pipeline->kernel->file, index, value.bits.data(), value.bits.size());
    msl::DispatchOptions options;
    options.order = settings().order;
    options.seed = settings().seed++;
    options.concurrent_with_previous = d.interval == previous;
    previous = d.interval;
    msl::DispatchStats stats;
    const std::string error =
        msl::dispatch(*d.pipeline->kernel, arguments, d.threadgroup_bytes, d.groups, d.threads, options, &stats);
    d.pipeline->threadgroup_bytes = std::max(d.pipeline->threadgroup_bytes, stats.threadgroup_bytes);
    counts().dispatches++;
    counts().threads += stats.threads;
    if (!error.empty()) {
      fprintf(stderr, "fake Metal: %s\n", error.c_str());
      commands->status = kFailed;
      commands->error = error;
      return;
    }
  }
  commands->status = kCompleted;
  commands->ended = settings().gpu_seconds > 0 ? commands->started + settings().gpu_seconds : seconds();
}
/// Runs what was committed, in order, up to `last` and including it.
void run_until(CommandBuffer* last) {
  while (!in_flight.empty()) {
    CommandBuffer* commands = in_flight.front();
    in_flight.pop_front();
    run(commands);
    const bool done = commands == last;
    release(commands);
    if (done) return;
  }
}

// ---- Foundation ----

Object* ns_string(Object*, SEL, const char* text) {
  auto* string = make<String>("NSString");
  string->text = text;
  return autorelease(string);
}
const char* utf8_string(Object* self, SEL) { return as<String>(self)->text.c_str(); }
Object* localized_description(Object* self, SEL) { return ns_string(nullptr, nullptr, as<Error>(self)->text.c_str()); }
Object* make_error(const std::string& text) {
  auto* error = make<Error>("NSError");
  error->text = text;
  return autorelease(error);
}

// ---- device ----

Object* device_name(Object*, SEL) { return ns_string(nullptr, nullptr, "fake Metal on the CPU"); }
NSUInteger max_buffer_length(Object*, SEL) { return settings().max_buffer_bytes; }
NSUInteger working_set(Object*, SEL) { return size_t{16} << 30; }
bool unified_memory(Object*, SEL) { return true; }
bool supports_family(Object*, SEL, NSInteger family) {
  return family > 1000 && family <= 1000 + settings().apple_family;
}
Object* new_queue(Object*, SEL) { return make<Queue>("MTLCommandQueue"); }
Object* new_buffer(Object*, SEL, NSUInteger bytes, NSUInteger options) {
  if (bytes == 0) mistake("newBufferWithLength: of 0 bytes");
  if (bytes > settings().max_buffer_bytes) return nullptr;
  if (options & ~NSUInteger{0x100}) mistake("unknown resource options");
  auto* buffer = make<Buffer>("MTLBuffer");
  buffer->data = static_cast<unsigned char*>(aligned_alloc(256, (bytes + 255) / 256 * 256));
  if (!buffer->data) mistake("this machine has no memory for the buffer");
  memset(buffer->data, 0xff, bytes);  // NaN until written
  buffer->bytes = bytes;
  buffer->owned = true;
  return buffer;
}
Object* new_buffer_no_copy(Object*, SEL, void* data, NSUInteger bytes, NSUInteger options, std::nullptr_t) {
  if (reinterpret_cast<uintptr_t>(data) % settings().page_bytes || bytes % settings().page_bytes || bytes == 0)
    mistake("newBufferWithBytesNoCopy: pointer and length must be multiples of the page size");
  if (options & ~NSUInteger{0x100}) mistake("no-copy memory can only be shared");
  if (bytes > settings().max_buffer_bytes) return nullptr;
  auto* buffer = make<Buffer>("MTLBuffer");
  buffer->data = static_cast<unsigned char*>(data);
  buffer->bytes = bytes;
  return buffer;
}
void* contents(Object* self, SEL) { return as<Buffer>(self)->data; }
Object* new_library(Object*, SEL, Object* text, Object* given, Object** error) {
  auto* options = as<CompileOptions>(given);
  if (!text) mistake("nil source");
  if (options->language_version != 3 << 16) mistake("the language version is not the one that kernels are checked for");
  if (!options->safe_math) mistake("kernels are tested with safe math only");
  if (!settings().compile_error.empty()) {
    *error = make_error(settings().compile_error);
    return nullptr;
  }
  const uint64_t wanted = hash(as<String>(text)->text.c_str());
  for (const auto& source : msl::Registry::get().sources)
    if (source.hash == wanted) {
      auto* library = make<Library>("MTLLibrary");
      library->file = source.file;
      return library;
    }
  mistake("the Metal source handed to the device is not the text these kernels were compiled from");
}
void set_language_version(Object* self, SEL, NSUInteger version) {
  as<CompileOptions>(self)->language_version = version;
}
void set_math_mode(Object* self, SEL, NSInteger mode) { as<CompileOptions>(self)->safe_math = mode == 0; }
void set_fast_math(Object* self, SEL, bool fast) { as<CompileOptions>(self)->safe_math = !fast; }
void set_constant_value(Object* self, SEL, const void* value, NSUInteger type, NSUInteger index) {
  const size_t bytes = type == 53 ? 1 : type == 41 || type == 37 ? 2 : type == 3 || type == 29 || type == 33 ? 4 : 0;
  if (!bytes) mistake("a function constant of an unknown data type");
  as<ConstantValues>(self)->values[static_cast<int>(index)] = {type,
                                                               std::string(static_cast<const char*>(value), bytes)};
}
Object* new_function(Object* self, SEL, Object* name, Object* values, Object** error) {
  auto* library = as<Library>(self);
  const msl::KernelInfo* kernel = msl::Registry::get().find(as<String>(name)->text, library->file);
  if (!kernel) {
    *error = make_error("Function " + as<String>(name)->text + " was not found in the library");
    return nullptr;
  }
  if (settings().wrong.count(as<String>(name)->text)) {
    kernel = msl::Registry::get().find("wrong_" + as<String>(name)->text, nullptr);
    if (!kernel) mistake("no wrong_" + as<String>(name)->text + " is linked in");
  }
  static const std::map<std::string, NSUInteger> types = {{"bool", 53},    {"float", 3},    {"int", 29},
                                                          {"uint", 33},    {"short", 37},   {"ushort", 41},
                                                          {"int32_t", 29}, {"uint32_t", 33}};
  for (const auto& [index, value] : as<ConstantValues>(values)->values) {
    const msl::FunctionConstant* declared = nullptr;
    for (const auto* constant : msl::Registry::get().constants)
      if (constant->index == index && !strcmp(constant->file, library->file)) declared = constant;
    if (!declared) mistake(std::string(library->file) + " has no function constant " + std::to_string(index));
    const auto type = types.find(declared->type);
    if (type == types.end() || type->second != value.type)
      mistake(std::string("function constant ") + declared->name + " is a " + declared->type + ", set as another type");
  }
  auto* function = make<Function>("MTLFunction");
  function->kernel = kernel;
  function->constants = as<ConstantValues>(values)->values;
  return function;
}
Object* new_pipeline(Object*, SEL, Object* given, Object**) {
  auto* function = as<Function>(given);
  auto* pipeline = make<Pipeline>("MTLComputePipelineState");
  pipeline->kernel = function->kernel;
  pipeline->constants = function->constants;
  return pipeline;
}
NSUInteger max_threads(Object* self, SEL) {
  return std::min(settings().max_threads, as<Pipeline>(self)->kernel->max_threads);
}
NSUInteger execution_width(Object*, SEL) { return msl::kSimdWidth; }
NSUInteger static_threadgroup_memory(Object* self, SEL) { return as<Pipeline>(self)->threadgroup_bytes; }

Object* new_residency_set(Object*, SEL, Object* descriptor, Object**) {
  as<Descriptor>(descriptor);
  return make<ResidencySet>("MTLResidencySet");
}
void add_allocation(Object* self, SEL, Object* buffer) {
  as<ResidencySet>(self)->allocations.push_back(as<Buffer>(buffer));
  as<ResidencySet>(self)->committed = false;
}
void commit_residency(Object* self, SEL) { as<ResidencySet>(self)->committed = true; }
void request_residency(Object* self, SEL) {
  if (!as<ResidencySet>(self)->committed) mistake("requestResidency before commit");
}
void end_residency(Object* self, SEL) { as<ResidencySet>(self); }
void add_or_remove_set(Object* self, SEL, Object* set) {
  as<Queue>(self);
  as<ResidencySet>(set);
}

// ---- commands ----

Object* command_buffer(Object* self, SEL) {
  static int number = 0;
  as<Queue>(self);
  auto* commands = make<CommandBuffer>("MTLCommandBuffer");
  commands->number = number++;
  return autorelease(commands);
}
Object* new_encoder(Object* self, SEL, NSUInteger type) {
  auto* commands = as<CommandBuffer>(self);
  if (commands->encoding) mistake("a second encoder before endEncoding");
  if (commands->status != kNotEnqueued) mistake("an encoder after commit");
  auto* encoder = make<Encoder>("MTLComputeCommandEncoder");
  encoder->commands = static_cast<CommandBuffer*>(retain(commands));
  encoder->concurrent = type == 1;
  commands->encoding = true;
  return autorelease(encoder);
}
Encoder* open_encoder(Object* self) {
  auto* encoder = as<Encoder>(self);
  if (encoder->ended) mistake("encoding after endEncoding");
  return encoder;
}
size_t checked_index(NSUInteger index) {
  if (index >= msl::kMaxBindings) mistake("buffer index over 30");
  return index;
}
void set_pipeline(Object* self, SEL, Object* pipeline) { open_encoder(self)->next.pipeline = as<Pipeline>(pipeline); }
void set_buffer(Object* self, SEL, Object* given, NSUInteger offset, NSUInteger index) {
  auto* buffer = as<Buffer>(given);
  if (offset >= buffer->bytes) mistake("a buffer offset past the end");
  Bound& bound = open_encoder(self)->next.buffers[checked_index(index)];
  bound.buffer = buffer;
  bound.offset = offset;
  bound.extent = buffer->bytes - offset;
  bound.set = true;
}
void set_bytes(Object* self, SEL, const void* data, NSUInteger count, NSUInteger index) {
  if (count > 4096) mistake("setBytes: over 4 KiB");
  Bound& bound = open_encoder(self)->next.buffers[checked_index(index)];
  const auto* bytes = static_cast<const unsigned char*>(data);
  bound.buffer = nullptr;
  bound.bytes.assign(bytes, bytes + count);
  bound.set = true;
}
void set_threadgroup_memory(Object* self, SEL, NSUInteger count, NSUInteger index) {
  if (count % 16) mistake("threadgroup memory length not a multiple of 16");
  open_encoder(self)->next.threadgroup_bytes[checked_index(index)] = count;
}
void dispatch(Object* self, SEL, MTLSize groups, MTLSize threads) {
  auto* encoder = open_encoder(self);
  Dispatch& next = encoder->next;
  if (!next.pipeline) mistake("a dispatch without a pipeline");
  const std::string name = std::string("kernel ") + next.pipeline->kernel->name + ": ";
  if (groups.width * groups.height * groups.depth == 0) mistake(name + "an empty grid");
  if (threads.width * threads.height * threads.depth > max_threads(next.pipeline, nullptr))
    mistake(name + "more threads than maxTotalThreadsPerThreadgroup");
  const auto size = [](MTLSize s) {
    return msl::Size3{static_cast<uint32_t>(s.width), static_cast<uint32_t>(s.height), static_cast<uint32_t>(s.depth)};
  };
  next.groups = size(groups);
  next.threads = size(threads);
  next.interval = encoder->concurrent ? encoder->commands->interval : encoder->commands->interval++;
  encoder->commands->dispatches.push_back(next);
}
void memory_barrier(Object* self, SEL, NSUInteger scope) {
  if (scope != 1) mistake("a memory barrier whose scope is not buffers");
  open_encoder(self)->commands->interval++;
  counts().barriers++;
}
void end_encoding(Object* self, SEL) {
  auto* encoder = open_encoder(self);
  encoder->ended = true;
  encoder->commands->encoding = false;
  encoder->commands->encoded = true;
  release(encoder->commands);
}
void commit(Object* self, SEL) {
  auto* commands = as<CommandBuffer>(self);
  if (!commands->encoded) mistake("commit before endEncoding");
  if (commands->status != kNotEnqueued) mistake("committed twice");
  commands->status = kCommitted;
  // The command buffer runs as late as possible, when somebody waits for it. So a result that is read before is stale,
  // and an object that is freed before is noticed.
  in_flight.push_back(static_cast<CommandBuffer*>(retain(commands)));
}
void wait_until_completed(Object* self, SEL) {
  auto* commands = as<CommandBuffer>(self);
  if (commands->status == kNotEnqueued) mistake("a wait before commit");
  if (commands->status == kCommitted) run_until(commands);
}
NSUInteger status(Object* self, SEL) { return as<CommandBuffer>(self)->status; }
Object* command_buffer_error(Object* self, SEL) {
  auto* commands = as<CommandBuffer>(self);
  return commands->status == kFailed ? make_error(commands->error) : nullptr;
}
const CommandBuffer& finished(Object* self) {
  const auto* commands = as<CommandBuffer>(self);
  if (commands->status < kCompleted) mistake("GPU times before the command buffer has finished");
  return *commands;
}
double start_time(Object* self, SEL) { return finished(self).started; }
double end_time(Object* self, SEL) { return finished(self).ended; }
void buffer_extent(objc::id self, NSUInteger index, size_t bytes) {
  open_encoder(reinterpret_cast<Object*>(self))->next.buffers[index].extent = bytes;
}

objc::id create_device() { return settings().device ? reinterpret_cast<objc::id>(make<Device>("MTLDevice")) : nullptr; }

/// The declarations, as Apple's headers have them.
void declare_classes() {
  declare_foundation();
  class_method<ns_string>("NSString", "stringWithUTF8String:", "@@:r*");
  method<utf8_string>("NSString", "UTF8String", "r*@:");
  method<localized_description>("NSError", "localizedDescription", "@@:");

  const char* device = "MTLDevice";
  method<device_name>(device, "name", "@@:");
  method<max_buffer_length>(device, "maxBufferLength", "Q@:");
  method<working_set>(device, "recommendedMaxWorkingSetSize", "Q@:");
  method<unified_memory>(device, "hasUnifiedMemory", "B@:");
  method<supports_family>(device, "supportsFamily:", "B@:q");
  method<new_queue>(device, "newCommandQueue", "@@:");
  method<new_buffer>(device, "newBufferWithLength:options:", "@@:QQ");
  method<new_buffer_no_copy>(device, "newBufferWithBytesNoCopy:length:options:deallocator:", "@@:^vQQ@?");
  method<new_library>(device, "newLibraryWithSource:options:error:", "@@:@@^@");
  method<new_pipeline>(device, "newComputePipelineStateWithFunction:error:", "@@:@^@");
  method<contents>("MTLBuffer", "contents", "^v@:");

  creatable<CompileOptions>("MTLCompileOptions");
  method<set_language_version>("MTLCompileOptions", "setLanguageVersion:", "v@:Q");
  method<set_fast_math>("MTLCompileOptions", "setFastMathEnabled:", "v@:B");
  if (settings().math_mode) method<set_math_mode>("MTLCompileOptions", "setMathMode:", "v@:q");
  creatable<ConstantValues>("MTLFunctionConstantValues");
  method<set_constant_value>("MTLFunctionConstantValues", "setConstantValue:type:atIndex:", "v@:r^vQQ");
  method<new_function>("MTLLibrary", "newFunctionWithName:constantValues:error:", "@@:@@^@");
  const char* pipeline = "MTLComputePipelineState";
  method<max_threads>(pipeline, "maxTotalThreadsPerThreadgroup", "Q@:");
  method<execution_width>(pipeline, "threadExecutionWidth", "Q@:");
  method<static_threadgroup_memory>(pipeline, "staticThreadgroupMemoryLength", "Q@:");

  if (settings().residency_sets) {
    creatable<Descriptor>("MTLResidencySetDescriptor");
    method<new_residency_set>(device, "newResidencySetWithDescriptor:error:", "@@:@^@");
    method<add_allocation>("MTLResidencySet", "addAllocation:", "v@:@");
    method<commit_residency>("MTLResidencySet", "commit", "v@:");
    method<request_residency>("MTLResidencySet", "requestResidency", "v@:");
    method<end_residency>("MTLResidencySet", "endResidency", "v@:");
    method<add_or_remove_set>("MTLCommandQueue", "addResidencySet:", "v@:@");
    method<add_or_remove_set>("MTLCommandQueue", "removeResidencySet:", "v@:@");
  }

  method<command_buffer>("MTLCommandQueue", "commandBufferWithUnretainedReferences", "@@:");
  const char* commands = "MTLCommandBuffer";
  method<new_encoder>(commands, "computeCommandEncoderWithDispatchType:", "@@:Q");
  method<commit>(commands, "commit", "v@:");
  method<wait_until_completed>(commands, "waitUntilCompleted", "v@:");
  method<status>(commands, "status", "Q@:");
  method<command_buffer_error>(commands, "error", "@@:");
  method<start_time>(commands, "GPUStartTime", "d@:");
  method<end_time>(commands, "GPUEndTime", "d@:");
  const char* encoder = "MTLComputeCommandEncoder";
  method<set_pipeline>(encoder, "setComputePipelineState:", "v@:@");
  method<set_buffer>(encoder, "setBuffer:offset:atIndex:", "v@:@QQ");
  method<set_bytes>(encoder, "setBytes:length:atIndex:", "v@:r^vQQ");
  method<set_threadgroup_memory>(encoder, "setThreadgroupMemoryLength:atIndex:", "v@:QQ");
  method<dispatch>(encoder, "dispatchThreadgroups:threadsPerThreadgroup:", "v@:{?=QQQ}{?=QQQ}");
  method<memory_barrier>(encoder, "memoryBarrierWithScope:", "v@:Q");
  method<end_encoding>(encoder, "endEncoding", "v@:");
}

}  // namespace
}  // namespace hearth::fake

namespace hearth::objc {

const Runtime& runtime() {
  static const Runtime r = [] {
    fake::declare_classes();
    Runtime fake = fake::objective_c();
    fake.create_device = fake::create_device;
    fake.buffer_extent = fake::buffer_extent;
    return fake;
  }();
  return r;
}

}  // namespace hearth::objc
