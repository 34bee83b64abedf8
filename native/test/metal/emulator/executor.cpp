// The executor: fibers, barriers, SIMD-group operations with divergence, and threadgroup memory.
#include "executor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if __has_feature(address_sanitizer)
#define MSL_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if __has_feature(memory_sanitizer)
#define MSL_MSAN 1
#include <sanitizer/msan_interface.h>
#endif

#include "memory_checker.h"

namespace msl {

Registry& Registry::get() {
  static Registry registry;
  return registry;
}
const KernelInfo* Registry::find(const std::string& name, const char* file) const {
  for (const auto& kernel : kernels)
    if (name == kernel.name && (!file || !strcmp(file, kernel.file))) return &kernel;
  return nullptr;
}

static void registration_error(const char* file, const char* what, const char* name) {
  fprintf(stderr, "%s: %s %s\n", file, what, name);
  abort();
}
void register_kernel(const KernelInfo& kernel) {
  if (Registry::get().find(kernel.name)) registration_error(kernel.file, "a second kernel is called", kernel.name);
  Registry::get().kernels.push_back(kernel);
}
void register_constant(FunctionConstant* constant) {
  for (const auto* other : Registry::get().constants)
    if (other->index == constant->index && !strcmp(other->file, constant->file))
      registration_error(constant->file, "a function constant's index is taken:", constant->name);
  Registry::get().constants.push_back(constant);
}
void register_source(const SourceInfo& source) { Registry::get().sources.push_back(source); }
bool constant_defined(const void* address) {
  for (const auto* constant : Registry::get().constants)
    if (constant->address == address) return constant->defined;
  return false;
}
bool set_constant(const char* file, int index, const void* value, size_t bytes) {
  for (auto* constant : Registry::get().constants)
    if (constant->index == index && !strcmp(constant->file, file)) {
      if (constant->bytes != bytes) registration_error(file, "wrong type for the function constant", constant->name);
      memcpy(constant->address, value, bytes);
      constant->defined = true;
      return true;
    }
  return false;
}
void reset_constants() {
  for (auto* constant : Registry::get().constants) {
    memset(constant->address, 0, constant->bytes);
    constant->defined = false;
  }
}

namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kSlotBytes = 32;     // the most that a lane publishes in a SIMD-group operation
constexpr size_t kResultBytes = 256;  // the most that the result of a collective operation takes
constexpr int kMaxVariables = 64;

typedef void (*Collective)(const unsigned char* slots, uint32_t active, void* result);

struct SimdGroup;
struct Lane {
  void* stack_pointer;
  void* sanitizer_stack;
  SimdGroup* group;
  Collective collective;
  ThreadPosition position;
  uint32_t run_position;  // the lane's place in the order of its SIMD-group
  uint32_t lane, thread, site;
};
/// `ready`, `waiting`, `at_barrier` and `live` have a bit for each lane, by its run position. `active` has the bits by
/// lane number.
struct alignas(64) SimdGroup {
  // There are two of each, because lanes read the results of one operation while others already publish for the next.
  unsigned char slots[2][kSimdWidth * kSlotBytes];
  alignas(64) unsigned char results[2][kResultBytes];
  Lane* lanes[kSimdWidth];
  uint32_t ready, waiting, at_barrier, live, active, round, first_site, barrier_flags;
  bool mixed_sites, all_took_part;
};
struct Variable {
  const void* key;
  void* data;
};
struct Machine {
  unsigned char* stacks = nullptr;
  unsigned char* threadgroup = nullptr;
  size_t threadgroup_used = 0;
  Variable variables[kMaxVariables];
  int variable_count = 0;
  Lane lanes[kMaxThreads];
  SimdGroup groups[kMaxThreads / kSimdWidth];
  Lane* current = nullptr;
  void* scheduler_stack_pointer = nullptr;
  void* scheduler_sanitizer_stack = nullptr;
  const void* scheduler_stack_bottom = nullptr;
  size_t scheduler_stack_bytes = 0;
  bool fibers_broken = true;  // they were never started, or an error left them in the middle of a kernel
  const KernelInfo* kernel = nullptr;
  Arguments arguments;
  uint32_t threads = 0, simdgroups = 0;
  std::string error;
  DispatchStats stats;
};
Machine* machine = nullptr;

uint32_t lowest(uint32_t bits) { return static_cast<uint32_t>(__builtin_ctz(bits)); }
uint32_t all_lanes(uint32_t count) { return count >= kSimdWidth ? ~0u : (1u << count) - 1; }
uint32_t lanes_in(uint32_t group) { return std::min(kSimdWidth, machine->threads - group * kSimdWidth); }

void report(const std::string& error) {
  if (machine->error.empty()) machine->error = error;
}
std::string at(uint32_t site) {
  char text[256];
  snprintf(text, sizeof text, "%s: line %u:%u (kernel %s)", machine->kernel->file, site / 512, site % 512,
           machine->kernel->name);
  return text;
}

}  // namespace

