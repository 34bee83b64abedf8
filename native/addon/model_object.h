// The JavaScript objects NativeModel and NativeCache of native/index.ts.
#pragma once

#include <napi.h>

#include <memory>

#include "../core/model_runner.h"
#include "failure.h"
#include "worker.h"

namespace hearth {

/// A model with the thread that runs its steps. Destroying it aborts the running step and waits for the thread.
struct LoadedModel {
  LoadedModel(Napi::Env env, std::unique_ptr<ModelRunner> opened)
      : runner(std::move(opened)),
        worker(env, runner->model().gguf().file().path(), [running = runner.get()] { running->abort(); }) {}
  std::unique_ptr<ModelRunner> runner;
  Worker worker;  // is destroyed before the runner, which its jobs use
};

class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static void define(Napi::Env env);
  static Napi::Value create(Napi::Env env, std::unique_ptr<ModelRunner> runner);
  explicit ModelObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModelObject>(info) {}
  void Finalize(Napi::Env env) override;

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value create_cache(const Napi::CallbackInfo& info);
  Napi::Value cache_block_bytes(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value end_runs(const Napi::CallbackInfo& info);
  Napi::Value draft(const Napi::CallbackInfo& info);
  Napi::Value release_drafts(const Napi::CallbackInfo& info);
  Napi::Value count_step(const Napi::CallbackInfo& info);
  Napi::Value repack_bytes(const Napi::CallbackInfo& info);
  Napi::Value repack(const Napi::CallbackInfo& info);
  Napi::Value measure_ceilings(const Napi::CallbackInfo& info);
  Napi::Value take_profile(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  LoadedModel& model(Napi::Env env);
  /// Calls a method and turns its exceptions of any kind into JavaScript's errors about the model's file.
  template <Napi::Value (ModelObject::*method)(const Napi::CallbackInfo&)>
  Napi::Value guarded(const Napi::CallbackInfo& call) {
    try {
      return (this->*method)(call);
    } catch (...) {
      throw error_of(call.Env(), std::current_exception(),
                     model_ ? model_->runner->model().gguf().file().path() : "the model");
    }
  }

  std::shared_ptr<LoadedModel> model_;
};

class CacheObject : public Napi::ObjectWrap<CacheObject> {
 public:
  static void define(Napi::Env env);
  static Napi::Value create(Napi::Env env, const std::shared_ptr<LoadedModel>& model, std::shared_ptr<KvBlocks> cache);
  /// Returns nullptr where the value is not a cache.
  static CacheObject* from(const Napi::Value& value);
  explicit CacheObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CacheObject>(info) {}

  /// The memory of the cache. Throws where the cache is closed, or where another model made it, because the blocks have
  /// the sizes of that model.
  const std::shared_ptr<KvBlocks>& cache_of(Napi::Env env, const std::shared_ptr<LoadedModel>& model) const;

 private:
  Napi::Value block_count(const Napi::CallbackInfo& info);
  Napi::Value block_tokens(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value copy_block(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  const std::shared_ptr<KvBlocks>& cache(Napi::Env env) const;

  std::shared_ptr<KvBlocks> cache_;
  std::weak_ptr<LoadedModel> model_;
};

}  // namespace hearth
