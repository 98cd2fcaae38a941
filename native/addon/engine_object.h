// Engine as JavaScript sees it: argument checks, and calls handed to the executor's thread.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "addon/executor.h"
#include "addon/sequence_objects.h"
#include "engine/engine.h"

namespace mask_predict {

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  // Made by the executor's thread when the model has loaded, and destroyed there.
  struct State;

  Napi::Value ready(const Napi::CallbackInfo& info);
  Napi::Value config(const Napi::CallbackInfo& info);
  Napi::Value device(const Napi::CallbackInfo& info);
  Napi::Value precision(const Napi::CallbackInfo& info);
  Napi::Value head_precision(const Napi::CallbackInfo& info);
  Napi::Value instruction_set(const Napi::CallbackInfo& info);
  Napi::Value fallback(const Napi::CallbackInfo& info);
  Napi::Value note(const Napi::CallbackInfo& info);
  Napi::Value threads(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value encode(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value predict(const Napi::CallbackInfo& info);
  Napi::Value remask(const Napi::CallbackInfo& info);
  Napi::Value decode(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value states(const Napi::CallbackInfo& info);
  Napi::Value log_probs(const Napi::CallbackInfo& info);
  Napi::Value advance(const Napi::CallbackInfo& info);
  Napi::Value interrupt(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Error(Disposed) after close() or before the model has loaded.
  State& state() const;
  Targets read_targets(const Napi::Value& value) const;
  Napi::Object new_source_object(Napi::Env env, std::shared_ptr<const Source> source);
  Napi::Value started(Napi::Env env, Executor::Work work);

  std::shared_ptr<State> state_;
  std::shared_ptr<const ModelConfig> config_;
  std::vector<std::weak_ptr<SourceHandle>> sources_;
  std::shared_ptr<std::atomic<bool>> interrupted_;  // of the last advance()
  int64_t external_bytes_ = 0;
  bool loaded_ = false;
  bool closed_ = false;
  Napi::Reference<Napi::Promise> ready_;
  Napi::Reference<Napi::Promise> closing_;
  Napi::FunctionReference on_progress_;
  std::unique_ptr<Executor> executor_;  // last: its thread ends before the rest goes
};

}  // namespace mask_predict
