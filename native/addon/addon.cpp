// The addon's exports: the interface `Native` of native/index.ts.
#include <napi.h>

#include <optional>

#include "../core/error.h"
#include "../core/model_runner.h"
#include "../core/vocabulary.h"
#include "../cpu/kernels.h"
#include "convert.h"
#include "devices.h"
#include "failure.h"
#include "model_object.h"

namespace hearth {

namespace {

/// A task that opens and parses a file on a thread of Node's pool.
class OpenTask : public Napi::AsyncWorker {
 public:
  OpenTask(Napi::Env env, std::string path) : Napi::AsyncWorker(env), path_(std::move(path)), deferred_(env) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  virtual void open(const std::string& path) = 0;
  virtual Napi::Value opened(Napi::Env env) = 0;

  void Execute() override {
    try {
      open(path_);
    } catch (...) { failure_ = std::current_exception(); }
  }
  void OnOK() override {
    settle(Env(), deferred_, path_, [&] {
      if (failure_) std::rethrow_exception(failure_);
      return opened(Env());
    });
  }

 private:
  std::string path_;
  std::exception_ptr failure_;
  Napi::Promise::Deferred deferred_;
};

class ReadHeader final : public OpenTask {
 public:
  ReadHeader(Napi::Env env, std::string path, std::optional<VocabularyRules> rules)
      : OpenTask(env, std::move(path)), rules_(std::move(rules)) {}

 private:
  void open(const std::string& path) override {
    if (!rules_) {
      header_ = std::make_unique<Header>(Gguf(path), std::nullopt);
      return;
    }
    std::string refusal;
    try {
      Model plan(path, Model::Reading::plan);
      check_vocabulary(plan.gguf(), *rules_, plan.config().vocabulary);
      header_ = std::make_unique<Header>(std::move(plan).take_gguf(), "");
      return;
    } catch (const Error& error) { refusal = error.what(); }
    // Where the header itself is at fault, this call throws the same error again.
    header_ = std::make_unique<Header>(Gguf(path), refusal);
  }
  Napi::Value opened(Napi::Env env) override { return header_to_js(env, *header_); }
  std::optional<VocabularyRules> rules_;
  std::unique_ptr<Header> header_;
};

class OpenModel final : public OpenTask {
 public:
  OpenModel(Napi::Env env, std::string path, RunnerOptions options)
      : OpenTask(env, std::move(path)), options_(std::move(options)) {}

 private:
  void open(const std::string& path) override { runner_ = std::make_unique<ModelRunner>(path, options_, devices()); }
  Napi::Value opened(Napi::Env env) override { return ModelObject::create(env, std::move(runner_)); }
  RunnerOptions options_;
  std::unique_ptr<ModelRunner> runner_;
};

std::string path_argument(const Napi::CallbackInfo& call) {
  if (!call[0].IsString()) throw Napi::TypeError::New(call.Env(), "the file must be a string");
  return call[0].As<Napi::String>();
}

std::vector<std::string> names_argument(const Napi::Value& value) {
  if (!value.IsArray())
    throw Napi::TypeError::New(value.Env(), "readGguf's rules are { preTokenizers, controlNames }, arrays of strings");
  std::vector<std::string> names;
  auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) names.push_back(list.Get(i).ToString());
  return names;
}

Napi::Value read_gguf(const Napi::CallbackInfo& call) {
  std::optional<VocabularyRules> rules;
  if (call[1].IsObject()) {
    auto object = call[1].As<Napi::Object>();
    rules = VocabularyRules{names_argument(object.Get("preTokenizers")), names_argument(object.Get("controlNames"))};
  }
  auto* task = new ReadHeader(call.Env(), path_argument(call), std::move(rules));
  task->Queue();
  return task->promise();
}

Napi::Value open_model(const Napi::CallbackInfo& call) {
  RunnerOptions options;
  if (call[1].IsObject()) {
    auto object = call[1].As<Napi::Object>();
    Napi::Value threads = object.Get("threads"), rope = object.Get("rope"), kernels = object.Get("kernels"),
                draft_head = object.Get("draftHead"), backend = object.Get("backend");
    if (!threads.IsUndefined()) {
      double count = threads.IsNumber() ? threads.As<Napi::Number>().DoubleValue() : -1;
      if (!(count >= 0 && count <= 1024))
        throw Napi::TypeError::New(call.Env(), "threads must be a number from 0 to 1024");
      options.threads = static_cast<int>(count);
    }
    if (!rope.IsUndefined()) {
      std::string mode = rope.ToString();
      if (mode != "reference" && mode != "llamacpp")
        throw Napi::TypeError::New(call.Env(), "rope must be reference or llamacpp");
      options.backend.rope = mode == "llamacpp" ? RopeMode::llamacpp : RopeMode::reference;
    }
    if (!kernels.IsUndefined()) options.backend.kernels = kernels.ToString();
    if (!draft_head.IsUndefined()) options.draft_head = draft_head.ToString();
    if (!backend.IsUndefined()) options.device = backend.ToString();
    options.backend.matrix_units = object.Get("matrixUnits").ToBoolean();
  }
  auto* task = new OpenModel(call.Env(), path_argument(call), options);
  task->Queue();
  return task->promise();
}

Napi::Value cpu_info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  auto kernels = Napi::Array::New(env), features = Napi::Array::New(env);
  for (auto* set = cpu::available_kernels(); *set; set++) kernels.Set(kernels.Length(), (*set)->name);
  kernels.Set(kernels.Length(), "reference");
  for (auto* feature = cpu::cpu_features(); *feature; feature++) features.Set(features.Length(), *feature);
  auto out = Napi::Object::New(env);
  out.Set("kernels", kernels);
  out.Set("features", features);
  out.Set("threads", Napi::Number::New(env, default_thread_count()));
  return out;
}

