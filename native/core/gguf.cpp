#include "gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "error.h"

namespace hearth {

static_assert(std::endian::native == std::endian::little, "GGUF data is used in place and is little-endian");

namespace {

/// The name of a type that ggml has withdrawn, whose number stays taken (ggml.h, `enum ggml_type`). nullptr for any
/// other number.
const char* withdrawn_type(uint32_t type) {
  switch (type) {
    case 4: return "Q4_2";
    case 5: return "Q4_3";
    case 31: return "Q4_0_4_4";
    case 32: return "Q4_0_4_8";
    case 33: return "Q4_0_8_8";
    case 36: return "IQ4_NL_4_4";
    case 37: return "IQ4_NL_4_8";
    case 38: return "IQ4_NL_8_8";
    default: return nullptr;
  }
}

enum ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };

/// The limits lie far above any real model, such as gpt-oss with 459 tensors, 32 entries and 11 MB of header, nearly
/// all of it 446,189 merges. The size of the file does not limit what a header can claim, because a sparse file takes
/// no room on the disk. So all bytes of a header share one budget, and all of its texts another. Entries, tensors and
/// texts become values of JavaScript, on the one thread that serves everybody.
constexpr uint64_t kMaxTensors = 1 << 13, kMaxMetadata = 1 << 12;
constexpr size_t kMaxHeaderBytes = size_t{128} << 20, kMaxTextBytes = size_t{8} << 20;

constexpr size_t kScalarBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/// Reads the file from front to back. Each read checks that enough bytes are left, and its error names what was being
/// read (`what`).
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : file_(file) {}

  const char* path() const { return file_.path().c_str(); }
  size_t position() const { return position_; }
  size_t left_in_file() const { return file_.size() - position_; }
  /// The bytes that are left of the file and of the header's budget.
  size_t left() const { return std::min(file_.size(), kMaxHeaderBytes) - position_; }

  const uint8_t* take(uint64_t bytes, const char* what) {
    if (bytes > left()) {
      if (bytes <= left_in_file())
        fail("%s: its header takes more than %zu MB, up to %s, which no model's does", path(), kMaxHeaderBytes >> 20,
             what);
      fail("%s is truncated or damaged: %s needs %llu bytes at offset %zu, but only %zu are left; download it again",
           path(), what, static_cast<unsigned long long>(bytes), position_, left_in_file());
    }
    const uint8_t* at = file_.data() + position_;
    position_ += bytes;
    return at;
  }
  template <class T>
  T read(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof value, what), sizeof value);
    return value;
  }
  /// Reads a string of an array. Such strings do not count towards the budget of texts.
  std::string_view element(const char* what) {
    auto length = read<uint64_t>(what);
    if (length > left_in_file())
      fail("%s is damaged: %s is said to be %llu bytes long, but only %zu are left in the file", path(), what,
           static_cast<unsigned long long>(length), left_in_file());
    return {reinterpret_cast<const char*>(take(length, what)), length};
  }
  /// Reads a key, a name or a text.
  std::string_view string(const char* what) {
    std::string_view text = element(what);
    texts_ += text.size();
    if (texts_ > kMaxTextBytes)
      fail("%s: its keys, names and texts take more than %zu MB, up to %s, which no model's do", path(),
           kMaxTextBytes >> 20, what);
    return text;
  }

 private:
  const MappedFile& file_;
  size_t position_ = 0, texts_ = 0;
};

GgufValue read_scalar(Cursor& in, uint32_t type, const char* what) {
  switch (type) {
    case U8: return uint64_t{in.read<uint8_t>(what)};
    case U16: return uint64_t{in.read<uint16_t>(what)};
    case U32: return uint64_t{in.read<uint32_t>(what)};
    case U64: return in.read<uint64_t>(what);
    case I8: return int64_t{in.read<int8_t>(what)};
    case I16: return int64_t{in.read<int16_t>(what)};
    case I32: return int64_t{in.read<int32_t>(what)};
    case I64: return in.read<int64_t>(what);
    case F32: return double{in.read<float>(what)};
    case F64: return in.read<double>(what);
    case BOOL: return in.read<uint8_t>(what) != 0;
    case STRING: return in.string(what);
    default: fail("%s is damaged: the metadata value of %s has the unknown type %u", in.path(), what, type);
  }
}

