// MappedFile over POSIX mmap or Win32 file mappings.
#include "mapped_file.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>

#include "error.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#endif

namespace hearth {

/// Where a file lies in memory, for the signal handler. `begin` is 0 while the entry is free. Entries are reused and
/// never freed, because the handler may read them at any time.
struct Mapping {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> damaged{false};
  Mapping* next = nullptr;
};

namespace {

/// Tells which file it is and when it was last written to.
struct FileState {
  uint64_t size, device, number;
  int64_t written;
};

}  // namespace

#ifdef _WIN32

namespace {

[[noreturn]] void fail_with_last_error(const char* what, const std::string& path) {
  const DWORD code = GetLastError();
  fail("cannot %s %s: %s (Windows error %lu)", what, path.c_str(),
       std::system_category().message(static_cast<int>(code)).c_str(), code);
}

size_t physical_memory() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  return GlobalMemoryStatusEx(&status) ? static_cast<size_t>(status.ullTotalPhys) : 0;
}

size_t page_bytes() {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
}

void will_need(uint8_t* from, size_t bytes) {
  WIN32_MEMORY_RANGE_ENTRY range{from, bytes};
  PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

// Unlocking pages that are not locked removes them from the working set (VirtualUnlock's documentation).
void drop(uint8_t* from, size_t bytes) { VirtualUnlock(from, bytes); }

}  // namespace

namespace {

std::wstring wide_path(const std::string& path) {
  std::wstring wide(static_cast<size_t>(MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, nullptr, 0)), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, wide.data(), static_cast<int>(wide.size()));
  return wide;
}

int64_t ticks(const FILETIME& time) {
  return static_cast<int64_t>(uint64_t{time.dwHighDateTime} << 32 | time.dwLowDateTime);
}

/// false where there is no such file.
bool state_of(const std::string& path, FileState& state) {
  WIN32_FILE_ATTRIBUTE_DATA data;
  if (!GetFileAttributesExW(wide_path(path).c_str(), GetFileExInfoStandard, &data)) return false;
  state = {uint64_t{data.nFileSizeHigh} << 32 | data.nFileSizeLow, 0, 0, ticks(data.ftLastWriteTime)};
  return true;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const std::wstring wide = wide_path(path);
  // With these semantics a folder can be opened as well, so that it is told apart from a file that may not be read.
  HANDLE file = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                            FILE_FLAG_BACKUP_SEMANTICS, nullptr);
  if (file == INVALID_HANDLE_VALUE) fail_with_last_error("open", path);
  BY_HANDLE_FILE_INFORMATION information;
  if (GetFileType(file) != FILE_TYPE_DISK || !GetFileInformationByHandle(file, &information) ||
      information.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) {
    CloseHandle(file);
    fail("%s is not a file; a model is a single .gguf file", path.c_str());
  }
  size_ = static_cast<size_t>(uint64_t{information.nFileSizeHigh} << 32 | information.nFileSizeLow);
  written_ = ticks(information.ftLastWriteTime);
  if (size_ == 0) {
    CloseHandle(file);
    fail("%s is empty", path.c_str());
  }
  HANDLE mapping = CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
  CloseHandle(file);
  if (!mapping) fail_with_last_error("map", path);
  data_ = static_cast<const uint8_t*>(MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0));
  CloseHandle(mapping);
  if (!data_) fail_with_last_error("map", path);
}

MappedFile::~MappedFile() {
  stop_ = true;
  if (reader_.joinable()) reader_.join();
  if (data_) UnmapViewOfFile(data_);
}

#else