/// Runs the self-test on a thread of its own: a kernel takes hundreds of milliseconds and must not hold up Node's pool.
class SelfTest {
 public:
  static Napi::Value start(const Napi::CallbackInfo& call) {
    Napi::Env env = call.Env();
    if (!call[0].IsObject()) throw Napi::TypeError::New(env, "selfTest takes { backend, full, seed, report }");
    auto options = call[0].As<Napi::Object>();
    const Device* device = find_device(devices(), options.Get("backend").ToString().Utf8Value());
    if (!device) throw Napi::TypeError::New(env, "selfTest's backend must be " + ids_of(devices()));
    Napi::Value report = options.Get("report");
    if (!report.IsFunction()) throw Napi::TypeError::New(env, "selfTest's report must be a function");
    auto state = std::make_shared<State>(env, report.As<Napi::Function>());
    state->options.full = options.Get("full").ToBoolean();
    state->options.seed = static_cast<uint64_t>(options.Get("seed").ToNumber().Int64Value());
    state->options.cancelled = &state->cancelled;
    state->options.report = [raw = state.get()](const KernelCheck& check) { raw->tell(check); };
    try {
      state->thread = std::thread([state, device] {
        std::exception_ptr failure;
        try {
          device->self_test(state->options);
        } catch (...) { failure = std::current_exception(); }
        state->finish(state, failure);
      });
    } catch (...) {
      state->back.Release();
      state->deferred.Reject(error_of(env, std::current_exception(), kName).Value());
    }
    return state->deferred.Promise();
  }

 private:
  static constexpr const char* kName = "the self-test";

  struct State {
    State(Napi::Env env, Napi::Function report)
        : deferred(env), back(Napi::ThreadSafeFunction::New(env, report, "hearth self-test", 0, 1)) {}

    /// Called on the thread of the test. The test ends where report() returns false.
    void tell(const KernelCheck& check) {
      if (back.BlockingCall([this, check](Napi::Env env, Napi::Function report) {
            try {
              Napi::Value wanted = report.Call({check_to_js(env, check)});
              if (wanted.IsBoolean() && !wanted.As<Napi::Boolean>().Value()) cancelled = true;
            } catch (...) { cancelled = true; }
          }) != napi_ok)
        cancelled = true;
    }
    void finish(const std::shared_ptr<State>& self, const std::exception_ptr& failure) {
      back.BlockingCall([self, failure](Napi::Env env, Napi::Function) {
        self->thread.join();
        settle(env, self->deferred, kName, [&] {
          if (failure) std::rethrow_exception(failure);
          return env.Undefined();
        });
      });
      back.Release();
    }

    Napi::Promise::Deferred deferred;
    Napi::ThreadSafeFunction back;
    SelfTestOptions options;
    std::atomic<bool> cancelled{false};
    std::thread thread;
  };
};

Napi::Value list_devices(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  auto list = Napi::Array::New(env);
  for (const Device* device : devices()) {
    const DeviceProbe probe = device->probe();
    auto out = Napi::Object::New(env);
    out.Set("id", device->id);
    out.Set("kind", device->kind == DeviceKind::gpu ? "gpu" : "cpu");
    out.Set("name", device->name);
    if (!probe.hardware.empty()) out.Set("hardware", probe.hardware);
    out.Set("onThisSystem", Napi::Boolean::New(env, device->on_this_system()));
    if (!probe.reason.empty()) out.Set("reason", probe.reason);
    list.Set(list.Length(), out);
  }
  return list;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  ModelObject::define(env);
  CacheObject::define(env);
  exports.Set("readGguf", Napi::Function::New(env, read_gguf));
  exports.Set("openModel", Napi::Function::New(env, open_model));
  exports.Set("cpuInfo", Napi::Function::New(env, cpu_info));
  exports.Set("selfTest", Napi::Function::New(env, SelfTest::start));
  exports.Set("devices", Napi::Function::New(env, list_devices));
  return exports;
}

}  // namespace

}  // namespace hearth

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return hearth::init(env, exports); }
NODE_API_MODULE(hearth, Init)
