#include "vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "error.h"

namespace hearth {

namespace {

/// The most tokens, and the most merges, of a vocabulary. (o200k has 201,088 tokens and 446,189 merges.)
constexpr uint64_t kMaxTable = 1 << 21;

/// Values of `tokenizer.ggml.token_type`, as llama.cpp numbers them.
enum TokenType : int64_t { normal = 1, user_defined = 4, byte_token = 6 };

const char* type_name(const GgufValue* value) {
  if (!value) return "missing";
  if (auto* array = std::get_if<GgufArray>(value))
    return array->kind == GgufArray::Kind::strings ? "an array of strings" : "an array";
  if (std::holds_alternative<std::string_view>(*value)) return "a string";
  return std::holds_alternative<bool>(*value) ? "a boolean" : "a number";
}

[[noreturn]] void mismatch(const Gguf& gguf, const char* key, const char* wanted) {
  fail("%s: metadata %s should be %s but is %s", gguf.file().path().c_str(), key, wanted, type_name(gguf.find(key)));
}

std::optional<std::string_view> text_at(const Gguf& gguf, const char* key) {
  const GgufValue* value = gguf.find(key);
  if (!value) return std::nullopt;
  if (auto* text = std::get_if<std::string_view>(value)) return *text;
  mismatch(gguf, key, "a string");
}

const GgufArray& strings_at(const Gguf& gguf, const char* key) {
  const GgufValue* value = gguf.find(key);
  auto* array = value ? std::get_if<GgufArray>(value) : nullptr;
  if (!array || array->kind != GgufArray::Kind::strings) mismatch(gguf, key, "an array of strings");
  if (array->count > kMaxTable)
    fail("%s: %s has %llu entries; at most %llu are read", gguf.file().path().c_str(), key,
         static_cast<unsigned long long>(array->count), static_cast<unsigned long long>(kMaxTable));
  if (array->bytes > kMaxTableBytes)
    fail("%s: %s takes %llu MB; at most %llu are read", gguf.file().path().c_str(), key,
         static_cast<unsigned long long>(array->bytes >> 20), static_cast<unsigned long long>(kMaxTableBytes >> 20));
  return *array;
}

/// GPT-2's byte-level alphabet (engine/tokenizer/byte-level.ts): the byte of each code point; −1: the code point is not
/// in the alphabet.
const std::array<int16_t, 0x144>& alphabet() {
  static const auto table = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    size_t next = 0x100;
    for (int byte = 0; byte < 256; byte++) {
      const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      bytes[printable ? static_cast<size_t>(byte) : next++] = static_cast<int16_t>(byte);
    }
    return bytes;
  }();
  return table;
}

/// Turns texts of the alphabet into the bytes that they stand for. All texts share one buffer.
class Decoder {
 public:
  void clear() { size_ = 0; }
  size_t size() const { return size_; }
  std::string_view text() const { return {buffer_.data(), size_}; }
  /// Appends the bytes of a text. Returns false where a character is not in the alphabet.
  bool append(std::string_view text) {
    if (size_ + text.size() > buffer_.size()) buffer_.resize(2 * (size_ + text.size()));
    char* out = buffer_.data() + size_;
    for (size_t i = 0; i < text.size();) {
      uint32_t code = static_cast<uint8_t>(text[i++]);
      if (code >= 0x80) {
        if (code < 0xc0 || code >= 0xe0 || i >= text.size()) return false;
        code = (code & 0x1f) << 6 | (static_cast<uint8_t>(text[i++]) & 0x3f);
      }
      if (code >= bytes_.size() || bytes_[code] < 0) return false;
      *out++ = static_cast<char>(bytes_[code]);
    }
    size_ = static_cast<size_t>(out - buffer_.data());
    return true;
  }

