// Source and Target as JavaScript sees them.
#pragma once

#include <napi.h>

#include <memory>

#include "engine/sequence.h"
#include "model/config.h"

namespace mask_predict {

// A source's memory goes when JavaScript disposes of it, the engine closes, or it and its targets are collected.
struct SourceHandle {
  std::shared_ptr<const Source> source;  // null: disposed
  std::shared_ptr<const ModelConfig> config;
};

class SourceObject : public Napi::ObjectWrap<SourceObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object make(Napi::Env env, std::shared_ptr<SourceHandle> handle);
  explicit SourceObject(const Napi::CallbackInfo& info);
  ~SourceObject() override;

 private:
  const Source& source(Napi::Env env) const;
  Napi::Value length(const Napi::CallbackInfo& info);
  Napi::Value bytes(const Napi::CallbackInfo& info);
  Napi::Value length_logits(const Napi::CallbackInfo& info);
  Napi::Value states(const Napi::CallbackInfo& info);
  Napi::Value answer(const Napi::CallbackInfo& info);
  Napi::Value predict_lengths(const Napi::CallbackInfo& info);
  Napi::Value target(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<SourceHandle> handle_;
  int64_t length_ = 0;
  int64_t external_bytes_ = 0;  // told to V8
};

class TargetObject : public Napi::ObjectWrap<TargetObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit TargetObject(const Napi::CallbackInfo& info);

  // The target with its source, for a call of engine `engine`. Error(Disposed), Error(InvalidArgument).
  static ActiveTarget active(Napi::Env env, const Napi::Value& value, uint64_t engine, const std::string& name);

 private:
  Napi::Value length(const Napi::CallbackInfo& info);
  Napi::Value maskable(const Napi::CallbackInfo& info);
  Napi::Value tokens(const Napi::CallbackInfo& info);
  Napi::Value scores(const Napi::CallbackInfo& info);
  Napi::Value masked(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  const Target& target() const;

  friend class SourceObject;
  std::shared_ptr<Target> target_;
  std::shared_ptr<SourceHandle> source_;
  uint64_t engine_ = 0;
};

}  // namespace mask_predict