void* reserve_aligned(size_t bytes) {
  const size_t size = (bytes + kMapAlignment - 1) / kMapAlignment * kMapAlignment;
  void* whole = mmap(nullptr, size + kMapAlignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  auto* begin = static_cast<uint8_t*>(whole);
  auto* aligned = begin + (kMapAlignment - reinterpret_cast<uintptr_t>(begin) % kMapAlignment) % kMapAlignment;
  if (aligned > begin) munmap(begin, static_cast<size_t>(aligned - begin));
  if (aligned < begin + kMapAlignment) munmap(aligned + size, static_cast<size_t>(begin + kMapAlignment - aligned));
  return aligned;
}

void free_aligned(const void* space, size_t bytes) {
  munmap(const_cast<void*>(space), (bytes + kMapAlignment - 1) / kMapAlignment * kMapAlignment);
}

namespace {

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

size_t physical_memory() { return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * page_bytes(); }

void will_need(uint8_t* from, size_t bytes) { madvise(from, bytes, MADV_WILLNEED); }

void drop(uint8_t* from, size_t bytes) { madvise(from, bytes, MADV_DONTNEED); }

FileState state_of(const struct stat& status) {
#ifdef __APPLE__
  const timespec written = status.st_mtimespec;
#else
  const timespec written = status.st_mtim;
#endif
  return {static_cast<uint64_t>(status.st_size), static_cast<uint64_t>(status.st_dev),
          static_cast<uint64_t>(status.st_ino), static_cast<int64_t>(written.tv_sec) * 1'000'000'000 + written.tv_nsec};
}

/// false where there is no such file.
bool state_of(const std::string& path, FileState& state) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return false;
  state = state_of(status);
  return true;
}

// When somebody shortens a mapped file, its last pages are gone, and touching one raises SIGBUS, which would end the
// process. For a fault inside one of our mappings, the handler maps zeros from that page to the end and marks the
// mapping. The step goes on, on whichever thread it was, and its results are dropped once it has ended (check_read).
// All other faults go to the handler that was there before.

std::atomic<Mapping*> mappings{nullptr};
struct sigaction previous_handler;

void on_bus_error(int signal, siginfo_t* information, void* context) {
  const int saved = errno;
  const auto address = reinterpret_cast<uintptr_t>(information->si_addr);
  for (Mapping* mapping = mappings.load(std::memory_order_acquire); mapping; mapping = mapping->next) {
    const uintptr_t begin = mapping->begin.load(), end = mapping->end.load();
    if (begin == 0 || address < begin || address >= end) continue;
    const uintptr_t page = address - address % static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    mapping->damaged = true;
    if (mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
      break;
    errno = saved;
    return;
  }
  errno = saved;
  if (previous_handler.sa_flags & SA_SIGINFO) return previous_handler.sa_sigaction(signal, information, context);
  if (previous_handler.sa_handler != SIG_DFL && previous_handler.sa_handler != SIG_IGN)
    return previous_handler.sa_handler(signal);
  // Returning repeats the fault, which then ends the process as it would have without this handler.
  std::signal(signal, SIG_DFL);
}

Mapping* watch(const void* from, size_t bytes) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (!mappings.load()) {
    struct sigaction action{};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &previous_handler);
  }
  Mapping* mapping = mappings.load();
  while (mapping && mapping->begin != 0) mapping = mapping->next;
  const bool fresh = mapping == nullptr;
  if (fresh) {
    mapping = new Mapping;
    mapping->next = mappings.load();
  }
  mapping->damaged = false;
  const auto begin = reinterpret_cast<uintptr_t>(from);
  mapping->end = begin + bytes;
  mapping->begin = begin;
  if (fresh) mappings.store(mapping, std::memory_order_release);
  return mapping;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  // With O_NONBLOCK, opening a named pipe does not wait, so that the pipe is refused below. The flag makes no
  // difference for files.
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) fail("cannot open %s: %s", path.c_str(), std::strerror(errno));
  struct stat status;
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(file);
    fail("%s is not a file; a model is a single .gguf file", path.c_str());
  }
  if (status.st_size == 0) {
    close(file);
    fail("%s is empty", path.c_str());
  }
  size_ = static_cast<size_t>(status.st_size);
  const FileState state = state_of(status);
  device_ = state.device;
  number_ = state.number;
  written_ = state.written;
  void* place = reserve_aligned(size_);
  void* map = place ? mmap(place, size_, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0) : MAP_FAILED;
  int error = errno;
  close(file);
  if (map == MAP_FAILED && place) free_aligned(place, size_);
  if (map == MAP_FAILED) fail("cannot map %s (%zu bytes): %s", path.c_str(), size_, std::strerror(error));
  data_ = static_cast<const uint8_t*>(map);
  try {
    mapping_ = watch(data_, size_);
  } catch (...) {
    free_aligned(data_, size_);
    throw;
  }
}

MappedFile::~MappedFile() {
  stop_ = true;
  if (reader_.joinable()) reader_.join();
  // Nobody reads the mapping any more. The entry must be free before the address space can be somebody else's.
  mapping_->begin = 0;
  free_aligned(data_, size_);
}

#endif

void MappedFile::check_read() const {
  if (mapping_ && mapping_->damaged)
    throw FileChangedError("the model file changed while in use: " + path_ +
                           " was cut or cannot be read any more; load it again once it is whole");
}

void MappedFile::check() const {
  check_read();
  FileState now;
  // Where the file was deleted or replaced by another, the mapped contents stay as they were.
  if (!state_of(path_, now) || now.device != device_ || now.number != number_) return;
  if (now.size != size_ || now.written != written_)
    throw FileChangedError("the model file changed while in use: " + path_ +
                           " was written to; load it again once it is whole");
}

void MappedFile::read_ahead() {
  if (reader_.joinable() || size_ > physical_memory() / 4 * 3) return;
  try {
    reader_ = std::thread([this] {
      // The file is read in pieces, so that closing it does not wait for the disk.
      constexpr size_t kPiece = size_t{16} << 20;
      for (size_t at = 0; at < size_ && !stop_; at += kPiece)
        will_need(const_cast<uint8_t*>(data_) + at, std::min(kPiece, size_ - at));
    });
  } catch (const std::exception&) {
    // The system starts no thread, so pages are read when they are first touched.
  }
}

void MappedFile::release(const uint8_t* from, size_t bytes) const {
  const auto page = static_cast<uintptr_t>(page_bytes());
  const uintptr_t first = (reinterpret_cast<uintptr_t>(from) + page - 1) / page * page;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(from) + bytes) / page * page;
  // Only this process gives the pages up. The system's file cache keeps its copy as long as it has room.
  if (last > first) drop(reinterpret_cast<uint8_t*>(first), last - first);
}

}  // namespace hearth
