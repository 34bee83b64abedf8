// Finds races, accesses out of bounds, and reads of uninitialised threadgroup memory.
//
// Kernels are compiled with -fsanitize=thread, but linked with the callbacks below instead of that sanitizer's runtime.
// So every load and store of a kernel arrives here with its address. The rules are those of the GPU's memory model,
// whatever the threads of this machine do. If two threads access the same byte and one of them writes it, the following
// must lie between the accesses
//   - in one SIMD-group: a simdgroup_barrier or threadgroup_barrier with the flag of that memory,
//   - in one threadgroup: a threadgroup_barrier with the flag of that memory,
//   - in different threadgroups: the end of the dispatch and a memory barrier of the encoder.
#include "memory_checker.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "executor.h"

namespace msl::checker {
namespace {

/// Who accessed a byte last. Threadgroups are numbered over all dispatches. Epochs count barriers.
struct Cell {
  uint32_t write_group, write_simd_epoch, read_group, read_simd_epoch;
  uint16_t write_thread, write_epoch, read_thread, read_epoch;
  bool several_readers, several_simdgroups_read;
};
constexpr uintptr_t kPageCells = 4096;
struct Page {
  Cell cells[kPageCells];
};
struct Region {
  uintptr_t begin, end;
  const char* name;
  bool holds(uintptr_t address, size_t bytes) const { return address >= begin && address + bytes <= end; }
};
/// A write over another thread's write. It is judged after it has happened, because writing the same value twice is
/// harmless.
struct PendingWrite {
  bool on = false;
  uintptr_t address;
  size_t bytes;
  unsigned char before[16];
  void* caller;
  uint32_t other_thread;
};

enum Space { kDeviceSpace = 0, kThreadgroupSpace = 1 };

std::unordered_map<uintptr_t, Page*> pages;
uintptr_t last_page_number = ~uintptr_t{0};
Page* last_page;
std::vector<Region> buffers, threadgroup_regions, ignored, program;
uintptr_t threadgroup_begin_, threadgroup_end_;
uint32_t group = 0;        // number of the running threadgroup, from 1
uint32_t concurrent_from;  // first threadgroup without an encoder barrier before the running one
uint32_t epoch[2];         // threadgroup barriers passed, by Space
uint32_t simd_epoch[2][kMaxThreads];
PendingWrite pending;
const KernelInfo* kernel;
std::string first_report;
int reports;
bool active = false;

Cell& cell(uintptr_t address) {
  const uintptr_t number = address / kPageCells;
  if (number != last_page_number) {
    Page*& page = pages[number];
    if (!page) page = static_cast<Page*>(calloc(1, sizeof(Page)));
    last_page_number = number;
    last_page = page;
  }
  return last_page->cells[address % kPageCells];
}
bool holds(const std::vector<Region>& regions, uintptr_t address, size_t bytes) {
  for (const auto& region : regions)
    if (region.holds(address, bytes)) return true;
  return false;
}

/// "file.metal:line:column" of the innermost frame outside the shim.
std::string source_position(void* caller) {
  Dl_info info;
  if (!dladdr(caller, &info)) return "?";
  const auto offset = static_cast<char*>(caller) - static_cast<char*>(info.dli_fbase) - 1;
  char command[1024], line[512];
  snprintf(command, sizeof command, "llvm-symbolizer-19 --obj='%s' --functions=none --basenames 0x%tx 2>/dev/null",
           info.dli_fname, offset);
  std::string found = "?";
  FILE* output = popen(command, "r");
  while (output && fgets(line, sizeof line, output)) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] && (found == "?" || found.find(".metal") == std::string::npos)) found = line;
  }
  if (output) pclose(output);
  return found;
}
std::string describe(uintptr_t address) {
  char text[160];
  for (const auto& region : threadgroup_regions)
    if (region.holds(address, 1)) {
      snprintf(text, sizeof text, "threadgroup %s+%zu", region.name, address - region.begin);
      return text;
    }
  for (const auto& region : buffers)
    if (region.holds(address, 1)) {
      snprintf(text, sizeof text, "%s+%zu", region.name, address - region.begin);
      return text;
    }
  snprintf(text, sizeof text, "an unknown address");
  size_t nearest = ~size_t{0};
  for (const auto* regions : {&buffers, &threadgroup_regions})
    for (const auto& region : *regions) {
      const bool past = address >= region.end;
      const size_t distance = past ? address - region.end + 1 : region.begin - address;
      if (distance >= nearest) continue;
      nearest = distance;
      snprintf(text, sizeof text, "%zu bytes %s %s", distance, past ? "past the end of" : "before", region.name);
    }
  return text;
}
void report(const char* what, uintptr_t address, void* caller, uint32_t other_thread = ~0u) {
  constexpr int kMaxReports = 8;
  if (reports++ >= kMaxReports) return;
  std::string text = std::string(what) + ": " + describe(address) + ", thread " + std::to_string(current_thread());
  if (other_thread != ~0u) text += " against thread " + std::to_string(other_thread);
  text += ", at " + source_position(caller) + " (kernel " + kernel->name + ")";
  fprintf(stderr, "memory checker: %s\n", text.c_str());
  if (first_report.empty()) first_report = text;
}
void settle_pending_write() {
  if (!pending.on) return;
  pending.on = false;
  if (memcmp(reinterpret_cast<void*>(pending.address), pending.before, pending.bytes))
    report("write-write race", pending.address, pending.caller, pending.other_thread);
}

