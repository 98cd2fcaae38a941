#include "addon/arguments.h"

#include <cmath>
#include <cstring>

#include "base/error.h"

namespace mask_predict {
namespace {

template <class T>
View<T> read_typed(const Napi::Value& value, const std::string& name, napi_typedarray_type type, const char* kind) {
  if (value.IsTypedArray()) {
    const Napi::TypedArray array = value.As<Napi::TypedArray>();
    if (array.TypedArrayType() == type) {
      if (array.ArrayBuffer().IsDetached()) invalid(name + " must not be detached: its memory was given away");
      const auto typed = value.As<Napi::TypedArrayOf<T>>();
      return {const_cast<T*>(typed.Data()), static_cast<int64_t>(typed.ElementLength())};
    }
  }
  invalid(name + " must be " + kind);
}

}  // namespace

void invalid(const std::string& message) { throw Error(ErrorCode::InvalidArgument, message); }

double read_number(const Napi::Value& value, const std::string& name) {
  if (!value.IsNumber()) invalid(name + " must be a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!std::isfinite(number)) invalid(name + " must be a finite number");
  return number;
}

int64_t read_integer(const Napi::Value& value, const std::string& name, int64_t least, int64_t most) {
  const std::string range = std::to_string(least) + " to " + std::to_string(most);
  if (!value.IsNumber()) invalid(name + " must be an integer from " + range);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) || number != std::floor(number)) {
    const std::string given = value.ToString().Utf8Value();
    invalid(name + " must be an integer from " + range + ", not " + given);
  }
  return static_cast<int64_t>(number);
}

bool read_boolean(const Napi::Value& value, const std::string& name) {
  if (!value.IsBoolean()) invalid(name + " must be true or false");
  return value.As<Napi::Boolean>().Value();
}

std::string read_string(const Napi::Value& value, const std::string& name) {
  if (!value.IsString()) invalid(name + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

uint64_t read_seed(const Napi::Value& value, const std::string& name) {
  if (!value.IsBigInt()) invalid(name + " must be a BigInt");
  bool lossless = true;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

View<float> read_floats(const Napi::Value& value, const std::string& name) {
  return read_typed<float>(value, name, napi_float32_array, "a Float32Array");
}
View<int32_t> read_integers(const Napi::Value& value, const std::string& name) {
  return read_typed<int32_t>(value, name, napi_int32_array, "an Int32Array");
}
View<uint16_t> read_halves(const Napi::Value& value, const std::string& name) {
  return read_typed<uint16_t>(value, name, napi_uint16_array, "a Uint16Array");
}
View<uint8_t> read_bytes(const Napi::Value& value, const std::string& name) {
  return read_typed<uint8_t>(value, name, napi_uint8_array, "a Uint8Array");
}

Napi::Float32Array new_floats(Napi::Env env, const float* values, size_t count) {
  Napi::Float32Array array = Napi::Float32Array::New(env, count);
  if (count > 0) std::memcpy(array.Data(), values, count * sizeof(float));
  return array;
}
Napi::Int32Array new_integers(Napi::Env env, const int32_t* values, size_t count) {
  Napi::Int32Array array = Napi::Int32Array::New(env, count);
  if (count > 0) std::memcpy(array.Data(), values, count * sizeof(int32_t));
  return array;
}
Napi::Uint8Array new_bytes(Napi::Env env, const uint8_t* values, size_t count) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, count);
  if (count > 0) std::memcpy(array.Data(), values, count);
  return array;
}

}  // namespace mask_predict
