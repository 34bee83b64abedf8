#include "convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace hearth {

namespace {

Napi::String to_js(Napi::Env env, std::string_view text) { return Napi::String::New(env, text.data(), text.size()); }

/// JavaScript is not given the elements of an array that has more than kSmallArray elements, or that exceeds the budget
/// of kSmallBytes that all arrays share, because the engine never needs them. The arrays of a vocabulary are the
/// exception.
constexpr uint64_t kSmallArray = 4096, kSmallBytes = 2 << 20;
constexpr std::string_view kVocabulary[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
                                            "tokenizer.ggml.merges"};

Header::Table table_of(std::string_view key, const GgufArray& array) {
  Header::Table table{.key = key, .bytes = {}, .offsets = {}, .integers = {}, .numbers = {}};
  switch (array.kind) {
    case GgufArray::Kind::strings:
      table.bytes.reserve(array.bytes);
      table.offsets.reserve(array.count + 1);
      table.offsets.push_back(0);
      array.each_string([&](std::string_view text) {
        table.bytes.insert(table.bytes.end(), text.begin(), text.end());
        table.offsets.push_back(static_cast<uint32_t>(table.bytes.size()));
      });
      break;
    case GgufArray::Kind::booleans:
      for (uint64_t i = 0; i < array.count; i++) table.bytes.push_back(array.integer(i) != 0);
      break;
    case GgufArray::Kind::floats:
      for (uint64_t i = 0; i < array.count; i++) table.numbers.push_back(array.number(i));
      break;
    case GgufArray::Kind::integers: {
      bool small = true;
      for (uint64_t i = 0; i < array.count && small; i++) {
        const double value = array.number(i);
        small = value >= INT32_MIN && value <= INT32_MAX;
      }
      table.integers.reserve(small ? array.count : 0);
      for (uint64_t i = 0; i < array.count; i++) {
        if (small) table.integers.push_back(static_cast<int32_t>(array.integer(i)));
        else table.numbers.push_back(array.number(i));
      }
    }
  }
  return table;
}

template <class Array, class Element>
Array typed(Napi::Env env, const std::vector<Element>& elements) {
  auto out = Array::New(env, elements.size());
  if (!elements.empty()) std::memcpy(out.Data(), elements.data(), elements.size() * sizeof(Element));
  return out;
}

Napi::Value table_to_js(Napi::Env env, const Header::Table& table, const GgufArray& array) {
  if (array.kind == GgufArray::Kind::booleans) return typed<Napi::Uint8Array>(env, table.bytes);
  if (array.kind == GgufArray::Kind::strings) {
    auto strings = Napi::Object::New(env);
    strings.Set("bytes", typed<Napi::Uint8Array>(env, table.bytes));
    strings.Set("offsets", typed<Napi::Uint32Array>(env, table.offsets));
    return strings;
  }
  if (table.numbers.empty() && array.kind == GgufArray::Kind::integers)
    return typed<Napi::Int32Array>(env, table.integers);
  return typed<Napi::Float64Array>(env, table.numbers);
}

constexpr uint64_t kSafeInteger = 1ull << 53;

Napi::Value value_to_js(Napi::Env env, const GgufValue& value) {
  if (auto* u = std::get_if<uint64_t>(&value))
    return *u < kSafeInteger ? Napi::Value(Napi::Number::New(env, static_cast<double>(*u)))
                             : Napi::BigInt::New(env, *u);
  if (auto* i = std::get_if<int64_t>(&value))
    return std::abs(static_cast<double>(*i)) < static_cast<double>(kSafeInteger)
               ? Napi::Value(Napi::Number::New(env, static_cast<double>(*i)))
               : Napi::BigInt::New(env, *i);
  if (auto* f = std::get_if<double>(&value)) return Napi::Number::New(env, *f);
  if (auto* b = std::get_if<bool>(&value)) return Napi::Boolean::New(env, *b);
  return to_js(env, std::get<std::string_view>(value));
}

Napi::TypeError wrong(Napi::Env env, const char* field, const char* wanted) {
  return Napi::TypeError::New(env, std::string("batch.") + field + " must be " + wanted);
}

std::vector<int32_t> ints(const Napi::Value& value, const char* field) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    throw wrong(value.Env(), field, "an Int32Array");
  auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

double number(const Napi::Object& object, const char* field, double low, double high) {
  Napi::Value value = object.Get(field);
  double n = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(n >= low && n <= high))
    throw Napi::TypeError::New(object.Env(), std::string("sampling.") + field + " must be a number from " +
                                                 std::to_string(low) + " to " + std::to_string(high));
  return n;
}

}  // namespace

