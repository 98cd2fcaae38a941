// Reading JavaScript values with an error that names what is wrong.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace mask_predict {

[[noreturn]] void invalid(const std::string& message);  // throws Error(InvalidArgument)

double read_number(const Napi::Value& value, const std::string& name);
int64_t read_integer(const Napi::Value& value, const std::string& name, int64_t least, int64_t most);
bool read_boolean(const Napi::Value& value, const std::string& name);
std::string read_string(const Napi::Value& value, const std::string& name);
uint64_t read_seed(const Napi::Value& value, const std::string& name);  // a BigInt, its low 64 bits

// Views of a typed array's elements: valid until control returns to JavaScript. The array must not be detached.
template <class T>
struct View {
  T* data = nullptr;
  int64_t size = 0;
};
View<float> read_floats(const Napi::Value& value, const std::string& name);
View<int32_t> read_integers(const Napi::Value& value, const std::string& name);
View<uint16_t> read_halves(const Napi::Value& value, const std::string& name);
View<uint8_t> read_bytes(const Napi::Value& value, const std::string& name);

template <class T>
std::vector<T> copy(const View<T>& view) {
  return {view.data, view.data + view.size};
}

Napi::Float32Array new_floats(Napi::Env env, const float* values, size_t count);
Napi::Int32Array new_integers(Napi::Env env, const int32_t* values, size_t count);
Napi::Uint8Array new_bytes(Napi::Env env, const uint8_t* values, size_t count);

}  // namespace mask_predict