GgufArray read_array(Cursor& in, const char* what) {
  auto type = in.read<uint32_t>(what);
  auto count = in.read<uint64_t>(what);
  if (type > F64 || type == ARRAY)
    fail("%s: the metadata array %s has the unsupported element type %u", in.path(), what, type);
  size_t least = type == STRING ? 8 : kScalarBytes[type];
  if (count > in.left_in_file() / least)
    fail("%s is damaged: the metadata array %s claims %llu elements, more than it can hold", in.path(), what,
         static_cast<unsigned long long>(count));
  using Kind = GgufArray::Kind;
  GgufArray array{};
  array.kind = type == STRING               ? Kind::strings
               : type == BOOL               ? Kind::booleans
               : type == F32 || type == F64 ? Kind::floats
                                            : Kind::integers;
  array.type = type;
  array.count = count;
  array.data = in.take(0, what);
  if (count > in.left() / least) in.take(count * least, what);  // fails, because the header's budget is exceeded
  if (type == STRING)
    for (uint64_t i = 0; i < count; i++) in.element(what);
  else in.take(count * least, what);
  array.bytes = static_cast<uint64_t>(in.take(0, what) - array.data);
  return array;
}

template <class T>
T element_at(const uint8_t* data, uint64_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof value, sizeof value);
  return value;
}

/// Element `i` as the widest number of its kind.
template <class Number>
Number number_at(const GgufArray& array, uint64_t i) {
  switch (array.type) {
    case I8: return static_cast<Number>(element_at<int8_t>(array.data, i));
    case U16: return static_cast<Number>(element_at<uint16_t>(array.data, i));
    case I16: return static_cast<Number>(element_at<int16_t>(array.data, i));
    case U32: return static_cast<Number>(element_at<uint32_t>(array.data, i));
    case I32: return static_cast<Number>(element_at<int32_t>(array.data, i));
    case U64: return static_cast<Number>(element_at<uint64_t>(array.data, i));
    case I64: return static_cast<Number>(element_at<int64_t>(array.data, i));
    case BOOL: return static_cast<Number>(element_at<uint8_t>(array.data, i) != 0);
    default: return static_cast<Number>(element_at<uint8_t>(array.data, i));
  }
}

/// Reads the magic and the version.
uint32_t read_version(Cursor& in) {
  if (in.left_in_file() < 4 || std::memcmp(in.take(4, "the magic"), "GGUF", 4) != 0)
    fail("%s is not a GGUF file", in.path());
  const auto version = in.read<uint32_t>("the version");
  if (version == 0x02000000 || version == 0x03000000)
    fail("%s is a big-endian GGUF, which is not supported", in.path());
  if (version != 2 && version != 3) fail("%s has GGUF version %u; versions 2 and 3 are supported", in.path(), version);
  return version;
}

struct Counts {
  uint64_t tensors, metadata;
};

Counts read_counts(Cursor& in) {
  const auto tensors = in.read<uint64_t>("the tensor count");
  const auto metadata = in.read<uint64_t>("the metadata count");
  // The shortest tensor entry takes 32 bytes (8 + 4 + 8 + 4 + 8), the shortest metadata entry 13 (8 + 4 + 1).
  if (tensors > in.left() / 32 || tensors > kMaxTensors)
    fail("%s is damaged: it claims %llu tensors, more than it can hold", in.path(),
         static_cast<unsigned long long>(tensors));
  if (metadata > in.left() / 13 || metadata > kMaxMetadata)
    fail("%s is damaged: it claims %llu metadata entries, more than it can hold", in.path(),
         static_cast<unsigned long long>(metadata));
  return {tensors, metadata};
}

/// Reads metadata entry `i`.
std::pair<std::string_view, GgufValue> read_entry(Cursor& in, uint64_t i) {
  const std::string_view key = in.string("a metadata key");
  if (key.empty() || key.size() > 65535)
    fail("%s is damaged: metadata key %llu has %zu bytes", in.path(), static_cast<unsigned long long>(i), key.size());
  const std::string name = printable(key);
  const auto type = in.read<uint32_t>(name.c_str());
  return {key, type == ARRAY ? GgufValue(read_array(in, name.c_str())) : read_scalar(in, type, name.c_str())};
}

