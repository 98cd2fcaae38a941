#include "addon/environment.h"

namespace mask_predict {

const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::ModelFormat: return "ERR_MODEL_FORMAT";
    case ErrorCode::InvalidArgument: return "ERR_INVALID_ARGUMENT";
    case ErrorCode::OutOfMemory: return "ERR_OUT_OF_MEMORY";
    case ErrorCode::Device: return "ERR_DEVICE";
    case ErrorCode::Disposed: return "ERR_DISPOSED";
  }
  return "ERR_INTERNAL";
}

Napi::Error make_error(Napi::Env env, const char* code, const std::string& message) {
  const Environment& environment = Environment::of(env);
  if (!environment.error_class.IsEmpty()) {
    const Napi::Value error =
        environment.error_class.Value().New({Napi::String::New(env, code), Napi::String::New(env, message)});
    return Napi::Error(env, error);
  }
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

}  // namespace mask_predict