// Saves the callee-saved registers on the running stack, stores its pointer in *from, and continues on `to`.
extern "C" void msl_switch_stack(void** from, void* to);
#if defined(__x86_64__)
constexpr size_t kSavedBytes = 8 * 8;
constexpr size_t kEntrySlot = 6;
asm(R"(.text
.globl msl_switch_stack
.type msl_switch_stack,@function
msl_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size msl_switch_stack,.-msl_switch_stack
)");
#elif defined(__aarch64__)
constexpr size_t kSavedBytes = 160;
constexpr size_t kEntrySlot = 11;
asm(R"(.text
.globl msl_switch_stack
.type msl_switch_stack,%function
msl_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size msl_switch_stack,.-msl_switch_stack
)");
#else
#error "the emulator knows the stacks of x86-64 and arm64 only"
#endif

namespace {

unsigned char* stack_of(uint32_t thread) { return machine->stacks + thread * kStackBytes; }

/// Switches between two lanes. nullptr is the scheduler, which runs in dispatch().
__attribute__((noinline)) void switch_to(Lane* from, Lane* to) {
  Machine* m = machine;
  m->current = to;
  m->stats.switches++;
#ifdef MSL_ASAN
  const void* bottom = to ? stack_of(to->thread) : m->scheduler_stack_bottom;
  __sanitizer_start_switch_fiber(from ? &from->sanitizer_stack : &m->scheduler_sanitizer_stack, bottom,
                                 to ? kStackBytes : m->scheduler_stack_bytes);
#endif
  msl_switch_stack(from ? &from->stack_pointer : &m->scheduler_stack_pointer,
                   to ? to->stack_pointer : m->scheduler_stack_pointer);
#ifdef MSL_ASAN
  __sanitizer_finish_switch_fiber(from ? from->sanitizer_stack : m->scheduler_sanitizer_stack, nullptr, nullptr);
#endif
}

/// Called when no lane of the group can run. Completes the SIMD-group operation that its lanes wait for, or returns
/// false where they wait for none.
bool complete_operation(SimdGroup* g) {
  if (!g->waiting) return false;
  uint32_t taking_part = g->waiting;
  if (taking_part != g->live || g->mixed_sites) {
    // The lanes have diverged. As on a GPU, those at the lowest source position go on first.
    uint32_t first = ~0u;
    for (uint32_t x = taking_part; x; x &= x - 1) first = std::min(first, g->lanes[lowest(x)]->site);
    for (uint32_t x = g->waiting; x; x &= x - 1)
      if (g->lanes[lowest(x)]->site != first) taking_part &= ~(1u << lowest(x));
  }
  uint32_t active = 0;
  for (uint32_t x = taking_part; x; x &= x - 1) active |= 1u << g->lanes[lowest(x)]->lane;
  // The lanes that are left behind keep what they published for the next round.
  unsigned char* slots = g->slots[g->round & 1];
  for (uint32_t x = g->waiting & ~taking_part; x; x &= x - 1) {
    const size_t offset = g->lanes[lowest(x)]->lane * kSlotBytes;
    memcpy(g->slots[(g->round + 1) & 1] + offset, slots + offset, kSlotBytes);
  }
  if (const Collective collective = g->lanes[lowest(taking_part)]->collective)
    collective(slots, active, g->results[g->round & 1]);
  g->all_took_part = taking_part == g->live;
  g->active = active;
  g->ready = taking_part;
  g->waiting &= ~taking_part;
  g->round++;
  g->mixed_sites = g->waiting != 0;
  g->first_site = g->waiting ? g->lanes[lowest(g->waiting)]->site : 0;
  machine->stats.simd_operations++;
  return true;
}

/// Lets another lane run, because `lane` waits or has ended.
void run_another(Lane* lane, SimdGroup* g) {
  if (!g->ready && !complete_operation(g)) {
    switch_to(lane, nullptr);
    return;
  }
  Lane* next = g->lanes[lowest(g->ready)];
  if (next != lane) switch_to(lane, next);
}
void wait_for_simdgroup(Lane* lane, uint32_t site) {
  SimdGroup* g = lane->group;
  if (!g->waiting) {
    g->first_site = site;
    g->mixed_sites = false;
  } else if (g->first_site != site) {
    g->mixed_sites = true;
  }
  lane->site = site;
  const uint32_t bit = 1u << lane->run_position;
  g->waiting |= bit;
  g->ready &= ~bit;
  run_another(lane, g);
}

}  // namespace