Header::Header(Gguf header, std::optional<std::string> why_refused)
    : gguf(std::move(header)), refusal(std::move(why_refused)) {
  // The other arrays may be many, so they share one budget.
  uint64_t left = kSmallBytes;
  for (const auto& [key, value] : gguf.metadata()) {
    auto* array = std::get_if<GgufArray>(&value);
    if (!array) continue;
    if (std::find(std::begin(kVocabulary), std::end(kVocabulary), key) != std::end(kVocabulary)) {
      if (array->bytes > kMaxTableBytes || array->count > kMaxTableBytes / 4) continue;
    } else {
      // Each element takes a string's offset of 4 bytes, or a number of at most 8 bytes.
      const uint64_t bytes = array->bytes + 8 * array->count;
      if (array->count > kSmallArray || bytes > left) continue;
      left -= bytes;
    }
    tables.push_back(table_of(key, *array));
  }
}

Napi::Value header_to_js(Napi::Env env, const Header& source) {
  const Gguf& gguf = source.gguf;
  auto header = Napi::Object::New(env);
  header.Set("path", to_js(env, gguf.file().path()));
  header.Set("version", Napi::Number::New(env, gguf.version()));
  header.Set("fileBytes", Napi::Number::New(env, static_cast<double>(gguf.file().size())));
  if (source.refusal) header.Set("refusal", to_js(env, *source.refusal));
  auto map = env.Global().Get("Map").As<Napi::Function>().New({});
  auto set = map.Get("set").As<Napi::Function>();
  auto table = source.tables.begin();
  for (const auto& [key, value] : gguf.metadata()) {
    Napi::HandleScope scope(env);
    auto* array = std::get_if<GgufArray>(&value);
    if (!array) {
      set.Call(map, {to_js(env, key), value_to_js(env, value)});
    } else if (table != source.tables.end() && table->key == key) {
      set.Call(map, {to_js(env, key), table_to_js(env, *table++, *array)});
    } else {
      auto omitted = Napi::Object::New(env);
      omitted.Set("omitted", Napi::Number::New(env, static_cast<double>(array->count)));
      set.Call(map, {to_js(env, key), omitted});
    }
  }
  header.Set("metadata", map);
  auto tensors = Napi::Array::New(env, gguf.tensors().size());
  uint32_t i = 0;
  for (const Tensor& tensor : gguf.tensors()) {
    Napi::HandleScope scope(env);
    auto object = Napi::Object::New(env);
    object.Set("name", to_js(env, tensor.name));
    object.Set("type", type_traits(tensor.type).name);
    auto shape = Napi::Array::New(env, static_cast<size_t>(tensor.dimensions));
    for (int d = 0; d < tensor.dimensions; d++)
      shape.Set(static_cast<uint32_t>(d), Napi::Number::New(env, static_cast<double>(tensor.shape[d])));
    object.Set("shape", shape);
    object.Set("offset", Napi::Number::New(env, static_cast<double>(tensor.offset)));
    object.Set("bytes", Napi::Number::New(env, static_cast<double>(tensor.bytes)));
    tensors.Set(i++, object);
  }
  header.Set("tensors", tensors);
  // The strings were read from the mapped file just now.
  gguf.file().check_read();
  return header;
}