 private:
  const std::array<int16_t, 0x144>& bytes_ = alphabet();
  std::string buffer_ = std::string(256, '\0');
  size_t size_ = 0;
};

bool encloses(std::string_view text, std::string_view open, std::string_view close) {
  return text.size() > open.size() + close.size() && text.starts_with(open) && text.ends_with(close);
}

/// The set of the tokens' texts. It keeps their hashes alone, so that a lookup, of which each merge needs three, is one
/// read of memory. Two texts have the same hash of 64 bits only where somebody has made them so. The tokenizer itself
/// then refuses the file.
class TextSet {
 public:
  /// Makes room for at most `most` texts.
  explicit TextSet(size_t most) : slots_(std::bit_ceil(most + most / 2 + 16), 0) {}
  void add(std::string_view text) {
    const uint64_t key = hash(text);
    slots_[slot(key)] = key;
  }
  bool has(uint64_t key) const { return slots_[slot(key)] != 0; }
  bool has(std::string_view text) const { return has(hash(text)); }
  /// Asks the processor to load the slot that `has` will read first.
  void prefetch(uint64_t key) const { __builtin_prefetch(&slots_[key & (slots_.size() - 1)]); }

  /// The hash of a text. It is never 0, because 0 marks a free slot.
  static uint64_t hash(std::string_view text) {
    constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
    const char* at = text.data();
    size_t left = text.size();
    uint64_t hash = left * kMultiplier;
    for (; left >= 8; at += 8, left -= 8) {
      uint64_t word;
      std::memcpy(&word, at, 8);
      hash = (hash ^ word) * kMultiplier;
      hash ^= hash >> 29;
    }
    uint64_t word = 0;
    while (left > 0) word = word << 8 | static_cast<uint8_t>(at[--left]);
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 29;
    hash *= kMultiplier;
    hash ^= hash >> 32;
    return hash != 0 ? hash : 1;
  }