// ---- what the shim calls (msl/simd.h, registry.h) ----

struct Exchange {
  const unsigned char* slots;
  uint32_t active, lane;
};
Exchange simd_exchange(const void* value, uint32_t bytes, uint32_t site) {
  Lane* lane = machine->current;
  SimdGroup* g = lane->group;
  memcpy(g->slots[g->round & 1] + lane->lane * kSlotBytes, value, bytes);
  lane->collective = nullptr;
  wait_for_simdgroup(lane, site);
  return {g->slots[(g->round - 1) & 1], g->active, lane->lane};
}
const void* simd_collective(const void* value, uint32_t bytes, uint32_t site, Collective collective) {
  Lane* lane = machine->current;
  SimdGroup* g = lane->group;
  memcpy(g->slots[g->round & 1] + lane->lane * kSlotBytes, value, bytes);
  lane->collective = collective;
  wait_for_simdgroup(lane, site);
  return g->results[(g->round - 1) & 1];
}
void simdgroup_barrier(uint32_t flags, uint32_t site) {
  Lane* lane = machine->current;
  lane->collective = nullptr;
  wait_for_simdgroup(lane, site);
  if (!lane->group->all_took_part) report("simdgroup_barrier in divergent control flow at " + at(site));
  checker::simdgroup_barrier(lane->thread, flags);
}
void threadgroup_barrier(uint32_t flags, uint32_t site) {
  Lane* lane = machine->current;
  SimdGroup* g = lane->group;
  const uint32_t bit = 1u << lane->run_position;
  lane->site = site;
  g->at_barrier |= bit;
  g->ready &= ~bit;
  g->barrier_flags = flags;
  run_another(lane, g);
}
uint32_t lane_index() { return machine->current->lane; }
void kernel_error(const char* what) { report(std::string(what) + " in kernel " + machine->kernel->name); }
uint32_t current_thread() { return machine && machine->current ? machine->current->thread : ~0u; }

/// The 8×8 multiply-accumulate of a whole SIMD-group. Each lane gives two elements each of A, B and C, and gets two
/// elements of A·B + C.
void matrix_multiply_accumulate(const unsigned char* slots, uint32_t active, void* result) {
  if (active != ~0u) kernel_error("simdgroup matrix operation by a part of the SIMD-group");
  float a[8][8], b[8][8], c[8][8];
  // This is the layout of Apple's GPUs as kernels see it. It maps a lane to its row and to the first of its two
  // columns.
  const auto row = [](uint32_t lane) { return ((lane / 4) & 4) + ((lane / 2) & 3); };
  const auto column = [](uint32_t lane) { return ((lane / 4) & 2) * 2 + (lane & 1) * 2; };
  for (uint32_t lane = 0; lane < kSimdWidth; lane++) {
    const float* value = reinterpret_cast<const float*>(slots + lane * kSlotBytes);
    for (uint32_t i = 0; i < 2; i++) {
      a[row(lane)][column(lane) + i] = value[i];
      b[row(lane)][column(lane) + i] = value[2 + i];
      c[row(lane)][column(lane) + i] = value[4 + i];
    }
  }
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 8; k++)
      for (int j = 0; j < 8; j++) c[i][j] += a[i][k] * b[k][j];
  float* out = static_cast<float*>(result);
  for (uint32_t lane = 0; lane < kSimdWidth; lane++)
    for (uint32_t i = 0; i < 2; i++) out[lane * 2 + i] = c[row(lane)][column(lane) + i];
}

