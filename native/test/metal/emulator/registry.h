// What a generated kernel file needs besides the shim: the registry of its kernels and function constants, threadgroup
// variables, and the conversion of bound arguments to kernel parameters. This file includes nothing from the C or C++
// library, because names such as ::exp(float) would become visible to kernels.
#pragma once

typedef unsigned int uint32_t;
typedef unsigned long uint64_t;

namespace msl {

constexpr int kMaxBindings = 31;

struct Size3 {
  uint32_t x, y, z;
};
/// A bound buffer. The kernel may touch `bytes` bytes from `data` on, and the memory checker reports anything beyond.
struct Binding {
  void* data;
  __SIZE_TYPE__ bytes;
};
struct Arguments {
  Binding buffers[kMaxBindings];
  void* threadgroup[kMaxBindings];
};
/// Everything a thread can ask about its position, by MSL attribute.
struct ThreadPosition {
  Size3 in_grid, in_threadgroup, threadgroup, threads_per_threadgroup, threads_per_grid, threadgroups_per_grid;
  uint32_t lane, simdgroup, simdgroups, index;
};
typedef void (*EntryPoint)(const Arguments&, const ThreadPosition&);

struct KernelInfo {
  const char* name;
  EntryPoint entry;
  /// Bit i says that the kernel has a parameter [[buffer(i)]], or [[threadgroup(i)]].
  uint32_t buffers, threadgroup_slots;
  /// The bits of those buffers that are `device` and not const.
  uint32_t written;
  /// Alignment in bytes of what [[buffer(index)]] points to.
  uint32_t (*alignment)(int index);
  uint32_t max_threads;  ///< [[max_total_threads_per_threadgroup]] or 1024
  const char* file;
  int line;
};
struct FunctionConstant {
  const char* file;
  const char* name;
  const char* type;
  int index;
  void* address;
  uint32_t bytes;
  bool defined;
};
/// A .metal file with the FNV-1a hash of its text. The hash tells whether a text given to a device is the one that
/// these kernels were made from.
struct SourceInfo {
  const char* file;
  uint64_t hash;
};

void register_kernel(const KernelInfo&);
void register_constant(FunctionConstant*);
void register_source(const SourceInfo&);

struct KernelEntry {
  KernelEntry(const KernelInfo& kernel) { register_kernel(kernel); }
};
struct SourceEntry {
  SourceEntry(const char* file, uint64_t hash) { register_source({file, hash}); }
};
struct ConstantEntry : FunctionConstant {
  ConstantEntry(const char* file, const char* name, const char* type, int index, void* address, uint32_t bytes)
      : FunctionConstant{file, name, type, index, address, bytes, false} {
    register_constant(this);
  }
};
bool constant_defined(const void* address);

/// Storage of a threadgroup variable in the running threadgroup; `key` names the variable.
void* threadgroup_variable(const void* key, __SIZE_TYPE__ bytes, __SIZE_TYPE__ alignment, const char* name);

template <class T> struct VariableKey {
  static char key;
};
template <class T> char VariableKey<T>::key;
template <int Id, class T> struct VariableTag {};
template <int Id, class T> inline T& threadgroup_variable(const char* name) {
  return *static_cast<T*>(threadgroup_variable(&VariableKey<VariableTag<Id, T>>::key, sizeof(T), alignof(T), name));
}

// These types say where a kernel parameter comes from.
namespace from {
template <int I> struct Buffer {};
template <int I> struct Threadgroup {};
struct thread_position_in_grid {};
struct threadgroup_position_in_grid {};
struct thread_position_in_threadgroup {};
struct thread_index_in_threadgroup {};
struct thread_index_in_simdgroup {};
struct simdgroup_index_in_threadgroup {};
struct simdgroups_per_threadgroup {};
struct threads_per_threadgroup {};
struct threadgroups_per_grid {};
struct threads_per_grid {};
struct threads_per_simdgroup {};
}  // namespace from

template <class P> struct Pointee {
  static P get(void* data) { return (P)data; }
};
template <class P> struct Pointee<P&> {
  static P& get(void* data) { return *(P*)data; }
};
template <class P> inline P to_position(Size3 value) {
  P position;
  if constexpr (sizeof(position) <= 4 && __is_integral(P)) {
    return (P)value.x;
  } else {
    position.d[0] = value.x;
    position.d[1] = value.y;
    if constexpr (sizeof(position) > 2 * sizeof(position.d[0])) position.d[2] = value.z;
    return position;
  }
}

template <class P, int I> inline decltype(auto) convert(from::Buffer<I>, const Arguments& a, const ThreadPosition&) {
  return Pointee<P>::get(a.buffers[I].data);
}
template <class P, int I> inline decltype(auto) convert(from::Threadgroup<I>, const Arguments& a,
                                                        const ThreadPosition&) {
  return Pointee<P>::get(a.threadgroup[I]);
}
#define MSL_POSITION(attribute, member)                                                             \
  template <class P> inline P convert(from::attribute, const Arguments&, const ThreadPosition& t) { \
    return to_position<P>(t.member);                                                                \
  }
MSL_POSITION(thread_position_in_grid, in_grid)
MSL_POSITION(threadgroup_position_in_grid, threadgroup)
MSL_POSITION(thread_position_in_threadgroup, in_threadgroup)
MSL_POSITION(threads_per_threadgroup, threads_per_threadgroup)
MSL_POSITION(threadgroups_per_grid, threadgroups_per_grid)
MSL_POSITION(threads_per_grid, threads_per_grid)
#undef MSL_POSITION
#define MSL_INDEX(attribute, value)                                                                 \
  template <class P> inline P convert(from::attribute, const Arguments&, const ThreadPosition& t) { \
    (void)t;                                                                                        \
    return (P)(value);                                                                              \
  }
MSL_INDEX(thread_index_in_threadgroup, t.index)
MSL_INDEX(thread_index_in_simdgroup, t.lane)
MSL_INDEX(simdgroup_index_in_threadgroup, t.simdgroup)
MSL_INDEX(simdgroups_per_threadgroup, t.simdgroups)
MSL_INDEX(threads_per_simdgroup, 32)
#undef MSL_INDEX

template <class P> struct AlignmentOf {
  static constexpr uint32_t value = 1;
};
template <class T> struct AlignmentOf<T*> {
  static constexpr uint32_t value = alignof(T);
};
template <class T> struct AlignmentOf<T&> {
  static constexpr uint32_t value = alignof(T);
};
template <> struct AlignmentOf<void*> {
  static constexpr uint32_t value = 1;
};
template <> struct AlignmentOf<const void*> {
  static constexpr uint32_t value = 1;
};
template <class Source> struct BufferIndex {
  static constexpr int value = -1;
};
template <int I> struct BufferIndex<from::Buffer<I>> {
  static constexpr int value = I;
};

template <class Function, class... Sources> struct Entry;
template <class... P, class... Sources> struct Entry<void(P...), Sources...> {
  static_assert(sizeof...(P) == sizeof...(Sources), "every kernel parameter needs an attribute");
  template <void (*Kernel)(P...)> static void call(const Arguments& a, const ThreadPosition& t) {
    Kernel(convert<P>(Sources{}, a, t)...);
  }
  static uint32_t alignment(int index) {
    uint32_t bytes = 1;
    ((bytes = BufferIndex<Sources>::value == index ? AlignmentOf<P>::value : bytes), ...);
    return bytes;
  }
};
template <class T> struct FunctionOf;
template <class R, class... A> struct FunctionOf<R (*)(A...)> {
  typedef R type(A...);
};

}  // namespace msl