 private:
  size_t slot(uint64_t key) const {
    size_t at = key & (slots_.size() - 1);
    while (slots_[at] != 0 && slots_[at] != key) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  std::vector<uint64_t> slots_;
};

/// The arrays of a vocabulary, whose kinds and counts `arrays_of` has checked.
struct Arrays {
  const GgufArray& tokens;
  const GgufArray* types;  ///< nullptr where the file gives no types; every token is then normal
  const GgufArray& merges;
};

void check_kind(const Gguf& gguf, const VocabularyRules& rules) {
  const char* file = gguf.file().path().c_str();
  const auto model = text_at(gguf, "tokenizer.ggml.model");
  if (!model) mismatch(gguf, "tokenizer.ggml.model", "a string");
  if (*model != "gpt2")
    fail("%s: tokenizer.ggml.model \"%s\" is not supported; Hearth reads byte-level BPE (\"gpt2\")", file,
         printable(*model).c_str());
  const std::string pre(text_at(gguf, "tokenizer.ggml.pre").value_or("(none)"));
  if (std::find(rules.pre_tokenizers.begin(), rules.pre_tokenizers.end(), pre) == rules.pre_tokenizers.end()) {
    std::string names;
    for (const std::string& name : rules.pre_tokenizers) names += (names.empty() ? "\"" : ", \"") + name + "\"";
    fail("%s: tokenizer.ggml.pre \"%s\" is not supported; Hearth knows %s", file, printable(pre).c_str(),
         names.c_str());
  }
}

Arrays arrays_of(const Gguf& gguf, int output_rows) {
  const char* file = gguf.file().path().c_str();
  const GgufArray& tokens = strings_at(gguf, "tokenizer.ggml.tokens");
  const GgufValue* types_value = gguf.find("tokenizer.ggml.token_type");
  const auto* types = types_value ? std::get_if<GgufArray>(types_value) : nullptr;
  if (types_value && (!types || types->kind == GgufArray::Kind::strings || types->kind == GgufArray::Kind::booleans))
    mismatch(gguf, "tokenizer.ggml.token_type", "an array of integers");
  if (const GgufValue* adds = gguf.find("tokenizer.ggml.add_bos_token"); adds && !std::holds_alternative<bool>(*adds))
    mismatch(gguf, "tokenizer.ggml.add_bos_token", "a boolean");
  const GgufArray& merges = strings_at(gguf, "tokenizer.ggml.merges");
  if (types && types->count != tokens.count)
    fail("%s: tokenizer.ggml.token_type has %llu entries for %llu tokens", file,
         static_cast<unsigned long long>(types->count), static_cast<unsigned long long>(tokens.count));
  if (tokens.count > static_cast<uint64_t>(output_rows))
    fail("%s: the tokenizer has %llu tokens, the output layer only %d", file,
         static_cast<unsigned long long>(tokens.count), output_rows);
  return {tokens, types, merges};
}

/// Checks the tokens and returns their texts.
TextSet texts_of(const char* file, const Arrays& arrays, const VocabularyRules& rules) {
  TextSet texts(2 * arrays.tokens.count);
  Decoder decoded;
  uint64_t id = 0;
  arrays.tokens.each_string([&](std::string_view name) {
    const uint64_t n = id++;
    const int64_t type = arrays.types ? arrays.types->integer(n) : normal;
    if (type != normal && type != user_defined && type != byte_token) return;
    decoded.clear();
    const bool is_text = decoded.append(name);
    if (type == byte_token) {
      if (is_text && decoded.size() == 1) texts.add(decoded.text());
      return;
    }
    const bool control =
        encloses(name, "<|", "|>") || encloses(name, "<｜", "｜>") ||
        std::find(rules.control_names.begin(), rules.control_names.end(), name) != rules.control_names.end();
    if (type == normal && !control) {
      if (!is_text)
        fail("%s: token %llu in tokenizer.ggml.tokens is not byte-level text", file,
             static_cast<unsigned long long>(n));
      if (name.empty())
        fail("%s: token %llu in tokenizer.ggml.tokens is empty", file, static_cast<unsigned long long>(n));
    } else {
      texts.add(name);
    }
    if (is_text) texts.add(decoded.text());
  });
  return texts;
}

void check_bytes(const char* file, const TextSet& texts) {
  for (int byte = 0; byte < 0x7f; byte++) {
    const char text = static_cast<char>(byte);
    if ((byte == '\n' || byte >= ' ') && !texts.has({&text, 1}))
      fail("%s: tokenizer.ggml.tokens lacks the token of byte %d (\"%s\")", file, byte,
           byte == '\n' ? "\\n" : std::string(1, text).c_str());
  }
}

void check_merges(const char* file, const GgufArray& merges, const TextSet& texts) {
  // Hundreds of thousands of lookups each wait for memory. So the loads of some 48 lookups begin before the first of
  // them is checked.
  struct Lookup {
    uint64_t key, line;
  };
  std::vector<Lookup> lookups;
  const auto look = [&] {
    for (const auto& [key, line] : lookups)
      if (!texts.has(key))
        fail("%s: merge %llu in tokenizer.ggml.merges names text that is no token", file,
             static_cast<unsigned long long>(line));
    lookups.clear();
  };
  const auto begin = [&](std::string_view text, uint64_t line) {
    const uint64_t key = TextSet::hash(text);
    texts.prefetch(key);
    lookups.push_back({key, line});
  };
  Decoder decoded;
  uint64_t line = 0;
  merges.each_string([&](std::string_view merge) {
    const uint64_t n = line++;
    const size_t space = merge.find(' ');
    decoded.clear();
    const bool is_pair = space != std::string_view::npos && space != 0 && space + 1 != merge.size();
    const bool is_text = is_pair && decoded.append(merge.substr(0, space));
    const size_t middle = decoded.size();
    if (!is_text || !decoded.append(merge.substr(space + 1))) {
      look();
      if (!is_pair)
        fail("%s: merge %llu in tokenizer.ggml.merges is not \"left right\"", file, static_cast<unsigned long long>(n));
      fail("%s: merge %llu in tokenizer.ggml.merges names text that is no token", file,
           static_cast<unsigned long long>(n));
    }
    begin(decoded.text().substr(0, middle), n);
    begin(decoded.text().substr(middle), n);
    begin(decoded.text(), n);
    if (lookups.size() >= 48) look();
  });
  look();
}

}  // namespace

void check_vocabulary(const Gguf& gguf, const VocabularyRules& rules, int output_rows) {
  const char* file = gguf.file().path().c_str();
  check_kind(gguf, rules);
  const Arrays arrays = arrays_of(gguf, output_rows);
  const TextSet texts = texts_of(file, arrays, rules);
  check_bytes(file, texts);
  check_merges(file, arrays.merges, texts);
}

}  // namespace hearth
