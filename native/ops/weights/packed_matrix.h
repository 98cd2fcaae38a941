// A weight matrix [outputs, inputs] in the order a device's kernels read it, stored as float32, float16, bfloat16 or
// bytes.
//
// On the CPU: groups of 48 outputs (the last one 16, 32 or 48), in each group all inputs one after the other, for
// each input the group's outputs side by side; outputs beyond the matrix are zero. bfloat16 has two inputs of an output
// side by side, then the next output's, and bytes (I8; a weight is its output's scale times a byte from -127 to 127) have
// four; inputs beyond the matrix are zero. Behind the last group of bytes follow the outputs' scales as float32 and the
// sums of their bytes as int32, each padded with zeros to a multiple of 16. On a CUDA device: see
// ops/weights/packed_layout.h.
#pragma once

#include <cstdint>

#include "base/buffer.h"
#include "base/numbers.h"
#include "cpu/kernels.h"
#include "ops/context.h"

namespace mask_predict {

struct PackedMatrix {
  WeightType type = WeightType::F32;
  int64_t outputs = 0;
  int64_t inputs = 0;
  Buffer data;
  // On a CUDA device without determinism: the same in row-major order, as cuBLASLt reads it. Empty otherwise.
  Buffer row_major{};

  explicit operator bool() const { return static_cast<bool>(data); }

  // The layout on the CPU: groups, the columns in memory of one (16, 32 or 48), and element (group * 48, input), where
  // input is a multiple of inputs_together(type).
  int64_t groups() const { return (outputs + cpu::group_columns - 1) / cpu::group_columns; }
  int columns(int64_t group) const {
    const int64_t left = outputs - group * cpu::group_columns;
    return left >= cpu::group_columns
               ? cpu::group_columns
               : static_cast<int>((left + cpu::panel_columns - 1) / cpu::panel_columns * cpu::panel_columns);
  }
  const char* at(int64_t group, int64_t input) const {
    return data.as<char>() + (group * cpu::group_columns * padded_inputs() + input * columns(group)) * bytes_of(type);
  }
  int64_t padded_inputs() const { return round_up(inputs, cpu::inputs_together(type)); }
  int64_t padded_outputs() const { return round_up(outputs, cpu::panel_columns); }
  // For I8 on the CPU: [padded_outputs] each.
  float* scales() const { return reinterpret_cast<float*>(data.as<char>() + padded_outputs() * padded_inputs()); }
  int32_t* byte_sums() const { return reinterpret_cast<int32_t*>(scales() + padded_outputs()); }
};

// Where a matrix's values come from while it is packed: rows first ... first + count - 1 as an array [count, inputs]
// of the given type and any alignment, or a function of output and input that any thread may call.
struct PackSource {
  const void* values = nullptr;
  WeightType type = WeightType::F32;
  float (*value)(const void* state, int64_t output, int64_t input) = nullptr;  // output from 0 to count - 1
  const void* state = nullptr;

  float at(int64_t output, int64_t input, int64_t inputs) const {
    return value != nullptr ? value(state, output, input) : read_weight(values, type, output * inputs + input);
  }
};

namespace cpu {
// Writes one output's row as float32.
void unpack_row(const PackedMatrix& matrix, int64_t output, float* row);
}  // namespace cpu

}  // namespace mask_predict
