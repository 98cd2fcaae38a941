#include "addon/conversion_object.h"

#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "model/tensor_table.h"

namespace mask_predict {
namespace {

// NativeConversionFacts of binding.d.cts.
Napi::Value facts(Napi::Env env, const Conversion& conversion, int64_t last_row) {
  const ModelConfig& c = conversion.config;
  Napi::Object object = Napi::Object::New(env);
  const auto set = [&](const char* name, int64_t value) {
    object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  object.Set("modelType", c.model_type);
  set("layers", c.layers);
  set("hidden", c.hidden);
  set("heads", c.heads);
  set("feedForward", c.feed_forward);
  set("vocabulary", c.vocabulary);
  set("maxPositions", c.max_positions);
  set("lengths", c.lengths);
  object.Set("tieWordEmbeddings", Napi::Boolean::New(env, c.tie_word_embeddings));
  set("lastRowInUse", last_row);
  set("fileBytes", static_cast<int64_t>(conversion.file_bytes()));
  Napi::Array left_out = Napi::Array::New(env);
  for (const std::string& name : conversion.left_out) left_out.Set(left_out.Length(), name);
  object.Set("leftOut", left_out);
  return object;
}

}  // namespace

Napi::Function ConversionObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeConversion",
      {InstanceMethod<&ConversionObject::read>("read"), InstanceMethod<&ConversionObject::keep_rows>("keepRows"),
       InstanceMethod<&ConversionObject::write>("write"), InstanceMethod<&ConversionObject::cancel>("cancel"),
       InstanceMethod<&ConversionObject::close>("close")});
}

ConversionObject::ConversionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    if (info[0].IsFunction()) on_progress_ = Napi::Persistent(info[0].As<Napi::Function>());
    executor_ = std::make_unique<Executor>(env, "conversion", [this](bool idle) { idle ? Unref() : Ref(); });
  });
}

ConversionObject::~ConversionObject() { executor_ = nullptr; }

Napi::Value ConversionObject::started(Napi::Env env, Executor::Work work) {
  const Executor::Call call = executor_->submit(env, std::move(work));
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", call.promise);
  object.Set("id", Napi::Number::New(env, call.id));
  return object;
}

Napi::Value ConversionObject::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::string kind = read_string(info[0], "the kind of model");
    if (!info[1].IsArray()) invalid("the files must be an array");
    const Napi::Array list = info[1].As<Napi::Array>();
    std::vector<std::string> paths;
    for (uint32_t i = 0; i < list.Length(); i++) paths.push_back(read_string(list.Get(i), "a file to convert"));
    if (paths.empty()) invalid("there is no file to convert");
    return started(info.Env(), [into = conversion_, kind, paths](const std::atomic<bool>&) -> Executor::Answer {
      *into = kind == "fairseq" ? read_fairseq(paths) : read_checkpoint(paths.front());
      const int64_t last_row = last_row_in_use(*into->find(xlm_roberta_names().words));
      return [into, last_row](Napi::Env env) { return facts(env, *into, last_row); };
    });
  });
}

Napi::Value ConversionObject::keep_rows(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto rows = copy(read_integers(info[0], "the rows to keep"));
    return started(info.Env(), [of = conversion_, rows](const std::atomic<bool>&) -> Executor::Answer {
      mask_predict::keep_rows(*of, rows);
      return [](Napi::Env env) { return env.Undefined(); };
    });
  });
}

Napi::Value ConversionObject::write(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::string path = read_string(info[0], "the file to write");
    const bool as_bf16 = read_boolean(info[1], "whether to write BF16");
    const bool report = !on_progress_.IsEmpty();
    return started(
        info.Env(),
        [this, of = conversion_, path, as_bf16, report](const std::atomic<bool>& cancelled) -> Executor::Answer {
          const auto progress = [&](double fraction) {
            if (report)
              executor_->post([this, fraction](Napi::Env env) {
                if (!on_progress_.IsEmpty()) on_progress_.Call({Napi::Number::New(env, fraction)});
              });
          };
          write_conversion(*of, path, as_bf16, progress, cancelled);
          return [](Napi::Env env) { return env.Undefined(); };
        });
  });
}

Napi::Value ConversionObject::cancel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    executor_->cancel(info.Env(), static_cast<uint32_t>(read_integer(info[0], "id", 0, UINT32_MAX)));
    return info.Env().Undefined();
  });
}

Napi::Value ConversionObject::close(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    on_progress_.Reset();
    return executor_->close(info.Env(), [of = conversion_] { *of = Conversion(); });
  });
}

}  // namespace mask_predict