/// Reads `tensor.dimensions` and `tensor.shape`; returns the number of elements.
uint64_t read_shape(Cursor& in, const char* name, Tensor& tensor) {
  const auto dimensions = in.read<uint32_t>(name);
  if (dimensions < 1 || dimensions > 4) fail("%s is damaged: tensor %s has %u dimensions", in.path(), name, dimensions);
  tensor.dimensions = static_cast<int>(dimensions);
  uint64_t elements = 1;
  for (int d = 0; d < 4; d++) {
    const uint64_t size = d < tensor.dimensions ? in.read<uint64_t>(name) : 1;
    // No dimension and no product may exceed 2^48, so that sizes in bytes never overflow.
    if (size == 0 || size >= 1ull << 48 || elements > (1ull << 48) / size)
      fail("%s is damaged: tensor %s has an impossible shape", in.path(), name);
    elements *= size;
    tensor.shape[d] = static_cast<int64_t>(size);
  }
  return elements;
}

TensorType tensor_type(const char* file, const char* name, uint32_t type) {
  if (const char* withdrawn = withdrawn_type(type))
    fail(
        "%s: tensor %s has the type %s, which ggml has withdrawn and which no program reads any more; download a "
        "newer file of the model, or quantise it anew, as Q4_0 or Q4_K for instance",
        file, name, withdrawn);
  if (!is_tensor_type(type))
    fail("%s: tensor %s has the unknown type %u; it may need a newer Hearth", file, name, type);
  return static_cast<TensorType>(type);
}

/// Reads entry `i` of the tensor directory. `offset` counts from the start of the tensors' data until `place` has moved
/// it.
Tensor read_tensor(Cursor& in, uint64_t i) {
  Tensor tensor{};
  tensor.name = in.string("a tensor's name");
  const std::string name = printable(tensor.name);
  if (tensor.name.empty())
    fail("%s is damaged: tensor %llu has no name", in.path(), static_cast<unsigned long long>(i));
  const uint64_t elements = read_shape(in, name.c_str(), tensor);
  const auto type = in.read<uint32_t>(name.c_str());
  tensor.offset = in.read<uint64_t>(name.c_str());
  tensor.type = tensor_type(in.path(), name.c_str(), type);
  const TypeTraits& traits = type_traits(tensor.type);
  if (tensor.shape[0] % traits.block)
    fail("%s is damaged: tensor %s is %s, but its rows of %lld are no multiple of %d", in.path(), name.c_str(),
         traits.name, static_cast<long long>(tensor.shape[0]), traits.block);
  tensor.bytes = elements / static_cast<uint64_t>(traits.block) * static_cast<uint64_t>(traits.block_bytes);
  return tensor;
}

/// Points `tensor` at its data in the file; `data_start` is where the tensors' data begin.
void place(const MappedFile& file, uint64_t data_start, uint32_t alignment, Tensor& tensor) {
  const char* path = file.path().c_str();
  const std::string name = printable(tensor.name);
  if (tensor.offset % alignment)
    fail("%s is damaged: tensor %s is not aligned to %u bytes", path, name.c_str(), alignment);
  if (data_start > file.size() || tensor.offset > file.size() - data_start ||
      tensor.bytes > file.size() - data_start - tensor.offset)
    fail("%s is truncated: tensor %s needs %llu bytes at offset %llu, but the file has only %zu; download it again",
         path, name.c_str(), static_cast<unsigned long long>(tensor.bytes),
         static_cast<unsigned long long>(data_start + tensor.offset), file.size());
  tensor.offset += data_start;
  tensor.data = file.data() + tensor.offset;
}

}  // namespace

int64_t GgufArray::integer(uint64_t i) const {
  if (kind != Kind::floats) return number_at<int64_t>(*this, i);
  const double value = number(i);
  return std::abs(value) < 0x1p53 ? static_cast<int64_t>(value) : 0;
}

double GgufArray::number(uint64_t i) const {
  if (type == F32) return element_at<float>(data, i);
  return type == F64 ? element_at<double>(data, i) : number_at<double>(*this, i);
}

Gguf::Gguf(const std::string& path) : file_(std::make_unique<MappedFile>(path)) {
  try {
    parse();
  } catch (...) {
    // If the file has changed meanwhile, that change is the reason for the error.
    file_->check_read();
    throw;
  }
  file_->check_read();
}

