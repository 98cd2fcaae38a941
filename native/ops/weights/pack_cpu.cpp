#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "cpu/thread_pool.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict::cpu {
namespace {

// The index of the output's first input; each next input (for I8: each next four) lies columns(group) further.
int64_t packed_index(const PackedMatrix& matrix, int64_t output) {
  const int64_t column = output % group_columns;
  return output / group_columns * group_columns * matrix.padded_inputs() +
         (matrix.type == WeightType::I8 ? column * bytes_per_step : column);
}

void store(PackedMatrix& matrix, int64_t index, float value) {
  switch (matrix.type) {
    case WeightType::F32: matrix.data.as<float>()[index] = value; break;
    case WeightType::F16: matrix.data.as<uint16_t>()[index] = float_to_half(value); break;
    case WeightType::BF16: matrix.data.as<uint16_t>()[index] = float_to_bf16(value); break;
    case WeightType::I8:         // quantized by whole rows
    case WeightType::F8: break;  // not on the CPU
  }
}

// The row as it is, element by element to its place.
template <class Element>
void place_row(const char* row, int64_t inputs, Element* first, int64_t stride) {
  for (int64_t k = 0; k < inputs; k++)
    std::memcpy(first + k * stride, row + k * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
}

// A row [inputs] quantized as activations are, so that a weight is rounded the same way on every instruction set.
// `bytes` is working memory for the row.
void pack_bytes(const Kernels& kernels, const float* row, uint8_t* bytes, int64_t output, PackedMatrix& matrix) {
  const int64_t steps = matrix.padded_inputs() / bytes_per_step;
  const int64_t stride = matrix.columns(output / group_columns) * bytes_per_step;
  kernels.quantize(row, 1, matrix.inputs, bytes, 0, matrix.scales() + output);
  int8_t* place = matrix.data.as<int8_t>() + packed_index(matrix, output);
  int32_t sum = 0;
  for (int64_t k = 0; k < steps; k++, bytes += bytes_per_step, place += stride)
    for (int i = 0; i < bytes_per_step; i++) {
      const int value = bytes[i] - 128;
      sum += value;
      place[i] = static_cast<int8_t>(value);
    }
  matrix.byte_sums()[output] = sum;
}

}  // namespace

int64_t packed_bytes(WeightType type, int64_t outputs, int64_t inputs) {
  const PackedMatrix matrix{type, outputs, inputs, {}};
  if (type != WeightType::I8) return matrix.padded_outputs() * inputs * bytes_of(type);
  if (inputs > most_byte_inputs)
    throw Error(ErrorCode::InvalidArgument, "precision 'int8' is for matrices of up to " +
                                                std::to_string(most_byte_inputs) + " inputs, not " +
                                                std::to_string(inputs) + ": their products are added in 32 bits");
  return matrix.padded_outputs() * (matrix.padded_inputs() + static_cast<int64_t>(sizeof(float) + sizeof(int32_t)));
}

void pack(const Context& context, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  const int64_t inputs = matrix.inputs;
  const int64_t row_bytes = (inputs + 15) / 16 * 16;
  if (matrix.type == WeightType::I8)
    context.pool->reserve_scratch(static_cast<uint64_t>(row_bytes) * (sizeof(float) + 1));
  context.pool->parallel_for(count, group_columns, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; i++) {
      if (matrix.type == WeightType::I8) {
        float* row = context.pool->scratch<float>(thread);
        for (int64_t k = 0; k < inputs; k++) row[k] = source.at(i, k, inputs);
        pack_bytes(*context.kernels, row, reinterpret_cast<uint8_t*>(row + row_bytes), first + i, matrix);
        continue;
      }
      const int64_t index = packed_index(matrix, first + i);
      const int64_t stride = matrix.columns((first + i) / group_columns);
      if (source.value == nullptr && source.type == matrix.type) {
        const char* row = static_cast<const char*>(source.values) + i * inputs * bytes_of(source.type);
        if (matrix.type == WeightType::F32)
          place_row(row, inputs, matrix.data.as<float>() + index, stride);
        else
          place_row(row, inputs, matrix.data.as<uint16_t>() + index, stride);
      } else {
        for (int64_t k = 0; k < inputs; k++) store(matrix, index + k * stride, source.at(i, k, inputs));
      }
    }
  });
}

void unpack_row(const PackedMatrix& matrix, int64_t output, float* row) {
  const int64_t index = packed_index(matrix, output), stride = matrix.columns(output / group_columns);
  if (matrix.type == WeightType::I8) {
    const int8_t* bytes = matrix.data.as<int8_t>() + index;
    const float scale = matrix.scales()[output];
    for (int64_t k = 0; k < matrix.inputs; k += bytes_per_step, bytes += stride * bytes_per_step)
      for (int64_t i = 0; i < std::min<int64_t>(bytes_per_step, matrix.inputs - k); i++)
        row[k + i] = scale * static_cast<float>(bytes[i]);
    return;
  }
  for (int64_t k = 0; k < matrix.inputs; k++)
    row[k] = read_weight(matrix.data.as<char>(), matrix.type, index + k * stride);
}

void select_outputs(const Context& context, const PackedMatrix& matrix, const int32_t* outputs, PackedMatrix& subset) {
  const bool bytes = matrix.type == WeightType::I8;
  const int64_t size = bytes_of(matrix.type), piece = bytes ? bytes_per_step : size;
  const int64_t pieces = matrix.padded_inputs() * size / piece;
  context.pool->parallel_for(subset.outputs, group_columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const char* from = matrix.data.as<char>() + packed_index(matrix, outputs[i]) * size;
      char* to = subset.data.as<char>() + packed_index(subset, i) * size;
      const int64_t from_stride = matrix.columns(outputs[i] / group_columns) * piece;
      const int64_t to_stride = subset.columns(i / group_columns) * piece;
      for (int64_t k = 0; k < pieces; k++, from += from_stride, to += to_stride)
        std::memcpy(to, from, static_cast<size_t>(piece));
      if (!bytes) continue;
      subset.scales()[i] = matrix.scales()[outputs[i]];
      subset.byte_sums()[i] = matrix.byte_sums()[outputs[i]];
    }
  });
}

}  // namespace mask_predict::cpu
