// Memory with an unreadable page right after its last byte. A kernel that reads or writes past its data crashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <type_traits>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace hearth::test {

/// `count` elements of T, zero at first, that end at an unreadable page. Their total size decides how their start is
/// aligned.
template <class T> class Guarded {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit Guarded(size_t count) : count_(count) {
    const size_t page = page_bytes(), bytes = count * sizeof(T);
    body_ = (bytes + page - 1) / page * page;
#ifdef _WIN32
    base_ = static_cast<uint8_t*>(VirtualAlloc(nullptr, body_ + page, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
    DWORD old;
    if (!base_ || !VirtualProtect(base_ + body_, page, PAGE_NOACCESS, &old)) throw std::bad_alloc();
#else
    void* p = mmap(nullptr, body_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(static_cast<uint8_t*>(p) + body_, page, PROT_NONE) != 0) throw std::bad_alloc();
    base_ = static_cast<uint8_t*>(p);
#endif
    data_ = reinterpret_cast<T*>(base_ + body_ - bytes);
  }
  ~Guarded() {
#ifdef _WIN32
    VirtualFree(base_, 0, MEM_RELEASE);
#else
    munmap(base_, body_ + page_bytes());
#endif
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return count_; }
  T* begin() { return data_; }
  T* end() { return data_ + count_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + count_; }

 private:
  static size_t page_bytes() {
#ifdef _WIN32
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
#else
    return static_cast<size_t>(sysconf(_SC_PAGESIZE));
#endif
  }
  size_t count_, body_ = 0;
  uint8_t* base_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace hearth::test
