#include "ops/packed_matrix.h"

#include <algorithm>
#include <cstring>

#include "cpu/thread_pool.h"

namespace mask_predict {
namespace {

uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Reads elements of any alignment.
float read(const void* source, WeightType type, int64_t index) {
  const char* p = static_cast<const char*>(source) + index * bytes_of(type);
  if (type == WeightType::F32) {
    float value;
    std::memcpy(&value, p, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return type == WeightType::F16 ? half_to_float(bits) : bf16_to_float(bits);
}

int64_t packed_index(const PackedMatrix& matrix, int64_t output, int64_t input) {
  const int64_t group = output / cpu::group_columns;
  return group * cpu::group_columns * matrix.inputs + input * matrix.columns(group) + output % cpu::group_columns;
}

}  // namespace

uint16_t float_to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

float bf16_to_float(uint16_t bits) { return float_of(static_cast<uint32_t>(bits) << 16); }

uint16_t float_to_half(float value) {
  const uint32_t bits = bits_of(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // rounds to 2^16 or more
  if (magnitude < 0x38800000u) {
    // Subnormal: adding 1/2 leaves the value in units of 2^-24 in the low bits, rounded to even by the addition.
    return static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f)));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

float half_to_float(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu, sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  if (magnitude >= 0x7c00u) return float_of(sign | 0x7f800000u | (magnitude << 13));
  return float_of(sign | bits_of(float_of(magnitude << 13) * 0x1p112f));
}

int64_t PackedMatrix::bytes(WeightType type, int64_t outputs, int64_t inputs) {
  return (outputs + cpu::panel_columns - 1) / cpu::panel_columns * cpu::panel_columns * inputs * bytes_of(type);
}

PackedMatrix::PackedMatrix(WeightType type, int64_t outputs, int64_t inputs, std::shared_ptr<MemoryBudget> budget,
                           const std::string& purpose)
    : type(type),
      outputs(outputs),
      inputs(inputs),
      data(static_cast<uint64_t>(bytes(type, outputs, inputs)), std::move(budget), purpose) {}

void store_packed(PackedMatrix& matrix, int64_t output, int64_t input, float value) {
  const int64_t index = packed_index(matrix, output, input);
  switch (matrix.type) {
    case WeightType::F32: matrix.data.as<float>()[index] = value; break;
    case WeightType::F16: matrix.data.as<uint16_t>()[index] = float_to_half(value); break;
    case WeightType::BF16: matrix.data.as<uint16_t>()[index] = float_to_bf16(value); break;
  }
}

void pack_rows(const Context& context, const void* source, WeightType source_type, int64_t first, int64_t count,
               PackedMatrix& matrix) {
  const int64_t inputs = matrix.inputs, size = bytes_of(matrix.type);
  const auto body = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t index = packed_index(matrix, first + i, 0);
      const int64_t columns = matrix.columns((first + i) / cpu::group_columns);
      if (source_type != matrix.type) {
        for (int64_t k = 0; k < inputs; k++)
          store_packed(matrix, first + i, k, read(source, source_type, i * inputs + k));
      } else if (size == 4) {
        const char* row = static_cast<const char*>(source) + i * inputs * 4;
        for (int64_t k = 0; k < inputs; k++)
          std::memcpy(matrix.data.as<float>() + index + k * columns, row + k * 4, 4);
      } else {
        const char* row = static_cast<const char*>(source) + i * inputs * 2;
        for (int64_t k = 0; k < inputs; k++)
          std::memcpy(matrix.data.as<uint16_t>() + index + k * columns, row + k * 2, 2);
      }
    }
  };
  context.pool->parallel_for(count, cpu::group_columns, body);
}

void unpack_row(const PackedMatrix& matrix, int64_t output, float* row) {
  const int64_t index = packed_index(matrix, output, 0), columns = matrix.columns(output / cpu::group_columns);
  for (int64_t k = 0; k < matrix.inputs; k++) row[k] = read(matrix.data.as<char>(), matrix.type, index + k * columns);
}

}  // namespace mask_predict
