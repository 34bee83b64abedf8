// Finds the kernel sets that this CPU can run. On x86 it asks CPUID, on Arm the operating system.
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)
#define HEARTH_X86 1
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
#define HEARTH_ARM 1
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif
#endif

namespace hearth::cpu {
namespace {

/// A feature's name for reports, and whether both this CPU and its operating system have it.
struct Feature {
  const char* name;
  bool present;
};
constexpr int kMaxFeatures = 20;
struct Features {
  Feature list[kMaxFeatures] = {};
  int count = 0;

  void add(const char* name, bool present) { list[count++] = {name, present}; }
  bool has(const char* name) const {
    for (int i = 0; i < count; i++)
      if (strcmp(list[i].name, name) == 0) return list[i].present;
    return false;
  }
  template <size_t N> bool has_all(const char* const (&names)[N]) const {
    for (const char* name : names)
      if (!has(name)) return false;
    return true;
  }
};

#if HEARTH_X86

struct Registers {
  uint32_t a, b, c, d;
};
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
#ifdef _MSC_VER
  int r[4];
  __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
  return {static_cast<uint32_t>(r[0]), static_cast<uint32_t>(r[1]), static_cast<uint32_t>(r[2]),
          static_cast<uint32_t>(r[3])};
#else
  Registers r{};
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
#endif
}
/// The register state that the operating system saves (XCR0).
uint64_t saved_state() {
#ifdef _MSC_VER
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
#endif
}

/// Asks for the tile registers. They take 8 KB of every thread's saved state, so the operating system gives them on
/// request only. It gives them for good and to all threads of a process. Only Linux (5.16 or newer) is asked, because
/// nobody has run these kernels on another system.
bool tiles_granted() {
#if defined(__linux__)
  // ARCH_REQ_XCOMP_PERM and XFEATURE_XTILE_DATA of <asm/prctl.h>.
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Features detect() {
  const auto bit = [](uint32_t word, int n) { return (word >> n & 1) != 0; };
  const Registers basic = cpuid(1, 0), extended = cpuid(7, 0), more = cpuid(7, 1);
  const bool xsave = bit(basic.c, 27);
  const uint64_t state = xsave ? saved_state() : 0;
  const bool ymm = (state & 0x06) == 0x06, zmm = (state & 0xE6) == 0xE6, tiles = (state & 0x60000) == 0x60000;
  Features f;
  f.add("f16c", ymm && bit(basic.c, 29));
  f.add("fma", ymm && bit(basic.c, 12));
  f.add("avx2", ymm && bit(extended.b, 5));
  f.add("avxvnni", ymm && bit(more.a, 4));
  f.add("avx512f", zmm && bit(extended.b, 16));
  f.add("avx512bw", zmm && bit(extended.b, 30));
  f.add("avx512dq", zmm && bit(extended.b, 17));
  f.add("avx512vl", zmm && bit(extended.b, 31));
  f.add("avx512vbmi", zmm && bit(extended.c, 1));
  f.add("avx512vnni", zmm && bit(extended.c, 11));
  f.add("avx512bf16", zmm && bit(more.a, 5));
  f.add("amxint8", tiles && bit(extended.d, 24) && bit(extended.d, 25) && tiles_granted());
  return f;
}

#elif HEARTH_ARM

#if defined(__APPLE__)
bool has_feature(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}
#endif

Features detect() {
  Features f;
#if defined(__linux__)
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  f.add("fp16", (first & HWCAP_ASIMDHP) != 0);
  f.add("dotprod", (first & HWCAP_ASIMDDP) != 0);
  f.add("i8mm", (second & HWCAP2_I8MM) != 0);
  f.add("bf16", (second & HWCAP2_BF16) != 0);
  f.add("sve", (first & HWCAP_SVE) != 0);
#elif defined(__APPLE__)
  f.add("fp16", has_feature("hw.optional.arm.FEAT_FP16"));
  f.add("dotprod", has_feature("hw.optional.arm.FEAT_DotProd"));
  f.add("i8mm", has_feature("hw.optional.arm.FEAT_I8MM"));
  f.add("bf16", has_feature("hw.optional.arm.FEAT_BF16"));
#elif defined(_WIN32)
  // Windows tells about dot products only. Every core with them that Windows runs on has half precision as well.
  const bool dotprod = IsProcessorFeaturePresent(PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE);
  f.add("fp16", dotprod);
  f.add("dotprod", dotprod);
#endif
  return f;
}

#else

Features detect() { return {}; }

#endif

const Features& features() {
  static const Features detected = detect();
  return detected;
}

struct Available {
  const Kernels* list[6] = {};

  Available() {
    int n = 0;
    // A set's function is called only where the set is runnable, because the function itself is compiled for its
    // instruction set.
    const auto add = [&](const Kernels* (*kernels)(), bool runnable) {
      if (const Kernels* set = runnable ? kernels() : nullptr) list[n++] = set;
    };
    const Features& f = features();
    const bool avx2 = f.has_all({"avx2", "fma", "f16c"});
    const bool avx512 = avx2 && f.has_all({"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vbmi", "avx512vnni"});
    add(amx_kernels, avx512 && f.has_all({"amxint8"}));
    add(avx512_kernels, avx512);
    add(avx2_kernels, avx2);
    add(neon_kernels, f.has_all({"fp16", "dotprod"}));
    add(portable_kernels, true);
  }
};

struct FeatureNames {
  const char* list[kMaxFeatures + 1] = {};

  FeatureNames() {
    int n = 0;
    const Features& f = features();
    for (int i = 0; i < f.count; i++)
      if (f.list[i].present) list[n++] = f.list[i].name;
  }
};

}  // namespace

const Kernels* const* available_kernels() {
  static const Available available;
  return available.list;
}

const Kernels* find_kernels(const char* name) {
  for (const Kernels* const* k = available_kernels(); *k; k++)
    if (strcmp((*k)->name, name) == 0) return *k;
  return nullptr;
}

const char* const* cpu_features() {
  static const FeatureNames names;
  return names.list;
}

}  // namespace hearth::cpu
