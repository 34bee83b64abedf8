#include "model_object.h"

#include <chrono>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "convert.h"

namespace hearth {

namespace {

/// Marks a JavaScript object as a CacheObject. Unwrapping any other object would read memory that it does not have.
constexpr napi_type_tag kCacheTag = {0x6865617274682e63, 0x616368652d6f626a};

/// The constructors of the JavaScript objects. Each environment has its own; a worker thread of Node is an environment.
struct Constructors {
  Napi::FunctionReference model, cache;
};

Constructors& constructors(Napi::Env env) {
  if (!env.GetInstanceData<Constructors>()) env.SetInstanceData(new Constructors());
  return *env.GetInstanceData<Constructors>();
}

double whole_number(const Napi::Value& value, double low, double high, const char* what) {
  double n = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(n >= low && n <= high) || n != static_cast<double>(static_cast<int64_t>(n)))
    throw Napi::TypeError::New(value.Env(), std::string(what) + " must be a whole number from " +
                                                std::to_string(static_cast<int64_t>(low)) + " to " +
                                                std::to_string(static_cast<int64_t>(high)));
  return n;
}

CacheType cache_type(const Napi::Value& value, const ModelRunner& runner) {
  if (value.IsUndefined()) return runner.backend().cache_type();
  std::string name = value.ToString();
  if (name == "f16") return CacheType::f16;
  if (name == "f32") return CacheType::f32;
  if (name == "q8_0") return CacheType::q8_0;
  throw Napi::TypeError::New(value.Env(), "a cache's type must be f16, q8_0 or f32");
}

}  // namespace

