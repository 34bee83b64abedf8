// Applies the relative relocations of a program's libraries in the packed format (DT_RELR). musl before 1.2.4 ignores
// them. Alpine's own C++ library has such relocations, so Alpine's Node needs this to run on Debian 12's musl. musl's
// loader loads this library before the others, so its constructor runs before theirs.
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

// DT_RELRSZ and DT_RELR, which <elf.h> of musl 1.2.3 lacks.
constexpr int64_t kPackedBytes = 35, kPacked = 36;

#ifdef __aarch64__
constexpr uint32_t kCopy = R_AARCH64_COPY;
#else
constexpr uint32_t kCopy = R_X86_64_COPY;
#endif

/// The value of the entry with this tag in the dynamic section; 0 where there is no such entry.
uintptr_t dynamic(const dl_phdr_info& object, int64_t tag) {
  for (int i = 0; i < object.dlpi_phnum; i++) {
    if (object.dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    for (auto* entry = reinterpret_cast<const Elf64_Dyn*>(object.dlpi_addr + object.dlpi_phdr[i].p_vaddr);
         entry->d_tag != DT_NULL; entry++)
      if (entry->d_tag == tag) return entry->d_un.d_val;
  }
  return 0;
}

/// Makes the pages of writable segments writable again. The loader has made some of them read-only by now.
void make_writable(const dl_phdr_info& object) {
  constexpr uintptr_t kPage = 4096;
  for (int i = 0; i < object.dlpi_phnum; i++) {
    const Elf64_Phdr& segment = object.dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_W)) continue;
    const uintptr_t begin = (object.dlpi_addr + segment.p_vaddr) / kPage * kPage;
    const uintptr_t end = object.dlpi_addr + segment.p_vaddr + segment.p_memsz;
    mprotect(reinterpret_cast<void*>(begin), (end - begin + kPage - 1) / kPage * kPage, PROT_READ | PROT_WRITE);
  }
}

/// Applies an object's packed relocations. An even word is an address to relocate. An odd word has a bit for each of
/// the 63 words that follow.
int apply_packed(dl_phdr_info* object, size_t, void*) {
  const uintptr_t base = object->dlpi_addr, offset = dynamic(*object, kPacked);
  if (offset == 0) return 0;
  make_writable(*object);
  const auto* words = reinterpret_cast<const uintptr_t*>(base + offset);
  uintptr_t* next = nullptr;
  for (size_t i = 0; i < dynamic(*object, kPackedBytes) / sizeof *words; i++) {
    uintptr_t word = words[i];
    if (word % 2 == 0) {
      next = reinterpret_cast<uintptr_t*>(base + word);
      *next++ += base;
    } else {
      for (uintptr_t* at = next; word >>= 1; at++)
        if (word & 1) *at += base;
      next += 63;
    }
  }
  return 0;
}

/// Copies the libraries' data into the program anew. The program comes first, so its copies are from before the
/// libraries were relocated.
int copy_again(dl_phdr_info* program, size_t, void*) {
  const uintptr_t base = program->dlpi_addr;
  make_writable(*program);
  const auto* symbols = reinterpret_cast<const Elf64_Sym*>(base + dynamic(*program, DT_SYMTAB));
  const auto* names = reinterpret_cast<const char*>(base + dynamic(*program, DT_STRTAB));
  const auto* relocations = reinterpret_cast<const Elf64_Rela*>(base + dynamic(*program, DT_RELA));
  for (size_t i = 0; i < dynamic(*program, DT_RELASZ) / sizeof *relocations; i++) {
    if (ELF64_R_TYPE(relocations[i].r_info) != kCopy) continue;
    const Elf64_Sym& symbol = symbols[ELF64_R_SYM(relocations[i].r_info)];
    const void* from = dlsym(RTLD_NEXT, names + symbol.st_name);
    if (from) memcpy(reinterpret_cast<void*>(base + relocations[i].r_offset), from, symbol.st_size);
  }
  return 1;  // ends the iteration after the program, which is the first object
}

[[gnu::constructor]] void begin() {
  dl_iterate_phdr(apply_packed, nullptr);
  dl_iterate_phdr(copy_again, nullptr);
}

}  // namespace
