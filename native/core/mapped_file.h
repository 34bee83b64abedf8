// A file mapped read-only into memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

namespace hearth {

/// Mappings begin at multiples of this number, the largest page size of all supported systems. A GPU takes only such
/// mappings without a copy.
constexpr size_t kMapAlignment = size_t{16} << 10;

/// Reserves address space for `bytes`, rounded up to kMapAlignment and at a multiple of it. The caller maps over it or
/// makes it accessible. Returns nullptr where there is none. Not on Windows.
void* reserve_aligned(size_t bytes);
void free_aligned(const void* space, size_t bytes);

/// The entry of a mapping in the list that the signal handler reads; see mapped_file.cpp.
struct Mapping;

class MappedFile {
 public:
  /// Maps the whole file. `path` is UTF-8. Throws Error where there is no such file, no permission or no address space,
  /// or where the file is empty or a folder.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  const uint8_t* end() const { return data_ + size_; }
  /// Starts to read the file into the system's cache, from front to back and beside everything else. Where the disk is
  /// the bottleneck, that is faster than reading each page when it is first touched. Does nothing where the file would
  /// take more than three quarters of the machine's memory. A second call does nothing.
  void read_ahead();
  /// Throws FileChangedError where the file that was mapped is still at the path but has another size or another time
  /// of writing, or where check_read() throws.
  void check() const;
  /// Throws FileChangedError where a part of the mapping could not be read, so that zeros have taken its place. Does
  /// not ask the system.
  void check_read() const;
  /// Gives the whole pages inside [from, from + bytes) back to the system. They come back when they are read again.
  void release(const uint8_t* from, size_t bytes) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Mapping* mapping_ = nullptr;
  /// The identity of the file on its system (0: not known), and the time at which it was last written to before it was
  /// mapped.
  uint64_t device_ = 0, number_ = 0;
  int64_t written_ = 0;
  std::thread reader_;
  std::atomic<bool> stop_{false};
};

}  // namespace hearth
