// Between JavaScript values and the core's types. Wrong arguments throw a TypeError that names the field.
#pragma once

#include <napi.h>

#include "../core/backend.h"
#include "../core/batch.h"
#include "../core/draft_head.h"
#include "../core/gguf.h"
#include "../core/self_test.h"

namespace hearth {

/// { version, fileBytes, metadata: Map, tensors } as native/index.ts's GgufHeader.
Napi::Value header_to_js(Napi::Env env, const Gguf& gguf);

/// native/index.ts's HeadDraftRequests.
std::vector<DraftRequest> draft_requests_from_js(const Napi::Value& value);

/// native/index.ts's StepBatch.
Batch batch_from_js(const Napi::Object& object);

Napi::Value tokens_to_js(Napi::Env env, const std::vector<int32_t>& tokens);
Napi::Value probabilities_to_js(Napi::Env env, const std::vector<float>& probabilities);
/// { tokens, probabilities, logits?, milliseconds }.
Napi::Value result_to_js(Napi::Env env, const StepResult& result, double milliseconds);

/// native/index.ts's StepCount.
Napi::Value count_to_js(Napi::Env env, const StepCount& count);
/// native/index.ts's KernelCheck.
Napi::Value check_to_js(Napi::Env env, const KernelCheck& check);

}  // namespace hearth