Batch batch_from_js(const Napi::Object& object) {
  Napi::Env env = object.Env();
  Batch batch;
  batch.tokens = ints(object.Get("tokens"), "tokens");
  batch.positions = ints(object.Get("positions"), "positions");
  batch.sequences = ints(object.Get("sequences"), "sequences");
  batch.outputs = ints(object.Get("outputs"), "outputs");
  Napi::Value tables = object.Get("blockTables");
  if (!tables.IsArray()) throw wrong(env, "blockTables", "an array of Int32Arrays");
  auto list = tables.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) batch.block_tables.push_back(ints(list.Get(i), "blockTables[i]"));
  Napi::Value drafting = object.Get("draftSequences");
  if (!drafting.IsUndefined())
    for (int32_t sequence : ints(drafting, "draftSequences")) batch.draft_sequences.push_back(sequence);
  batch.sampling.resize(batch.outputs.size());
  Napi::Value sampling = object.Get("sampling");
  if (!sampling.IsUndefined()) {
    if (!sampling.IsArray() || sampling.As<Napi::Array>().Length() != batch.outputs.size())
      throw wrong(env, "sampling", "an array with one entry per output");
    for (uint32_t i = 0; i < batch.outputs.size(); i++) {
      Napi::Value entry = sampling.As<Napi::Array>().Get(i);
      if (!entry.IsObject()) throw wrong(env, "sampling[i]", "an object");
      auto fields = entry.As<Napi::Object>();
      Sampling& s = batch.sampling[i];
      s.temperature = static_cast<float>(number(fields, "temperature", 0, 100));
      s.top_k = static_cast<int>(number(fields, "topK", 0, INT32_MAX));
      s.top_p = static_cast<float>(number(fields, "topP", 0, 1));
      s.min_p = static_cast<float>(number(fields, "minP", 0, 1));
      s.seed = static_cast<uint64_t>(number(fields, "seed", 0, static_cast<double>(kSafeInteger - 1)));
    }
  }
  batch.logits = object.Get("logits").ToBoolean();
  batch.probabilities = object.Get("probabilities").ToBoolean();
  Napi::Value rounds = object.Get("rounds");
  if (!rounds.IsUndefined()) {
    const double count = rounds.IsNumber() ? rounds.As<Napi::Number>().DoubleValue() : NAN;
    if (!(count >= 1 && count <= kMaxRounds) || count != std::floor(count))
      throw wrong(env, "rounds", ("a whole number from 1 to " + std::to_string(kMaxRounds)).c_str());
    batch.rounds = static_cast<int>(count);
  }
  Napi::Value forced = object.Get("forced");
  if (!forced.IsUndefined()) batch.forced = ints(forced, "forced");
  Napi::Value stops = object.Get("stopIds");
  if (!stops.IsUndefined()) {
    if (!stops.IsArray()) throw wrong(env, "stopIds", "an array of Int32Arrays");
    auto lists = stops.As<Napi::Array>();
    for (uint32_t i = 0; i < lists.Length(); i++) batch.stop_ids.push_back(ints(lists.Get(i), "stopIds[i]"));
  }
  return batch;
}

std::vector<DraftRequest> draft_requests_from_js(const Napi::Value& value) {
  Napi::Env env = value.Env();
  if (!value.IsArray()) throw Napi::TypeError::New(env, "draft takes a cache and an array of requests");
  auto list = value.As<Napi::Array>();
  std::vector<DraftRequest> requests;
  for (uint32_t i = 0; i < list.Length(); i++) {
    Napi::Value entry = list.Get(i);
    if (!entry.IsObject()) throw Napi::TypeError::New(env, "a draft request must be an object");
    auto object = entry.As<Napi::Object>();
    const auto whole = [&](const char* field) {
      Napi::Value number = object.Get(field);
      double n = number.IsNumber() ? number.As<Napi::Number>().DoubleValue() : NAN;
      if (!(n >= 0 && n <= INT32_MAX) || n != std::floor(n))
        throw Napi::TypeError::New(env,
                                   std::string("a draft request's ") + field + " must be a whole number below 2^31");
      return static_cast<int32_t>(n);
    };
    requests.push_back(
        {whole("sequence"), whole("position"), whole("token"), whole("limit"), ints(object.Get("blocks"), "blocks")});
  }
  return requests;
}