/// Judges the access to bytes that `caller` is about to read or write.
void access(uintptr_t address, size_t bytes, bool write, void* caller) {
  if (!active) return;
  settle_pending_write();
  if (holds(ignored, address, bytes)) return;
  const bool in_threadgroup = address >= threadgroup_begin_ && address < threadgroup_end_;
  if (!holds(in_threadgroup ? threadgroup_regions : buffers, address, bytes)) {
    // Program-scope constants are the only other memory a kernel may read.
    if (in_threadgroup || write || !holds(program, address, bytes))
      report(write ? "write out of bounds" : "read out of bounds", address, caller);
    return;
  }
  const Space space = in_threadgroup ? kThreadgroupSpace : kDeviceSpace;
  const uint32_t thread = current_thread(), simdgroup = thread / kSimdWidth;
  const auto now = static_cast<uint16_t>(epoch[space]);
  const uint32_t simd_now = simd_epoch[space][thread];
  const auto concurrent = [](uint32_t other) { return other != 0 && other >= concurrent_from; };
  for (size_t i = 0; i < bytes; i++) {
    Cell& c = cell(address + i);
    if (in_threadgroup && !write && c.write_group != group) {
      report("read of uninitialised threadgroup memory", address + i, caller);
      return;
    }
    if (concurrent(c.write_group) && !(c.write_group == group && c.write_thread == thread)) {
      bool ordered =
          c.write_group == group &&
          (c.write_epoch != now || (c.write_thread / kSimdWidth == simdgroup && c.write_simd_epoch != simd_now));
      if (in_threadgroup && c.write_group != group) ordered = true;  // an earlier threadgroup left it
      if (!ordered && write && bytes <= sizeof pending.before) {
        if (!pending.on) {
          pending.on = true;
          pending.address = address;
          pending.bytes = bytes;
          memcpy(pending.before, reinterpret_cast<void*>(address), bytes);
          pending.caller = caller;
          pending.other_thread = c.write_thread;
        }
      } else if (!ordered) {
        report(write ? "write-write race" : "read of data written without a barrier in between", address + i, caller,
               c.write_thread);
        return;
      }
    }
    if (write) {
      if (concurrent(c.read_group) && !(in_threadgroup && c.read_group != group)) {
        bool race = false;
        if (c.read_group != group) race = true;
        else if (c.read_epoch == now)
          race = c.several_simdgroups_read || c.read_thread / kSimdWidth != simdgroup ||
                 (c.read_simd_epoch == simd_now && (c.several_readers || c.read_thread != thread));
        if (race) {
          report("write over data read without a barrier in between", address + i, caller, c.read_thread);
          return;
        }
      }
      c.write_group = group;
      c.write_thread = static_cast<uint16_t>(thread);
      c.write_epoch = now;
      c.write_simd_epoch = simd_now;
    } else {
      if (c.read_group != group || c.read_epoch != now) {
        c.several_readers = false;
        c.several_simdgroups_read = concurrent(c.read_group) && c.read_group != group && !in_threadgroup;
      } else if (c.read_thread / kSimdWidth != simdgroup) {
        c.several_simdgroups_read = true;
      } else if (c.read_simd_epoch == simd_now) {
        c.several_readers |= c.read_thread != thread;
      } else {
        c.several_readers = false;
      }
      c.read_group = group;
      c.read_thread = static_cast<uint16_t>(thread);
      c.read_epoch = now;
      c.read_simd_epoch = simd_now;
    }
  }
}

int add_segments(dl_phdr_info* info, size_t, void*) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& header = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD) program.push_back({begin, begin + header.p_memsz, "program"});
  }
  return 0;
}

}  // namespace

