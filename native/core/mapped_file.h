// A file mapped read-only into memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

namespace hearth {

/// Mappings begin at multiples of this, the largest page of any system here: a GPU takes no others without a copy.
constexpr size_t kMapAlignment = size_t{16} << 10;

/// Address space for `bytes`, rounded up to kMapAlignment, at a multiple of it, to be mapped over or made accessible; nullptr where
/// there is none. Not on Windows.
void* reserve_aligned(size_t bytes);
void free_aligned(const void* space, size_t bytes);

/// A mapping that what is read of may turn out not to be there any more: see mapped_file.cpp.
struct Mapping;

class MappedFile {
 public:
  /// Maps the whole file. `path` is UTF-8. Throws Error (not found, no permission, a folder, empty, no address space).
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  const uint8_t* end() const { return data_ + size_; }
  /// Starts to read the file into the system's cache, front to back and beside everything else: where the disk is the
  /// limit, that is faster than reading what is touched as it is touched. Does nothing where the file would take more than
  /// three quarters of the machine's memory. At most once.
  void read_ahead();
  /// Throws FileChangedError where the file at the path is the one that was mapped, but not as it was then: cut, longer or written to;
  /// or where a part of the mapping could not be read, in whose place there have been zeros since.
  void check() const;
  /// The same of the mapping alone, without asking the system.
  void check_read() const;
  /// Gives the whole pages inside [from, from + bytes) back to the system; reading them again brings them back.
  void release(const uint8_t* from, size_t bytes) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Mapping* mapping_ = nullptr;
  /// Of the file when it was mapped: its identity on its system (0: not known) and when it was last written to.
  uint64_t device_ = 0, number_ = 0;
  int64_t written_ = 0;
  std::thread reader_;
  std::atomic<bool> stop_{false};
};

}  // namespace hearth