namespace {

/// Reserves threadgroup memory. Reports an error where less than `bytes` is left.
void* reserve_threadgroup(size_t bytes, size_t alignment, const char* name) {
  Machine* m = machine;
  const size_t align = std::max<size_t>(alignment, 16);
  const size_t offset = (m->threadgroup_used + align - 1) / align * align;
  void* data = m->threadgroup + offset;
  // Sanitizer builds leave gaps between variables. The gaps do not count towards the limit.
  static const size_t kGap =
#ifdef MSL_ASAN
      32;
#else
      0;
#endif
  const size_t gaps = kGap * static_cast<size_t>(m->variable_count + 1);
  if (offset + bytes > kThreadgroupBytes + gaps) {
    report(std::string("more than 32 KiB of threadgroup memory with ") + name + " in kernel " + m->kernel->name);
    return m->threadgroup;
  }
#ifdef MSL_ASAN
  ASAN_UNPOISON_MEMORY_REGION(data, bytes);
#endif
  m->threadgroup_used = offset + bytes + kGap;
  checker::threadgroup_region(data, bytes, name);
  return data;
}

}  // namespace

void* threadgroup_variable(const void* key, size_t bytes, size_t alignment, const char* name) {
  Machine* m = machine;
  for (int i = 0; i < m->variable_count; i++)
    if (m->variables[i].key == key) return m->variables[i].data;
  if (m->variable_count == kMaxVariables) {
    kernel_error("too many threadgroup variables");
    return m->threadgroup;
  }
  void* data = reserve_threadgroup(bytes, alignment, name);
  m->variables[m->variable_count++] = {key, data};
  return data;
}

extern "C" void msl_fiber_main() {
#ifdef MSL_ASAN
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (!machine->scheduler_stack_bottom) {
    machine->scheduler_stack_bottom = bottom;
    machine->scheduler_stack_bytes = bytes;
  }
#endif
  Lane* lane = machine->current;
  for (;;) {  // each turn is one threadgroup
    machine->kernel->entry(machine->arguments, lane->position);
    SimdGroup* g = lane->group;
    const uint32_t bit = 1u << lane->run_position;
    g->live &= ~bit;
    g->ready &= ~bit;
    if (!g->ready && !complete_operation(g)) switch_to(lane, nullptr);
    else switch_to(lane, g->lanes[lowest(g->ready)]);
  }
}