void ignore(void* data, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  ignored.push_back({begin, begin + bytes, "executor"});
}
void dispatch_begin(const KernelInfo& info, const Arguments& arguments, bool concurrent_with_previous) {
  kernel = &info;
  first_report.clear();
  reports = 0;
  buffers.clear();
  if (program.empty()) dl_iterate_phdr(add_segments, nullptr);
  static char names[kMaxBindings][16];
  for (int i = 0; i < kMaxBindings; i++) {
    const Binding& buffer = arguments.buffers[i];
    if (!(info.buffers >> i & 1) || !buffer.data) continue;
    snprintf(names[i], sizeof names[i], "buffer(%d)", i);
    const auto begin = reinterpret_cast<uintptr_t>(buffer.data);
    buffers.push_back({begin, begin + buffer.bytes, names[i]});
  }
  if (!concurrent_with_previous) concurrent_from = group + 1;
  active = true;
}
std::string dispatch_end() {
  settle_pending_write();
  active = false;
  return first_report;
}
void threadgroup_begin(void* memory, size_t bytes) {
  settle_pending_write();
  group++;
  threadgroup_regions.clear();
  threadgroup_begin_ = reinterpret_cast<uintptr_t>(memory);
  threadgroup_end_ = threadgroup_begin_ + bytes;
  epoch[kDeviceSpace] = epoch[kThreadgroupSpace] = 0;
  memset(simd_epoch, 0, sizeof simd_epoch);
}
void threadgroup_region(void* data, size_t bytes, const char* name) {
  const auto begin = reinterpret_cast<uintptr_t>(data);
  threadgroup_regions.push_back({begin, begin + bytes, name});
}
void threadgroup_barrier(uint32_t flags) {
  settle_pending_write();
  if (flags & kDevice) epoch[kDeviceSpace]++;
  if (flags & kThreadgroup) epoch[kThreadgroupSpace]++;
}
void simdgroup_barrier(uint32_t thread, uint32_t flags) {
  if (flags & kDevice) simd_epoch[kDeviceSpace][thread]++;
  if (flags & kThreadgroup) simd_epoch[kThreadgroupSpace][thread]++;
}

}  // namespace msl::checker

// ---- the callbacks ----

#define CHECK_ACCESS(address, bytes, write) \
  msl::checker::access(reinterpret_cast<uintptr_t>(address), bytes, write, __builtin_return_address(0))
#define CALLBACKS(n)                                                                          \
  void __tsan_read##n(void* p) { CHECK_ACCESS(p, n, false); }                                 \
  void __tsan_write##n(void* p) { CHECK_ACCESS(p, n, true); }                                 \
  void __tsan_unaligned_read##n(void* p) { CHECK_ACCESS(p, n, false); }                       \
  void __tsan_unaligned_write##n(void* p) { CHECK_ACCESS(p, n, true); }                       \
  void __tsan_read_write##n(void* p) { CHECK_ACCESS(p, n, false), CHECK_ACCESS(p, n, true); } \
  void __tsan_unaligned_read_write##n(void* p) { CHECK_ACCESS(p, n, false), CHECK_ACCESS(p, n, true); }
// Atomic operations are performed and not judged, because they do not race with each other.
#define ATOMIC_CALLBACKS(bits, T)                                                                                   \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_RELAXED); }           \
  void __tsan_atomic##bits##_store(volatile T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }           \
  T __tsan_atomic##bits##_exchange(volatile T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_RELAXED); } \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); } \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_RELAXED); } \
  T __tsan_atomic##bits##_fetch_or(volatile T* p, T v, int) { return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }   \
  T __tsan_atomic##bits##_fetch_and(volatile T* p, T v, int) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); } \
  T __tsan_atomic##bits##_fetch_xor(volatile T* p, T v, int) { return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED); } \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile T* p, T* e, T v, int, int) {                             \
    return __atomic_compare_exchange_n(p, e, v, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                          \
  }                                                                                                                 \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* e, T v, int, int) {                           \
    return __atomic_compare_exchange_n(p, e, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                         \
  }                                                                                                                 \
  T __tsan_atomic##bits##_compare_exchange_val(volatile T* p, T e, T v, int, int) {                                 \
    __atomic_compare_exchange_n(p, &e, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);                               \
    return e;                                                                                                       \
  }
extern "C" {
void __tsan_init() {}
CALLBACKS(1) CALLBACKS(2) CALLBACKS(4) CALLBACKS(8) CALLBACKS(16) void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* p, unsigned long n) { CHECK_ACCESS(p, n, false); }
void __tsan_write_range(void* p, unsigned long n) { CHECK_ACCESS(p, n, true); }
void* __tsan_memcpy(void* to, const void* from, unsigned long n) {
  CHECK_ACCESS(from, n, false);
  CHECK_ACCESS(to, n, true);
  return __builtin_memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, unsigned long n) {
  CHECK_ACCESS(from, n, false);
  CHECK_ACCESS(to, n, true);
  return __builtin_memmove(to, from, n);
}
void* __tsan_memset(void* p, int v, unsigned long n) {
  CHECK_ACCESS(p, n, true);
  return __builtin_memset(p, v, n);
}
ATOMIC_CALLBACKS(8, uint8_t)
ATOMIC_CALLBACKS(16, uint16_t) ATOMIC_CALLBACKS(32, uint32_t) ATOMIC_CALLBACKS(64, uint64_t)
}
