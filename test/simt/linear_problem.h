// The products that the tests of linear operations compute: deterministic values on the host and on the emulated
// device, and the exact sums of products.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "ops/linear/linear.h"
#include "ops/operations.h"
#include "ops/weights/packed_layout.h"
#include "ops/weights/quantize.h"
#include "testing.h"

namespace mask_predict {

using cuda::check;

// Zeroed, as the engine's is.
inline const Memory device_memory = {[](uint64_t bytes, void*, int&) -> void* {
                                       void* data = nullptr;
                                       if (cudaMalloc(&data, bytes) != cudaSuccess) return nullptr;
                                       check(cudaMemset(data, 0, bytes), "cudaMemset");
                                       check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
                                       return data;
                                     },
                                     [](void* data, uint64_t, int) { cudaFree(data); }};

// In [-1, 1), the same for the same seed; of the precision of `type`.
inline std::vector<float> random_values(int64_t count, uint32_t seed, ValueType type) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
    if (type == ValueType::BF16) value = bf16_to_float(float_to_bf16(value));
  }
  return values;
}

// As activations are kept.
inline std::vector<uint8_t> narrowed(const std::vector<float>& values, ValueType type) {
  std::vector<uint8_t> bytes(values.size() * static_cast<size_t>(bytes_of(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == ValueType::F32) {
      std::memcpy(bytes.data() + i * 4, &values[i], 4);
    } else {
      const uint16_t bits = float_to_bf16(values[i]);
      std::memcpy(bytes.data() + i * 2, &bits, 2);
    }
  }
  return bytes;
}

inline double value_at(const std::vector<uint8_t>& bytes, int64_t index, ValueType type) {
  return static_cast<double>(
      read_weight(bytes.data(), type == ValueType::F32 ? WeightType::F32 : WeightType::BF16, index));
}

inline PackedMatrix device_matrix(const Context& context, const std::vector<float>& values, WeightType type,
                                  int64_t outputs, int64_t inputs) {
  PackedMatrix matrix{type, outputs, inputs, {}};
  const int64_t bytes = cuda::packed_bytes(type, outputs, inputs);
  matrix.data = Buffer(static_cast<uint64_t>(bytes), nullptr, "a test", device_memory, nullptr);
  // In two calls that share a band of 16 outputs.
  const int64_t half = outputs / 2;
  cuda::pack(context, {values.data(), WeightType::F32}, 0, half, matrix);
  cuda::pack(context, {values.data() + half * inputs, WeightType::F32}, half, outputs - half, matrix);
  simt::freeze(matrix.data.as<void>());
  return matrix;
}

// Rounds each row to what bytes of the type hold exactly: the first value becomes the largest there is of it, so that
// the scale is a power of two.
inline std::vector<float> rounded_to_bytes(std::vector<float> values, WeightType type, int64_t inputs) {
  std::vector<uint8_t> bytes(static_cast<size_t>(inputs));
  for (size_t row = 0; row < values.size(); row += bytes.size()) {
    values[row] = type == WeightType::I8 ? 127.0f / 128 : 448.0f / 512;
    for (size_t i = 1; i < bytes.size(); ++i) values[row + i] *= 0.8f;
    const float scale = quantize_row(type, values.data() + row, inputs, bytes.data());
    for (size_t i = 0; i < bytes.size(); ++i) {
      const float whole =
          type == WeightType::I8 ? static_cast<float>(static_cast<int8_t>(bytes[i])) : fp8_to_float(bytes[i]);
      values[row + i] = scale * whole;
    }
  }
  return values;
}

// Everything that a linear operation of one shape reads, on the host and on the device.
struct Problem {
  int64_t rows, outputs, inputs;
  ValueType type;
  WeightType weight_type;
  std::vector<float> input, weight, bias, residual, gain, shift;
  cuda::Stream stream;
  Context context;
  DeviceArray<float> partials{1 << 20};
  PackedMatrix matrix;
  DeviceArray<uint8_t> device_input;
  DeviceArray<float> device_bias, device_gain, device_shift;

  Problem(int64_t rows, int64_t outputs, int64_t inputs, ValueType type)
      : Problem(rows, outputs, inputs, type, type == ValueType::F32 ? WeightType::F32 : WeightType::BF16) {}

  Problem(int64_t rows, int64_t outputs, int64_t inputs, ValueType type, WeightType weight_type)
      : rows(rows),
        outputs(outputs),
        inputs(inputs),
        type(type),
        weight_type(weight_type),
        input(random_values(rows * inputs, 1, type)),
        weight(random_values(outputs * inputs, 2, type)),
        bias(random_values(round_up(outputs, 16), 3, ValueType::F32)),
        residual(random_values(rows * outputs, 4, ValueType::F32)),
        gain(random_values(outputs, 5, ValueType::F32)),
        shift(random_values(outputs, 6, ValueType::F32)),
        device_input(narrowed(input, type)),
        device_bias(bias),
        device_gain(gain),
        device_shift(shift) {
    stream.partials = partials.data;
    stream.partial_floats = static_cast<int64_t>(partials.count);
    context.activations = type;
    context.stream = &stream;
    if (bytes_of(weight_type) == 1) weight = rounded_to_bytes(weight, weight_type, inputs);
    matrix = device_matrix(context, weight, weight_type, outputs, inputs);
  }

  std::string name() const {
    const char* of = weight_type == WeightType::I8 ? " by int8 " : weight_type == WeightType::F8 ? " by fp8 " : " ";
    return std::string(type == ValueType::F32 ? "float32" : "bfloat16") + of + std::to_string(rows) + " rows, " +
           std::to_string(outputs) + " outputs, " + std::to_string(inputs) + " inputs, " +
           simt::describe(simt::current_schedule());
  }

  const void* input_at(int64_t row) const { return device_input.data + row * inputs * bytes_of(type); }

  // The exact sum, and the error that `inputs` additions of products in float may have.
  double product(int64_t row, int64_t output, double& bound) const {
    double sum = 0, magnitude = 0;
    for (int64_t i = 0; i < inputs; ++i) {
      const double term = static_cast<double>(input[static_cast<size_t>(row * inputs + i)]) *
                          static_cast<double>(weight[static_cast<size_t>(output * inputs + i)]);
      sum += term;
      magnitude += std::fabs(term);
    }
    bound = magnitude * static_cast<double>(inputs) * 0x1p-24;
    return sum;
  }
};

// The largest relative error of rounding to the type.
inline double rounding(ValueType type) { return type == ValueType::F32 ? 0x1p-24 : 0x1p-8; }

}  // namespace mask_predict
