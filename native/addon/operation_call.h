// One call of a single operation: its arguments, checked against each other, and the memory they need on the device.
#pragma once

#include <napi.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "base/error.h"
#include "ops/operations.h"

namespace mask_predict {

inline constexpr napi_type_tag weight_tag = {0x6d61736b2d707265, 0x646963742d777467};

// The context of `options.device` ('cpu' if undefined), with its instruction set and threads, or its precision: on the
// CPU 'fp32' or 'bf16', or what `precision` holds, which then says what is asked for.
Context context_of(Napi::Env env, const Napi::Value& options, std::string* precision = nullptr);

class OperationCall {
 public:
  explicit OperationCall(const Napi::CallbackInfo& info);

  // The arguments by name. Errors name them; `size` is what the others make it.
  Napi::Value argument(const char* name) const;
  // Error(Device) where the device lacks what ModernBERT needs of its operations, of which `what` is.
  void require_rotary(const std::string& what) const {
    if (operations().rotate == nullptr) throw Error(ErrorCode::Device, what + " is for the CPU so far");
  }
  bool has(const char* name) const { return !argument(name).IsUndefined(); }
  View<float> floats(const char* name) const { return read_floats(argument(name), name); }
  View<float> floats(const char* name, int64_t size) const { return sized(floats(name), name, size); }
  View<int32_t> integers(const char* name) const { return read_integers(argument(name), name); }
  View<int32_t> integers(const char* name, int64_t size) const { return sized(integers(name), name, size); }
  View<uint8_t> bytes(const char* name, int64_t size) const {
    return sized(read_bytes(argument(name), name), name, size);
  }
  int64_t integer(const char* name, int64_t least, int64_t most) const {
    return read_integer(argument(name), name, least, most);
  }
  double number(const char* name) const { return read_number(argument(name), name); }
  uint64_t seed(const char* name) const { return read_seed(argument(name), name); }
  std::string string(const char* name) const { return read_string(argument(name), name); }
  const PackedMatrix& weight(const char* name) const;

  // Rows of `width` values each, and the width that makes `rows` rows of them.
  int64_t rows(const View<float>& view, const char* name, int64_t width) const;
  int64_t width(const View<float>& view, const char* name, int64_t rows) const;
  // An offsets array: 0, then rising to `rows`. Returns the number of sequences.
  int64_t sequences(const View<int32_t>& offsets, const char* name, int64_t rows) const;
  void check_range(const View<int32_t>& values, const char* name, int64_t least, int64_t most) const;

  // The device's copy of the host's values; on the CPU these themselves.
  template <class T>
  const T* in(const T* values, int64_t count) {
    return static_cast<const T*>(put(values, count * static_cast<int64_t>(sizeof(T))));
  }
  template <class T>
  const T* in(const View<T>& view) {
    return in(view.data, view.size);
  }
  template <class T>
  const T* in(const std::vector<T>& values) {
    return in(values.data(), static_cast<int64_t>(values.size()));
  }
  // Weights: memory that no kernel writes.
  const float* constant(const View<float>& view) { return constant(view.data, view.size); }
  // In the context's type of activations.
  const void* activations(const float* values, int64_t count);
  const void* activations(const View<float>& view) { return activations(view.data, view.size); }
  // The values followed by zeros up to a multiple of 16, as biases are kept.
  const float* bias(const View<float>& view);

  // Where the device writes what finish() brings to `values`. With `keep`, it finds there what they hold.
  template <class T>
  T* out(T* values, int64_t count, bool keep = false) {
    return static_cast<T*>(take(values, count * static_cast<int64_t>(sizeof(T)), keep));
  }
  void* activations_out(float* values, int64_t count);
  // Device memory that is only worked in.
  void* work(int64_t bytes);
  void finish();

  const Operations& operations() const { return *context.operations; }

  const Napi::Env env;
  Context context;

 private:
  template <class T>
  static View<T> sized(View<T> view, const char* name, int64_t size) {
    if (view.size != size)
      invalid(std::string(name) + " has " + std::to_string(view.size) + " values; it must have " +
              std::to_string(size));
    return view;
  }
  bool on_cpu() const { return context.operations->host_memory; }
  const float* constant(const float* values, int64_t count);
  const void* put(const void* values, int64_t bytes);
  void* take(void* values, int64_t bytes, bool keep);

  std::map<std::string, Napi::Value> arguments_;
  std::vector<Buffer> buffers_;
  std::vector<std::vector<float>> padded_;
  std::vector<std::function<void()>> downloads_;
};

}  // namespace mask_predict
