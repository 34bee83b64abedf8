// Converts between JavaScript values and the core's types. For wrong arguments the functions throw a TypeError that
// names the field.
#pragma once

#include <napi.h>

#include <optional>

#include "../core/backend.h"
#include "../core/batch.h"
#include "../core/draft_head.h"
#include "../core/gguf.h"
#include "../core/self_test.h"

namespace hearth {

/// A header with those of its arrays that JavaScript is given. They are laid out away from JavaScript's thread, so that
/// only copying them is left for that thread.
struct Header {
  Header(Gguf header, std::optional<std::string> why_refused);

  struct Table {
    std::string_view key;
    std::vector<uint8_t> bytes;     ///< bytes of all the strings, or one byte for each boolean
    std::vector<uint32_t> offsets;  ///< where each string begins; one more for the end of the last
    std::vector<int32_t> integers;
    std::vector<double> numbers;  ///< floats, or integers of which one needs more than 32 bits
  };
  Gguf gguf;
  /// Why the core refuses the model, as a sentence that names the file. Empty where the core does not refuse it; no
  /// value where nobody asked.
  std::optional<std::string> refusal;
  std::vector<Table> tables;
};

/// Makes a GgufHeader of native/index.ts.
Napi::Value header_to_js(Napi::Env env, const Header& header);

/// Reads an array of HeadDraftRequests of native/index.ts.
std::vector<DraftRequest> draft_requests_from_js(const Napi::Value& value);

/// Reads a StepBatch of native/index.ts.
Batch batch_from_js(const Napi::Object& object);

Napi::Value tokens_to_js(Napi::Env env, const std::vector<int32_t>& tokens);
/// Makes a StepResult of native/index.ts.
Napi::Value result_to_js(Napi::Env env, const StepResult& result, double milliseconds);

/// Makes a StepCount of native/index.ts.
Napi::Value count_to_js(Napi::Env env, const StepCount& count);
/// Makes a KernelCheck of native/index.ts.
Napi::Value check_to_js(Napi::Env env, const KernelCheck& check);

}  // namespace hearth
