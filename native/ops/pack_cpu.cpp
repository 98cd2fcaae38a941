#include <cstring>

#include "cpu/thread_pool.h"
#include "ops/packed_matrix.h"

namespace mask_predict::cpu {
namespace {

int64_t packed_index(const PackedMatrix& matrix, int64_t output, int64_t input) {
  const int64_t group = output / group_columns;
  return group * group_columns * matrix.inputs + input * matrix.columns(group) + output % group_columns;
}

void store(PackedMatrix& matrix, int64_t index, float value) {
  switch (matrix.type) {
    case WeightType::F32: matrix.data.as<float>()[index] = value; break;
    case WeightType::F16: matrix.data.as<uint16_t>()[index] = float_to_half(value); break;
    case WeightType::BF16: matrix.data.as<uint16_t>()[index] = float_to_bf16(value); break;
  }
}

// The row as it is, element by element to its place.
template <class Element>
void place_row(const char* row, int64_t inputs, Element* first, int64_t stride) {
  for (int64_t k = 0; k < inputs; k++) std::memcpy(first + k * stride, row + k * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
}

}  // namespace

int64_t packed_bytes(WeightType type, int64_t outputs, int64_t inputs) {
  return (outputs + panel_columns - 1) / panel_columns * panel_columns * inputs * bytes_of(type);
}

void pack(const Context& context, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  const int64_t inputs = matrix.inputs;
  context.pool->parallel_for(count, group_columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t index = packed_index(matrix, first + i, 0);
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
  const int64_t index = packed_index(matrix, output, 0), stride = matrix.columns(output / group_columns);
  for (int64_t k = 0; k < matrix.inputs; k++) row[k] = read_weight(matrix.data.as<char>(), matrix.type, index + k * stride);
}

void select_outputs(const Context& context, const PackedMatrix& matrix, const int32_t* outputs, PackedMatrix& subset) {
  const size_t size = static_cast<size_t>(bytes_of(matrix.type));
  context.pool->parallel_for(subset.outputs, group_columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t from = packed_index(matrix, outputs[i], 0), to = packed_index(subset, i, 0);
      const int64_t from_stride = matrix.columns(outputs[i] / group_columns), to_stride = subset.columns(i / group_columns);
      for (int64_t k = 0; k < matrix.inputs; k++)
        std::memcpy(subset.data.as<char>() + static_cast<size_t>(to + k * to_stride) * size,
                    matrix.data.as<char>() + static_cast<size_t>(from + k * from_stride) * size, size);
    }
  });
}

}  // namespace mask_predict::cpu
