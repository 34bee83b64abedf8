// Damages a model's bytes at random and parses them. It is built with -fsanitize=address,undefined, so reads beyond the
// file, overflows and leaks end the program. The sanitizer must see where the file ends, so the file lies on the heap
// with its exact length. This program therefore has its own MappedFile and is linked without core/mapped_file.cpp.
//
//   gguf_fuzz MODEL MUTATIONS SEED
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "../../core/error.h"
#include "../../core/model.h"
#include "../../core/vocabulary.h"

namespace hearth {

namespace {
std::vector<uint8_t> contents;
}

MappedFile::MappedFile(const std::string& path) : path_(path) {
  size_ = contents.size();
  auto* copy = new uint8_t[size_];
  std::copy(contents.begin(), contents.end(), copy);
  data_ = copy;
}
MappedFile::~MappedFile() { delete[] data_; }
void MappedFile::read_ahead() {}
void MappedFile::check_read() const {}

}  // namespace hearth

using namespace hearth;

namespace {

/// Makes a damaged copy. Each change damages a byte, writes an integer at the edge of a range, repeats or cuts out a
/// few bytes, or cuts off the end.
std::vector<uint8_t> mutate(const std::vector<uint8_t>& original, size_t header, std::mt19937_64& random) {
  auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  std::vector<uint8_t> bytes = original;
  for (size_t changes = 1 + below(4); changes > 0 && !bytes.empty(); changes--) {
    const size_t at = below(std::min(header, bytes.size()));
    static constexpr uint64_t kTelling[] = {0,          1,          9,          13,         0x7FFFFFFF,
                                            0x80000000, 0xFFFFFFFF, 1ull << 48, 1ull << 63, ~0ull};
    const uint64_t value = kTelling[below(std::size(kTelling))];
    switch (below(6)) {
      case 0: bytes[at] = static_cast<uint8_t>(random()); break;
      case 1: bytes[at] ^= static_cast<uint8_t>(1 << below(8)); break;
      case 2: std::memcpy(&bytes[at], &value, std::min<size_t>(4, bytes.size() - at)); break;
      case 3: std::memcpy(&bytes[at], &value, std::min<size_t>(8, bytes.size() - at)); break;
      case 4: {
        const std::vector<uint8_t> piece(
            bytes.begin() + static_cast<std::ptrdiff_t>(at),
            bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at + below(64), bytes.size())));
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(below(std::min(header, bytes.size()))), piece.begin(),
                     piece.end());
        break;
      }
      case 5:
        if (below(4) == 0) bytes.resize(at);
        else
          bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                      bytes.begin() + static_cast<std::ptrdiff_t>(std::min(at + below(16), bytes.size())));
        break;
    }
  }
  return bytes;
}

/// Reads every element of every array, as the addon does for JavaScript. Returns a number that depends on all of them,
/// so that the compiler cannot drop the reads.
double read_arrays(const Gguf& gguf) {
  double sum = 0;
  for (const auto& [key, value] : gguf.metadata()) {
    auto* array = std::get_if<GgufArray>(&value);
    if (!array) continue;
    if (array->kind == GgufArray::Kind::strings)
      array->each_string([&](std::string_view text) { sum += text.empty() ? 0 : text.back(); });
    else
      for (uint64_t i = 0; i < array->count; i++)
        sum += static_cast<double>(array->integer(i) & 1) + (array->number(i) > 0);
  }
  return sum;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "usage: gguf_fuzz MODEL MUTATIONS SEED\n");
    return 1;
  }
  std::ifstream file(arguments[1], std::ios::binary);
  const std::vector<uint8_t> original((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  contents = original;
  size_t header = original.size();
  const Gguf undamaged("original");
  for (const Tensor& tensor : undamaged.tensors()) header = std::min<size_t>(header, tensor.offset);
  std::mt19937_64 random(std::strtoull(arguments[3], nullptr, 10));
  const VocabularyRules rules{{"gpt-4o"}, {"<EOT>"}};
  long accepted = 0;
  double sum = 0;
  const long mutations = std::strtol(arguments[2], nullptr, 10);
  for (long i = 0; i < mutations; i++) {
    contents = mutate(original, header, random);
    try {
      // Tables of hundreds of texts are the slow part, so they are read every eighth time only.
      if (i % 8 == 0) sum += read_arrays(Gguf("damaged"));
      Model model("damaged");
      accepted++;
      if (i % 8 != 0) continue;
      Model plan("damaged", Model::Reading::plan);
      check_vocabulary(plan.gguf(), rules, plan.config().vocabulary);
    } catch (const Error& error) {
      if (std::strncmp(error.what(), "damaged", 7) != 0 || std::strchr(error.what(), '\n')) {
        std::fprintf(stderr, "mutation %ld: a message that is no line about the file: %s\n", i, error.what());
        return 1;
      }
    }
  }
  std::printf("%ld of %ld accepted, %g\n", accepted, mutations, sum);
  return 0;
}