namespace {

constexpr size_t kThreadgroupReserve = kThreadgroupBytes + 32 * (kMaxVariables + kMaxBindings + 2);

void start_fiber(uint32_t thread) {
  // The tops of the stacks are staggered, so that 1024 of them do not fall into the same cache sets.
  auto top = reinterpret_cast<uintptr_t>(stack_of(thread)) + kStackBytes - 64 - (thread % 61) * 192;
  top &= ~uintptr_t{63};
#if defined(__x86_64__)
  void** saved = reinterpret_cast<void**>(top) - 8;  // six registers, the return address, and alignment as after a call
#else
  void** saved = reinterpret_cast<void**>(top - kSavedBytes);
#endif
  memset(saved, 0, kSavedBytes);
  saved[kEntrySlot] = reinterpret_cast<void*>(msl_fiber_main);
  machine->lanes[thread].stack_pointer = saved;
}

uint32_t next_random(uint32_t& state) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

template <class T> void arrange(T* items, size_t count, LaneOrder order, uint32_t& random) {
  for (size_t i = 0; i < count; i++) items[i] = static_cast<T>(order == LaneOrder::reverse ? count - 1 - i : i);
  if (order == LaneOrder::random)
    for (size_t i = count; i > 1; i--) std::swap(items[i - 1], items[next_random(random) % i]);
}

void place_lanes(Size3 groups, Size3 threads) {
  Machine* m = machine;
  for (uint32_t t = 0; t < m->threads; t++) {
    Lane& lane = m->lanes[t];
    lane.thread = t;
    lane.lane = t % kSimdWidth;
    lane.group = &m->groups[t / kSimdWidth];
    ThreadPosition& p = lane.position;
    p.in_threadgroup = {t % threads.x, t / threads.x % threads.y, t / (threads.x * threads.y)};
    p.threads_per_threadgroup = threads;
    p.threadgroups_per_grid = groups;
    p.threads_per_grid = {groups.x * threads.x, groups.y * threads.y, groups.z * threads.z};
    p.lane = lane.lane;
    p.simdgroup = t / kSimdWidth;
    p.simdgroups = m->simdgroups;
    p.index = t;
  }
}
void start_threadgroup(Size3 group, Size3 threads, LaneOrder order, uint32_t& random) {
  Machine* m = machine;
  m->variable_count = 0;
  m->threadgroup_used = 0;
  for (uint32_t t = 0; t < m->threads; t++) {
    ThreadPosition& p = m->lanes[t].position;
    p.threadgroup = group;
    p.in_grid = {group.x * threads.x + p.in_threadgroup.x, group.y * threads.y + p.in_threadgroup.y,
                 group.z * threads.z + p.in_threadgroup.z};
  }
  for (uint32_t s = 0; s < m->simdgroups; s++) {
    SimdGroup& g = m->groups[s];
    const uint32_t count = lanes_in(s);
    uint32_t run_order[kSimdWidth];
    arrange(run_order, count, order, random);
    for (uint32_t i = 0; i < count; i++) {
      g.lanes[i] = &m->lanes[s * kSimdWidth + run_order[i]];
      g.lanes[i]->run_position = i;
    }
    g.live = g.ready = g.active = all_lanes(count);
    g.waiting = g.at_barrier = g.round = 0;
    g.mixed_sites = false;
  }
}
/// Fills the threadgroup's memory with NaN bits and marks it unwritten for the sanitizers.
void clear_threadgroup_memory() {
  unsigned char* memory = machine->threadgroup;
#ifdef MSL_ASAN
  ASAN_UNPOISON_MEMORY_REGION(memory, kThreadgroupReserve);
#endif
  memset(memory, 0xff, kThreadgroupBytes);
#ifdef MSL_ASAN
  ASAN_POISON_MEMORY_REGION(memory, kThreadgroupReserve);
#endif
#ifdef MSL_MSAN
  __msan_poison(memory, kThreadgroupReserve);
#endif
  checker::threadgroup_begin(memory, kThreadgroupReserve);
}

/// Called when every thread waits at a barrier or has ended. Releases the barrier. Returns false at the end of the
/// threadgroup and on an error.
bool release_barrier() {
  Machine* m = machine;
  bool any = false, missing = false, mixed = false;
  uint32_t site = ~0u, flags = 0;
  for (uint32_t s = 0; s < m->simdgroups; s++) {
    const SimdGroup& g = m->groups[s];
    any |= g.at_barrier != 0;
    missing |= g.at_barrier != all_lanes(lanes_in(s));
    for (uint32_t x = g.at_barrier; x; x &= x - 1) {
      const uint32_t other = g.lanes[lowest(x)]->site;
      mixed |= site != ~0u && site != other;
      if (site == ~0u) site = other;
    }
  }
  if (!any) return false;
  if (missing) report("threadgroup_barrier not reached by every thread at " + at(site));
  if (mixed) report("threads wait at different threadgroup_barriers, one at " + at(site));
  if (missing || mixed) return false;
  for (uint32_t s = 0; s < m->simdgroups; s++) {
    SimdGroup& g = m->groups[s];
    g.ready = g.at_barrier;
    g.at_barrier = 0;
    flags = g.barrier_flags;
  }
  m->stats.barriers++;
  checker::threadgroup_barrier(flags);
  return true;
}
void run_threadgroup(LaneOrder order, uint32_t& random) {
  Machine* m = machine;
  uint32_t run_order[kMaxThreads / kSimdWidth];
  do {
    arrange(run_order, m->simdgroups, order, random);
    for (uint32_t i = 0; i < m->simdgroups; i++) {
      SimdGroup& g = m->groups[run_order[i]];
      if (!g.ready) complete_operation(&g);
      if (g.ready) switch_to(nullptr, g.lanes[lowest(g.ready)]);
      if (!m->error.empty()) return;
    }
  } while (release_barrier());
}

Machine& the_machine() {
  if (!machine) {
    machine = new Machine();
    machine->stacks = static_cast<unsigned char*>(mmap(nullptr, kMaxThreads * kStackBytes, PROT_READ | PROT_WRITE,
                                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    machine->threadgroup = static_cast<unsigned char*>(aligned_alloc(256, (kThreadgroupReserve + 255) / 256 * 256));
    checker::ignore(machine->stacks, kMaxThreads * kStackBytes);
    checker::ignore(machine, sizeof(Machine));
  }
  return *machine;
}

/// For its lifetime, denormal numbers are flushed to zero if `flush` says so.
class DenormalMode {
 public:
  explicit DenormalMode(bool flush) {
#if defined(__x86_64__)
    saved_ = __builtin_ia32_stmxcsr();
    if (flush) __builtin_ia32_ldmxcsr(saved_ | 0x8040);
#else
    (void)flush;
#endif
  }
  ~DenormalMode() {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(saved_);
#endif
  }

 private:
  unsigned saved_ = 0;
};

}  // namespace

std::string dispatch(const KernelInfo& kernel, const Arguments& arguments, const size_t threadgroup_bytes[kMaxBindings],
                     Size3 groups, Size3 threads, const DispatchOptions& options, DispatchStats* stats) {
  Machine& m = the_machine();
  const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
  if (count == 0 || count > kernel.max_threads)
    return std::string("kernel ") + kernel.name + ": " + std::to_string(count) + " threads a threadgroup, of at most " +
           std::to_string(kernel.max_threads);
  for (int i = 0; i < kMaxBindings; i++)
    if ((kernel.buffers >> i & 1) && reinterpret_cast<uintptr_t>(arguments.buffers[i].data) % kernel.alignment(i))
      return std::string("kernel ") + kernel.name + ": buffer(" + std::to_string(i) + ") is not aligned to " +
             std::to_string(kernel.alignment(i)) + " bytes";
  m.kernel = &kernel;
  m.arguments = arguments;
  m.threads = static_cast<uint32_t>(count);
  m.simdgroups = (m.threads + kSimdWidth - 1) / kSimdWidth;
  m.error.clear();
  m.stats = {};
  if (m.fibers_broken) {
    for (uint32_t t = 0; t < kMaxThreads; t++) start_fiber(t);
    m.fibers_broken = false;
  }
  place_lanes(groups, threads);
  uint32_t random = options.seed * 2654435761u | 1u;
  const size_t total = size_t{groups.x} * groups.y * groups.z;
  checker::dispatch_begin(kernel, arguments, options.concurrent_with_previous);
  {
    const DenormalMode denormals(options.flush_denormals);
    std::vector<uint32_t> run_order(total);
    arrange(run_order.data(), total, options.order, random);
    for (const uint32_t at : run_order) {
      if (!m.error.empty()) break;
      const Size3 group{at % groups.x, at / groups.x % groups.y, at / groups.x / groups.y};
      start_threadgroup(group, threads, options.order, random);
      clear_threadgroup_memory();
      for (int slot = 0; slot < kMaxBindings && threadgroup_bytes; slot++)
        if (threadgroup_bytes[slot])
          m.arguments.threadgroup[slot] =
              reserve_threadgroup(threadgroup_bytes[slot], 16, "a [[threadgroup]] argument");
      if (!m.error.empty()) break;
      m.stats.threads += m.threads;
      run_threadgroup(options.order, random);
      m.stats.threadgroup_bytes = std::max(m.stats.threadgroup_bytes, m.threadgroup_used);
    }
  }
#ifdef MSL_ASAN
  ASAN_UNPOISON_MEMORY_REGION(m.threadgroup, kThreadgroupReserve);
#endif
  const std::string memory_error = checker::dispatch_end();
  m.fibers_broken = !m.error.empty();
  if (stats) *stats = m.stats;
  return m.error.empty() ? memory_error : m.error;
}

}  // namespace msl
