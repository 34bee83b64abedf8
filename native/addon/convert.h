// Between JavaScript values and the core's types. Wrong arguments throw a TypeError that names the field.
#pragma once

#include <napi.h>

#include <optional>

#include "../core/backend.h"
#include "../core/batch.h"
#include "../core/draft_head.h"
#include "../core/gguf.h"
#include "../core/self_test.h"

namespace hearth {

/// A header with those of its arrays that JavaScript is given, laid out beside its thread so that nothing but copies are left for it.
struct Header {
  Header(Gguf header, std::optional<std::string> why_refused);

  struct Table {
    std::string_view key;
    std::vector<uint8_t> bytes;     ///< of strings, or booleans
    std::vector<uint32_t> offsets;  ///< of strings
    std::vector<int32_t> integers;
    std::vector<double> numbers;  ///< of floats, and of integers that need more than 32 bits
  };
  Gguf gguf;
  /// Why the core refuses the model, naming the file; empty: it does not; nothing: it was not asked.
  std::optional<std::string> refusal;
  std::vector<Table> tables;
};

/// native/index.ts's GgufHeader.
Napi::Value header_to_js(Napi::Env env, const Header& header);

/// native/index.ts's HeadDraftRequests.
std::vector<DraftRequest> draft_requests_from_js(const Napi::Value& value);

/// native/index.ts's StepBatch.
Batch batch_from_js(const Napi::Object& object);

Napi::Value tokens_to_js(Napi::Env env, const std::vector<int32_t>& tokens);
/// { tokens, probabilities, logits?, milliseconds }.
Napi::Value result_to_js(Napi::Env env, const StepResult& result, double milliseconds);

/// native/index.ts's StepCount.
Napi::Value count_to_js(Napi::Env env, const StepCount& count);
/// native/index.ts's KernelCheck.
Napi::Value check_to_js(Napi::Env env, const KernelCheck& check);

}  // namespace hearth
