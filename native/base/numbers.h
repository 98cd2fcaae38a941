// The number formats of activations and weights, conversions between them, and rounding of sizes.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/host_device.h"

namespace mask_predict {

// The format of activations: what an operation reads from the one before it. Arithmetic and the residual stream are
// float32 either way.
enum class ValueType : uint8_t { F32, BF16 };

// The format of a weight matrix. I8: signed bytes with a scale for each output. F8: e4m3, CUDA devices only.
enum class WeightType : uint8_t { F32, F16, BF16, I8, F8 };

// Static: the kernels of an instruction set are compiled with instructions that the machine may not have, so no function
// of theirs may be shared with the rest of the program.
static inline int64_t bytes_of(ValueType type) { return type == ValueType::F32 ? 4 : 2; }
static inline int64_t bytes_of(WeightType type) {
  return type == WeightType::F32 ? 4 : type == WeightType::I8 || type == WeightType::F8 ? 1 : 2;
}

static inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint16_t float_to_bf16(float value);  // nearest, ties to even
uint16_t float_to_half(float value);  // nearest, ties to even
float bf16_to_float(uint16_t bits);
float half_to_float(uint16_t bits);

// Element `index` of an array of any alignment. Not for I8 and F8.
float read_weight(const void* values, WeightType type, int64_t index);

// The smallest multiple of `multiple` that is at least `value`; value >= 0.
MASK_PREDICT_HOST_DEVICE static constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace mask_predict
