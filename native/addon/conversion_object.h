// A conversion as JavaScript sees it: reading and writing on a thread of its own.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/executor.h"
#include "model/conversion.h"

namespace mask_predict {

class ConversionObject : public Napi::ObjectWrap<ConversionObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ConversionObject(const Napi::CallbackInfo& info);
  ~ConversionObject() override;

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value keep_rows(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value started(Napi::Env env, Executor::Work work);

  std::shared_ptr<Conversion> conversion_ = std::make_shared<Conversion>();  // of the executor's thread
  Napi::FunctionReference on_progress_;
  std::unique_ptr<Executor> executor_;  // last: its thread ends before the rest goes
};

}  // namespace mask_predict
