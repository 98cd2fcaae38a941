// A weight matrix [outputs, inputs] in the order the kernels read it: groups of 48 outputs (the last one 16, 32
// or 48), in each group all inputs one after the other, for each input the group's outputs side by side. Outputs
// beyond the matrix are zero. Stored as float32, float16 or bfloat16; arithmetic on it is float32.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cpu/kernels.h"
#include "engine/buffer.h"
#include "ops/context.h"

namespace mask_predict {

using cpu::WeightType;

inline int64_t bytes_of(WeightType type) { return type == WeightType::F32 ? 4 : 2; }

uint16_t float_to_bf16(float value);  // nearest, ties to even
uint16_t float_to_half(float value);  // nearest, ties to even
float bf16_to_float(uint16_t bits);
float half_to_float(uint16_t bits);

struct PackedMatrix {
  WeightType type = WeightType::F32;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Buffer data;

  PackedMatrix() = default;
  // Zeros; `purpose` names the matrix in an out-of-memory error.
  PackedMatrix(WeightType type, int64_t outputs, int64_t inputs, std::shared_ptr<MemoryBudget> budget,
               const std::string& purpose);

  static int64_t bytes(WeightType type, int64_t outputs, int64_t inputs);

  int64_t groups() const { return (outputs + cpu::group_columns - 1) / cpu::group_columns; }
  // Columns in memory of a group: 16, 32 or 48.
  int columns(int64_t group) const {
    const int64_t left = outputs - group * cpu::group_columns;
    return left >= cpu::group_columns ? cpu::group_columns
                                      : static_cast<int>((left + cpu::panel_columns - 1) / cpu::panel_columns *
                                                         cpu::panel_columns);
  }
  // Element (output group * 48, input).
  const char* at(int64_t group, int64_t input) const {
    return data.as<char>() + (group * cpu::group_columns * inputs + input * columns(group)) * bytes_of(type);
  }
  explicit operator bool() const { return static_cast<bool>(data); }
};

// Fills outputs `first` ... `first + count - 1` from rows [count, inputs] of `source_type` at `source` (any
// alignment), narrowing or widening as the types say.
void pack_rows(const Context& context, const void* source, WeightType source_type, int64_t first, int64_t count,
               PackedMatrix& matrix);

// One output's row as float32.
void unpack_row(const PackedMatrix& matrix, int64_t output, float* row);

void store_packed(PackedMatrix& matrix, int64_t output, int64_t input, float value);

}  // namespace mask_predict