Napi::Value count_to_js(Napi::Env env, const StepCount& count) {
  auto launches = Napi::Array::New(env, count.launches.size());
  uint32_t i = 0;
  for (const Launch& launch : count.launches) {
    Napi::HandleScope scope(env);
    auto object = Napi::Object::New(env);
    auto grid = Napi::Array::New(env, 3);
    for (uint32_t axis = 0; axis < 3; axis++) grid.Set(axis, Napi::Number::New(env, launch.grid[axis]));
    object.Set("kernel", launch.kernel);
    object.Set("layer", Napi::Number::New(env, launch.layer));
    object.Set("grid", grid);
    object.Set("threads", Napi::Number::New(env, launch.threads));
    object.Set("threadgroupBytes", Napi::Number::New(env, launch.threadgroup_bytes));
    object.Set("barrier", Napi::Boolean::New(env, launch.barrier));
    object.Set("weightBytes", Napi::Number::New(env, launch.weight_bytes));
    object.Set("weightPasses", Napi::Number::New(env, launch.weight_passes));
    object.Set("cacheBytes", Napi::Number::New(env, launch.cache_bytes));
    object.Set("activationBytes", Napi::Number::New(env, launch.activation_bytes));
    launches.Set(i++, object);
  }
  auto out = Napi::Object::New(env);
  out.Set("launches", launches);
  out.Set("commandBuffers", Napi::Number::New(env, count.command_buffers));
  out.Set("scratchBytes", Napi::Number::New(env, static_cast<double>(count.scratch_bytes)));
  return out;
}

Napi::Value check_to_js(Napi::Env env, const KernelCheck& check) {
  auto out = Napi::Object::New(env);
  out.Set("backend", check.backend);
  out.Set("set", check.set);
  out.Set("kernel", check.kernel);
  out.Set("shape", check.shape);
  out.Set("error", Napi::Number::New(env, check.error));
  out.Set("tolerance", Napi::Number::New(env, check.tolerance));
  out.Set("ok", Napi::Boolean::New(env, check.ok));
  if (!check.problem.empty()) out.Set("problem", check.problem);
  out.Set("milliseconds", Napi::Number::New(env, check.milliseconds));
  out.Set("bytes", Napi::Number::New(env, check.bytes));
  out.Set("operations", Napi::Number::New(env, check.operations));
  return out;
}

Napi::Value tokens_to_js(Napi::Env env, const std::vector<int32_t>& tokens) {
  auto out = Napi::Int32Array::New(env, tokens.size());
  std::copy(tokens.begin(), tokens.end(), out.Data());
  return out;
}

/// Sets the property only where there are values.
void set_floats(Napi::Object& out, const char* name, const std::vector<float>& values) {
  if (values.empty()) return;
  auto array = Napi::Float32Array::New(out.Env(), values.size());
  std::memcpy(array.Data(), values.data(), values.size() * sizeof(float));
  out.Set(name, array);
}

Napi::Value result_to_js(Napi::Env env, const StepResult& result, double milliseconds) {
  auto out = Napi::Object::New(env);
  out.Set("tokens", tokens_to_js(env, result.tokens));
  set_floats(out, "probabilities", result.probabilities);
  set_floats(out, "logits", result.logits);
  out.Set("milliseconds", Napi::Number::New(env, milliseconds));
  return out;
}

}  // namespace hearth
