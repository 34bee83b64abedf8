// The header, metadata and tensor directory of a mapped GGUF file. Nothing in the file is trusted: every length, count
// and offset is checked before it is used, and an Error names the field at fault.
// The format is described in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3,
// little-endian).
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "mapped_file.h"
#include "tensor_types.h"

namespace hearth {

struct Tensor {
  std::string_view name;
  TensorType type;
  int dimensions;
  int64_t shape[4];  ///< in ggml's order: the contiguous dimension first; unused dimensions are 1
  uint64_t offset;   ///< from the start of the file
  uint64_t bytes;
  const uint8_t* data;
};

/// A metadata array, whose elements have been checked. They stay in the file, because the next array may be as long and
/// hardly any element is ever read.
struct GgufArray {
  enum class Kind { integers, floats, booleans, strings } kind;
  uint32_t type;  ///< type of an element, as the file numbers types
  uint64_t count;
  const uint8_t* data;
  uint64_t bytes;  ///< bytes of all elements, including the lengths of strings

  /// Element `i` of an array of numbers or booleans. integer() cuts floats to whole numbers.
  int64_t integer(uint64_t i) const;
  double number(uint64_t i) const;
  /// Calls `take(std::string_view)` for each string of an array of them.
  template <class Take>
  void each_string(Take&& take) const {
    const uint8_t* at = data;
    for (uint64_t i = 0; i < count; i++) {
      uint64_t length;
      std::memcpy(&length, at, sizeof length);
      take(std::string_view(reinterpret_cast<const char*>(at) + sizeof length, length));
      at += sizeof length + length;
    }
  }
};

using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray>;

/// The most bytes of an array that is converted as a whole. The limit is more than three times the size of o200k's
/// merges.
constexpr uint64_t kMaxTableBytes = uint64_t{32} << 20;

class Gguf {
 public:
  /// Maps and parses the file. Throws Error.
  explicit Gguf(const std::string& path);

  const MappedFile& file() const { return *file_; }
  MappedFile& file() { return *file_; }
  uint32_t version() const { return version_; }
  const std::vector<std::pair<std::string_view, GgufValue>>& metadata() const { return metadata_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }

  /// Both return nullptr where the file has no such key or tensor.
  const GgufValue* find(std::string_view key) const;
  const Tensor* find_tensor(std::string_view name) const;

  /// Typed access to a key. Throws Error where the key has another type, or where it is absent and no default is given.
  uint32_t u32(const std::string& key) const;
  uint32_t u32(const std::string& key, uint32_t absent) const;
  float f32(const std::string& key) const;
  float f32(const std::string& key, float absent) const;
  bool boolean(const std::string& key, bool absent) const;
  /// The elements of an array of integers; empty where the key is absent.
  std::vector<int64_t> integers(const std::string& key) const;
  std::string_view string(const std::string& key) const;
  std::string_view string(const std::string& key, std::string_view absent) const;

 private:
  void parse();

  std::unique_ptr<MappedFile> file_;
  uint32_t version_ = 0;
  std::vector<std::pair<std::string_view, GgufValue>> metadata_;
  std::unordered_map<std::string_view, size_t> keys_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string_view, size_t> names_;
};

}  // namespace hearth
