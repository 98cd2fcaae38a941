#include "addon/operation_call.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "addon/environment.h"
#include "cpu/instruction_set.h"
#include "cpu/thread_pool.h"
#include "engine/device.h"

namespace mask_predict {

Context context_of(Napi::Env env, const Napi::Value& value, std::string* asked) {
  const Napi::Object options = value.IsObject() ? value.As<Napi::Object>() : Napi::Object::New(env);
  const auto text = [&](const char* name, const char* otherwise) {
    const Napi::Value given = options.Get(name);
    return given.IsUndefined() ? std::string(otherwise) : read_string(given, name);
  };
  const std::string otherwise = default_device() == "auto" ? "cpu" : default_device();
  const std::string device = text("device", otherwise.c_str()), set = text("instructionSet", ""),
                    precision = text("precision", "fp32");
  const Napi::Value threads = options.Get("threads");
  const int size = threads.IsUndefined() ? 1 : static_cast<int>(read_integer(threads, "threads", 1, 256));
  check_device(device, precision);
  if (device == "auto") invalid("device must be named here, not 'auto'");
  if (asked != nullptr) *asked = precision;
  Environment& environment = Environment::of(env);
  if (device != "cpu") {
    auto& open = environment.devices[device + " " + precision];
    if (!open) open = std::make_unique<OpenDevice>(open_device(device, precision, 1, true));
    open->context.operations->select(open->context);
    return open->context;
  }
  if (asked == nullptr && precision != "fp32" && precision != "bf16")
    invalid("precision must be 'fp32' or 'bf16' on the CPU: weights bring their own type");
  auto& pool = environment.pools[size];
  if (!pool) pool = std::make_unique<cpu::ThreadPool>(size);
  Context context;
  context.operations = &cpu_operations;
  context.kernels = &cpu::kernels_for(set);
  // A caller that asked has another use for the precision, and no products.
  context.rounded_products = context.rounded_attention = asked == nullptr && precision == "bf16";
  if (context.rounded_products && context.kernels->round == nullptr)
    throw Error(ErrorCode::Device, std::string("precision 'bf16': the instruction set \"") + context.kernels->name +
                                       "\" has no products of bfloat16; leave it out");
  context.pool = pool.get();
  return context;
}

OperationCall::OperationCall(const Napi::CallbackInfo& info) : env(info.Env()) {
  if (!info[0].IsObject()) invalid("the arguments must be an object");
  // Each property once and all of them first: a getter is JavaScript, which could detach what was read before.
  const Napi::Object arguments = info[0].As<Napi::Object>();
  const Napi::Array names = arguments.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const Napi::Value name = names.Get(i);
    arguments_[name.ToString().Utf8Value()] = arguments.Get(name);
  }
  context = context_of(env, info[1]);
}

Napi::Value OperationCall::argument(const char* name) const {
  const auto found = arguments_.find(name);
  return found == arguments_.end() ? env.Undefined() : found->second;
}

const PackedMatrix& OperationCall::weight(const char* name) const {
  const Napi::Value value = argument(name);
  void* wrapped = nullptr;
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&weight_tag) ||
      napi_unwrap(env, value, &wrapped) != napi_ok)
    invalid(std::string(name) + " must come from packWeight()");
  const auto& packed = *static_cast<std::pair<const Operations*, PackedMatrix>*>(wrapped);
  if (packed.first != context.operations) invalid(std::string(name) + " was packed for another device");
  if (!on_cpu() && (packed.second.type == WeightType::F32) != (context.activations == ValueType::F32))
    invalid(std::string(name) + " must be 'fp32' for precision 'fp32', and 'bf16', 'int8' or 'fp8' for all others");
  return packed.second;
}

int64_t OperationCall::rows(const View<float>& view, const char* name, int64_t width) const {
  if (width < 1 || view.size % width != 0)
    invalid(std::string(name) + " has " + std::to_string(view.size) + " values, which are no rows of " +
            std::to_string(width));
  return view.size / width;
}

int64_t OperationCall::width(const View<float>& view, const char* name, int64_t rows) const {
  if (view.size == 0 || view.size % rows != 0)
    invalid(std::string(name) + " has " + std::to_string(view.size) + " values, which are no " + std::to_string(rows) +
            " rows");
  return view.size / rows;
}

int64_t OperationCall::sequences(const View<int32_t>& offsets, const char* name, int64_t rows) const {
  if (offsets.size < 1 || offsets.data[0] != 0) invalid(std::string(name) + " must begin with 0");
  for (int64_t i = 1; i < offsets.size; i++)
    if (offsets.data[i] < offsets.data[i - 1]) invalid(std::string(name) + " must not fall");
  if (offsets.data[offsets.size - 1] != rows)
    invalid(std::string(name) + " must end with the number of rows, " + std::to_string(rows));
  return offsets.size - 1;
}

void OperationCall::check_range(const View<int32_t>& values, const char* name, int64_t least, int64_t most) const {
  for (int64_t i = 0; i < values.size; i++)
    if (values.data[i] < least || values.data[i] > most)
      invalid(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(values.data[i]) + "; it must be " +
              std::to_string(least) + " to " + std::to_string(most));
}

const void* OperationCall::put(const void* values, int64_t bytes) {
  if (on_cpu()) return values;
  void* copy = work(bytes);
  operations().upload(context, copy, values, static_cast<uint64_t>(bytes));
  return copy;
}

const float* OperationCall::constant(const float* values, int64_t count) {
  const float* const weights = in(values, count);
  if (!on_cpu()) freeze(context, buffers_.back());
  return weights;
}

void* OperationCall::work(int64_t bytes) {
  const auto size = static_cast<uint64_t>(std::max<int64_t>(bytes, 1));
  buffers_.push_back(device_buffer(context, size, nullptr, "the memory of an operation"));
  return buffers_.back().as<void>();
}

void* OperationCall::take(void* values, int64_t bytes, bool keep) {
  if (on_cpu()) return values;
  void* result = work(bytes);
  // Fill the result with NaN, so that a value that an operation forgets to write shows.
  const std::vector<uint8_t> poison(static_cast<size_t>(bytes), 0xff);
  operations().upload(context, result, keep ? values : poison.data(), static_cast<uint64_t>(bytes));
  downloads_.push_back([=, this] { operations().download(context, values, result, static_cast<uint64_t>(bytes)); });
  return result;
}

const void* OperationCall::activations(const float* values, int64_t count) {
  if (context.activations == ValueType::F32) return in(values, count);
  std::vector<uint16_t> narrow(static_cast<size_t>(count));
  std::transform(values, values + count, narrow.begin(), float_to_bf16);
  return in(narrow);
}

void* OperationCall::activations_out(float* values, int64_t count) {
  if (context.activations == ValueType::F32) return out(values, count);
  const auto narrow = std::make_shared<std::vector<uint16_t>>(static_cast<size_t>(count));
  void* result = out(narrow->data(), count);
  downloads_.push_back([=] { std::transform(narrow->begin(), narrow->end(), values, bf16_to_float); });
  return result;
}

const float* OperationCall::bias(const View<float>& view) {
  std::vector<float> values(view.data, view.data + view.size);
  values.resize((values.size() + cpu::panel_columns - 1) / cpu::panel_columns * cpu::panel_columns);
  padded_.push_back(std::move(values));
  return constant(padded_.back().data(), static_cast<int64_t>(padded_.back().size()));
}

void OperationCall::finish() {
  for (const auto& download : downloads_) download();
  downloads_.clear();
}

}  // namespace mask_predict