void Gguf::parse() {
  const char* file = file_->path().c_str();
  Cursor in(*file_);
  version_ = read_version(in);
  const Counts counts = read_counts(in);

  metadata_.reserve(counts.metadata);
  for (uint64_t i = 0; i < counts.metadata; i++) {
    const auto& [key, value] = metadata_.emplace_back(read_entry(in, i));
    if (!keys_.emplace(key, i).second)
      fail("%s is damaged: the metadata key %s occurs twice", file, printable(key).c_str());
  }

  const uint32_t alignment = u32("general.alignment", 32);
  if (alignment < 8 || !std::has_single_bit(alignment))
    fail("%s is damaged: general.alignment is %u, which is not a power of two of at least 8", file, alignment);

  tensors_.reserve(counts.tensors);
  for (uint64_t i = 0; i < counts.tensors; i++) {
    const Tensor& tensor = tensors_.emplace_back(read_tensor(in, i));
    if (!names_.emplace(tensor.name, i).second)
      fail("%s is damaged: tensor %s occurs twice", file, printable(tensor.name).c_str());
  }

  const uint64_t data_start = (in.position() + alignment - 1) / alignment * alignment;
  for (Tensor& tensor : tensors_) place(*file_, data_start, alignment, tensor);
}

const GgufValue* Gguf::find(std::string_view key) const {
  auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &metadata_[found->second].second;
}

const Tensor* Gguf::find_tensor(std::string_view name) const {
  auto found = names_.find(name);
  return found == names_.end() ? nullptr : &tensors_[found->second];
}

namespace {
const GgufValue& required(const Gguf& gguf, const std::string& key) {
  const GgufValue* value = gguf.find(key);
  if (!value) fail("%s lacks the metadata key %s", gguf.file().path().c_str(), key.c_str());
  return *value;
}
}  // namespace

uint32_t Gguf::u32(const std::string& key) const {
  const GgufValue& value = required(*this, key);
  uint64_t number = 1ull << 32;
  if (auto* u = std::get_if<uint64_t>(&value)) number = *u;
  if (auto* i = std::get_if<int64_t>(&value); i && *i >= 0) number = static_cast<uint64_t>(*i);
  if (number >> 32)
    fail("%s: the metadata key %s must be a whole number below 2^32", file_->path().c_str(), key.c_str());
  return static_cast<uint32_t>(number);
}

uint32_t Gguf::u32(const std::string& key, uint32_t absent) const { return find(key) ? u32(key) : absent; }

float Gguf::f32(const std::string& key) const {
  const GgufValue& value = required(*this, key);
  if (auto* f = std::get_if<double>(&value)) return static_cast<float>(*f);
  if (auto* u = std::get_if<uint64_t>(&value)) return static_cast<float>(*u);
  fail("%s: the metadata key %s must be a number", file_->path().c_str(), key.c_str());
}

float Gguf::f32(const std::string& key, float absent) const { return find(key) ? f32(key) : absent; }

bool Gguf::boolean(const std::string& key, bool absent) const {
  const GgufValue* value = find(key);
  if (!value) return absent;
  if (auto* b = std::get_if<bool>(value)) return *b;
  fail("%s: the metadata key %s must be true or false", file_->path().c_str(), key.c_str());
}

std::vector<int64_t> Gguf::integers(const std::string& key) const {
  const GgufValue* value = find(key);
  if (!value) return {};
  if (auto* array = std::get_if<GgufArray>(value); array && array->kind == GgufArray::Kind::integers) {
    if (array->count > 4096)
      fail("%s: the metadata key %s has %llu numbers; at most 4096 are read", file_->path().c_str(), key.c_str(),
           static_cast<unsigned long long>(array->count));
    std::vector<int64_t> values(array->count);
    for (size_t i = 0; i < values.size(); i++) values[i] = array->integer(i);
    return values;
  }
  fail("%s: the metadata key %s must be an array of whole numbers", file_->path().c_str(), key.c_str());
}

std::string_view Gguf::string(const std::string& key) const {
  const GgufValue& value = required(*this, key);
  if (auto* s = std::get_if<std::string_view>(&value)) return *s;
  fail("%s: the metadata key %s must be a string", file_->path().c_str(), key.c_str());
}

std::string_view Gguf::string(const std::string& key, std::string_view absent) const {
  return find(key) ? string(key) : absent;
}

}  // namespace hearth