void ModelObject::define(Napi::Env env) {
  constructors(env).model = Napi::Persistent(
      DefineClass(env, "NativeModel",
                  {InstanceAccessor<&ModelObject::guarded<&ModelObject::info>>("info"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::create_cache>>("createCache"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::cache_block_bytes>>("cacheBlockBytes"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::step>>("step"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::end_runs>>("endRuns"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::draft>>("draft"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::release_drafts>>("releaseDrafts"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::count_step>>("countStep"),
                   InstanceAccessor<&ModelObject::guarded<&ModelObject::repack_bytes>>("repackBytes"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::repack>>("repack"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::measure_ceilings>>("measureCeilings"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::take_profile>>("takeProfile"),
                   InstanceMethod<&ModelObject::guarded<&ModelObject::close>>("close")}));
}

Napi::Value ModelObject::create(Napi::Env env, std::unique_ptr<ModelRunner> runner) {
  Napi::Object object = constructors(env).model.New({});
  Unwrap(object)->model_ = std::make_shared<LoadedModel>(env, std::move(runner));
  return object;
}

void ModelObject::Finalize(Napi::Env) { model_.reset(); }

LoadedModel& ModelObject::model(Napi::Env env) {
  if (!model_) throw Napi::Error::New(env, "the model is closed");
  return *model_;
}

Napi::Value ModelObject::info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const ModelRunner& runner = *model(env).runner;
  const Model& model = runner.model();
  const Config& c = model.config();
  const Gguf& gguf = model.gguf();
  auto out = Napi::Object::New(env);
  auto number = [&](const char* key, double value) { out.Set(key, Napi::Number::New(env, value)); };
  auto text = [&](const char* key, std::string_view value) {
    out.Set(key, Napi::String::New(env, value.data(), value.size()));
  };
  text("path", gguf.file().path());
  text("architecture", c.architecture->name);
  text("name", model.name());
  number("fileBytes", static_cast<double>(gguf.file().size()));
  number("tensorCount", static_cast<double>(gguf.tensors().size()));
  struct Sum {
    double count = 0, bytes = 0;
  };
  std::map<std::string, Sum> types;
  double parameters = 0;
  for (const Tensor& tensor : gguf.tensors()) {
    Sum& sum = types[type_traits(tensor.type).name];
    sum.count++;
    sum.bytes += static_cast<double>(tensor.bytes);
    parameters += static_cast<double>(tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3]);
  }
  number("parameterCount", parameters);
  auto list = Napi::Array::New(env);
  for (const auto& [name, sum] : types) {
    auto entry = Napi::Object::New(env);
    entry.Set("type", name);
    entry.Set("count", Napi::Number::New(env, sum.count));
    entry.Set("bytes", Napi::Number::New(env, sum.bytes));
    list.Set(list.Length(), entry);
  }
  out.Set("tensorTypes", list);
  number("layers", c.layers);
  number("embeddingLength", c.embedding);
  number("vocabularySize", c.vocabulary);
  number("contextLength", c.context_length);
  number("headCount", c.heads);
  number("headCountKv", c.heads_kv);
  number("headLength", c.head_length);
  number("expertCount", c.experts);
  number("expertUsedCount", c.experts_used);
  number("expertFeedForwardLength", c.feed_forward);
  number("slidingWindow", c.window);
  number("rmsEpsilon", c.rms_epsilon);
  number("ropeFrequencyBase", c.rope_base);
  number("ropeScalingFactor", c.rope_factor);
  number("ropeOriginalContextLength", c.rope_original_context);
  if (const DraftHead* head = runner.draft_head()) {
    auto draft = Napi::Object::New(env);
    draft.Set("path", head->model().gguf().file().path());
    draft.Set("fileBytes", Napi::Number::New(env, static_cast<double>(head->model().gguf().file().size())));
    draft.Set("vocabularySize", Napi::Number::New(env, head->model().config().vocabulary));
    out.Set("draftHead", draft);
  }
  text("backend", runner.device().id);
  if (const std::string hardware = runner.backend().hardware(); !hardware.empty()) text("device", hardware);
  if (!runner.backend_note().empty()) text("backendNote", runner.backend_note());
  text("kernels", runner.backend().name());
  number("threads", runner.threads());
  number("bytesPerToken", static_cast<double>(model.bytes_per_token()));
  return out;
}

Napi::Value ModelObject::create_cache(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  LoadedModel& loaded = model(env);
  if (!call[0].IsObject()) throw Napi::TypeError::New(env, "createCache takes { blocks, type? }");
  auto options = call[0].As<Napi::Object>();
  const int blocks = static_cast<int>(whole_number(options.Get("blocks"), 1, 1 << 24, "blocks"));
  return CacheObject::create(env, model_,
                             loaded.runner->make_cache(blocks, cache_type(options.Get("type"), *loaded.runner)));
}

Napi::Value ModelObject::cache_block_bytes(const Napi::CallbackInfo& call) {
  const ModelRunner& runner = *model(call.Env()).runner;
  return Napi::Number::New(call.Env(), static_cast<double>(runner.cache_block_bytes(cache_type(call[0], runner))));
}

Napi::Value ModelObject::step(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  LoadedModel& loaded = model(env);
  CacheObject* cache = CacheObject::from(call[0]);
  if (!cache || !call[1].IsObject()) throw Napi::TypeError::New(env, "step takes a cache and a batch");
  if (!call[2].IsUndefined() && !call[2].IsFunction())
    throw Napi::TypeError::New(env, "what a step tells of its rounds must be a function");
  auto batch = std::make_shared<Batch>(batch_from_js(call[1].As<Napi::Object>()));
  if (batch->rounds > 1) batch->number = loaded.runner->number_run();
  const auto job = [runner = loaded.runner.get(), memory = cache->cache_of(env, model_),
                    batch](const Worker::Tell& tell) -> Worker::Settle {
    auto start = std::chrono::steady_clock::now();
    auto result = std::make_shared<StepResult>(runner->step(*memory, *batch, [&](std::span<const int32_t> tokens) {
      tell([round = std::vector(tokens.begin(), tokens.end())](Napi::Env env) {
        return std::vector<napi_value>{tokens_to_js(env, round)};
      });
    }));
    double milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return [result, milliseconds](Napi::Env env) { return result_to_js(env, *result, milliseconds); };
  };
  return loaded.worker.run(env, job, call[2].IsFunction() ? call[2].As<Napi::Function>() : Napi::Function());
}

Napi::Value ModelObject::end_runs(const Napi::CallbackInfo& call) {
  model(call.Env()).runner->end_runs();
  return call.Env().Undefined();
}

Napi::Value ModelObject::draft(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  LoadedModel& loaded = model(env);
  CacheObject* cache = CacheObject::from(call[0]);
  if (!cache) throw Napi::TypeError::New(env, "draft takes a cache and an array of requests");
  auto requests = std::make_shared<std::vector<DraftRequest>>(draft_requests_from_js(call[1]));
  return loaded.worker.run(
      env, [runner = loaded.runner.get(), memory = cache->cache_of(env, model_), requests]() -> Worker::Settle {
        auto drafts = std::make_shared<std::vector<std::vector<int32_t>>>(runner->draft(*memory, *requests));
        return [drafts](Napi::Env env) {
          auto out = Napi::Array::New(env, drafts->size());
          for (uint32_t i = 0; i < drafts->size(); i++) {
            const std::vector<int32_t>& draft = (*drafts)[i];
            auto tokens = Napi::Int32Array::New(env, draft.size());
            std::copy(draft.begin(), draft.end(), tokens.Data());
            out.Set(i, tokens);
          }
          return Napi::Value(out);
        };
      });
}

Napi::Value ModelObject::release_drafts(const Napi::CallbackInfo& call) {
  LoadedModel& loaded = model(call.Env());
  const auto sequence = static_cast<int64_t>(whole_number(call[0], 0, INT32_MAX, "the sequence"));
  loaded.worker.post([runner = loaded.runner.get(), sequence] { runner->release_drafts(sequence); });
  return call.Env().Undefined();
}

Napi::Value ModelObject::count_step(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  CacheObject* cache = CacheObject::from(call[0]);
  if (!cache || !call[1].IsObject()) throw Napi::TypeError::New(env, "countStep takes a cache and a batch");
  auto batch = std::make_shared<Batch>(batch_from_js(call[1].As<Napi::Object>()));
  return model(env).worker.run(
      env, [runner = model(env).runner.get(), memory = cache->cache_of(env, model_), batch]() -> Worker::Settle {
        auto count = std::make_shared<StepCount>(runner->count(*memory, *batch));
        return [count](Napi::Env env) { return count_to_js(env, *count); };
      });
}

Napi::Value ModelObject::repack_bytes(const Napi::CallbackInfo& call) {
  auto parts = Napi::Array::New(call.Env());
  for (const size_t bytes : model(call.Env()).runner->backend().repack_bytes())
    parts.Set(parts.Length(), Napi::Number::New(call.Env(), static_cast<double>(bytes)));
  return parts;
}

Napi::Value ModelObject::repack(const Napi::CallbackInfo& call) {
  LoadedModel& loaded = model(call.Env());
  const int part = static_cast<int>(whole_number(call[0], 0, loaded.runner->model().config().layers, "the part"));
  return loaded.worker.run(call.Env(), [runner = loaded.runner.get(), part]() -> Worker::Settle {
    runner->repack(part);
    return [](Napi::Env env) { return env.Undefined(); };
  });
}

Napi::Value ModelObject::measure_ceilings(const Napi::CallbackInfo& call) {
  return model(call.Env()).worker.run(call.Env(), [runner = model(call.Env()).runner.get()]() -> Worker::Settle {
    const Ceilings ceilings = runner->measure_ceilings();
    return [ceilings](Napi::Env env) {
      auto out = Napi::Object::New(env);
      out.Set("readBytesPerSecond", Napi::Number::New(env, ceilings.read_bytes_per_second));
      out.Set("multiplyAddsPerSecond", Napi::Number::New(env, ceilings.multiply_adds_per_second));
      out.Set("arithmetic", Napi::String::New(env, ceilings.arithmetic));
      if (ceilings.tile_multiply_adds_per_second > 0)
        out.Set("tileMultiplyAddsPerSecond", Napi::Number::New(env, ceilings.tile_multiply_adds_per_second));
      return Napi::Value(out);
    };
  });
}

Napi::Value ModelObject::take_profile(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  auto out = Napi::Object::New(env);
  for (const auto& [operation, milliseconds] : model(env).runner->take_profile())
    out.Set(operation, Napi::Number::New(env, milliseconds));
  return out;
}

Napi::Value ModelObject::close(const Napi::CallbackInfo& call) {
  model_.reset();
#ifdef __GLIBC__
  malloc_trim(0);  // glibc keeps the memory that the ended threads freed: the scratch of large batches
#endif
  return call.Env().Undefined();
}

void CacheObject::define(Napi::Env env) {
  constructors(env).cache = Napi::Persistent(DefineClass(
      env, "NativeCache",
      {InstanceAccessor<&CacheObject::block_count>("blockCount"),
       InstanceAccessor<&CacheObject::block_tokens>("blockTokens"), InstanceAccessor<&CacheObject::bytes>("bytes"),
       InstanceMethod<&CacheObject::copy_block>("copyBlock"), InstanceMethod<&CacheObject::close>("close")}));
}

Napi::Value CacheObject::create(Napi::Env env, const std::shared_ptr<LoadedModel>& model,
                                std::shared_ptr<KvBlocks> cache) {
  Napi::Object object = constructors(env).cache.New({});
  object.TypeTag(&kCacheTag);
  Unwrap(object)->cache_ = std::move(cache);
  Unwrap(object)->model_ = model;
  return object;
}

CacheObject* CacheObject::from(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kCacheTag)) return nullptr;
  return Unwrap(value.As<Napi::Object>());
}

const std::shared_ptr<KvBlocks>& CacheObject::cache(Napi::Env env) const {
  if (!cache_) throw Napi::Error::New(env, "the cache is closed");
  return cache_;
}

const std::shared_ptr<KvBlocks>& CacheObject::cache_of(Napi::Env env, const std::shared_ptr<LoadedModel>& model) const {
  if (model_.lock() != model) throw Napi::Error::New(env, "the cache belongs to another model");
  return cache(env);
}

Napi::Value CacheObject::block_count(const Napi::CallbackInfo& call) {
  return Napi::Number::New(call.Env(), cache(call.Env())->blocks());
}

Napi::Value CacheObject::block_tokens(const Napi::CallbackInfo& call) {
  return Napi::Number::New(call.Env(), kCacheBlock);
}

Napi::Value CacheObject::bytes(const Napi::CallbackInfo& call) {
  return Napi::Number::New(call.Env(), static_cast<double>(cache(call.Env())->bytes()));
}

Napi::Value CacheObject::copy_block(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  const std::shared_ptr<KvBlocks>& memory = cache(env);
  const int from = static_cast<int>(whole_number(call[0], 0, memory->blocks() - 1, "the block to copy from"));
  const int to = static_cast<int>(whole_number(call[1], 0, memory->blocks() - 1, "the block to copy to"));
  const int tokens = static_cast<int>(whole_number(call[2], 1, kCacheBlock, "the number of tokens to copy"));
  auto model = model_.lock();
  if (!model) throw Napi::Error::New(env, "the model is closed");
  // The copy waits for its turn: it comes after the steps that were asked for before it, and before later ones.
  model->worker.post([memory, from, to, tokens] { memory->copy_block(from, to, tokens); });
  return env.Undefined();
}

Napi::Value CacheObject::close(const Napi::CallbackInfo& call) {
  cache_.reset();  // a running step keeps the memory until it ends
  return call.Env().Undefined();
}

}  // namespace hearth
