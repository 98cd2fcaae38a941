#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "cpu/thread_pool.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict::cpu {
namespace {

// Where the inputs of one output lie: `together` of them side by side from `first` on, the next ones `stride` further.
struct OutputPlace {
  int64_t first, stride;
  int together;
  // body(input, index) for each of the output's inputs.
  template <class Body>
  void each(int64_t inputs, const Body& body) const {
    int64_t index = first;
    for (int64_t k = 0; k < inputs; k += together, index += stride)
      for (int64_t i = 0; i < std::min<int64_t>(together, inputs - k); i++) body(k + i, index + i);
  }
};

OutputPlace place_of(const PackedMatrix& matrix, int64_t output) {
  const int together = inputs_together(matrix.type);
  const int64_t group = output / group_columns;
  return {group * group_columns * matrix.padded_inputs() + output % group_columns * together,
          int64_t{matrix.columns(group)} * together, together};
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
void place_row(const char* row, int64_t inputs, Element* elements, const OutputPlace& place) {
  place.each(inputs, [&](int64_t k, int64_t index) {
    std::memcpy(elements + index, row + k * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
  });
}

// A row [inputs] quantized as activations are, so that a weight is rounded the same way on every instruction set.
// `quantized` is working memory for the row.
void pack_bytes(const Kernels& kernels, const float* row, void* quantized, int64_t output, PackedMatrix& matrix) {
  const auto* bytes = static_cast<const uint8_t*>(quantized);
  const int64_t steps = matrix.padded_inputs() / bytes_per_step;
  const OutputPlace place = place_of(matrix, output);
  kernels.quantize(row, 1, matrix.inputs, quantized, 0, matrix.scales() + output);
  int8_t* four = matrix.data.as<int8_t>() + place.first;
  int32_t sum = 0;
  for (int64_t k = 0; k < steps; k++, four += place.stride)
    for (int i = 0; i < bytes_per_step; i++, bytes += kernels.input_bytes) {
      four[i] = static_cast<int8_t>(*bytes ^ kernels.byte_flip);  // of two bytes the low one
      sum += four[i];
    }
  matrix.byte_sums()[output] = sum;
}

}  // namespace

int64_t packed_bytes(WeightType type, int64_t outputs, int64_t inputs) {
  const PackedMatrix matrix{type, outputs, inputs, {}};
  if (type != WeightType::I8) return matrix.padded_outputs() * matrix.padded_inputs() * bytes_of(type);
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
    context.pool->reserve_scratch(static_cast<uint64_t>(row_bytes) * (sizeof(float) + context.kernels->input_bytes));
  context.pool->parallel_for(count, group_columns, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; i++) {
      if (matrix.type == WeightType::I8) {
        float* row = context.pool->scratch<float>(thread);
        for (int64_t k = 0; k < inputs; k++) row[k] = source.at(i, k, inputs);
        pack_bytes(*context.kernels, row, row + row_bytes, first + i, matrix);
        continue;
      }
      const OutputPlace place = place_of(matrix, first + i);
      if (source.value == nullptr && source.type == matrix.type) {
        const char* row = static_cast<const char*>(source.values) + i * inputs * bytes_of(source.type);
        if (matrix.type == WeightType::F32)
          place_row(row, inputs, matrix.data.as<float>(), place);
        else
          place_row(row, inputs, matrix.data.as<uint16_t>(), place);
      } else {
        place.each(inputs, [&](int64_t k, int64_t index) { store(matrix, index, source.at(i, k, inputs)); });
      }
    }
  });
}

void unpack_row(const PackedMatrix& matrix, int64_t output, float* row) {
  const OutputPlace place = place_of(matrix, output);
  if (matrix.type == WeightType::I8) {
    const float scale = matrix.scales()[output];
    const int8_t* bytes = matrix.data.as<int8_t>();
    place.each(matrix.inputs, [&](int64_t k, int64_t index) { row[k] = scale * static_cast<float>(bytes[index]); });
    return;
  }
  place.each(matrix.inputs,
             [&](int64_t k, int64_t index) { row[k] = read_weight(matrix.data.as<char>(), matrix.type, index); });
}

void select_outputs(const Context& context, const PackedMatrix& matrix, const int32_t* outputs, PackedMatrix& subset) {
  const bool bytes = matrix.type == WeightType::I8;
  const int64_t size = bytes_of(matrix.type), piece = size * inputs_together(matrix.type);
  const int64_t pieces = matrix.padded_inputs() * size / piece;
  context.pool->parallel_for(subset.outputs, group_columns, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const OutputPlace place = place_of(matrix, outputs[i]), subset_place = place_of(subset, i);
      const char* from = matrix.data.as<char>() + place.first * size;
      char* to = subset.data.as<char>() + subset_place.first * size;
      for (int64_t k = 0; k < pieces; k++, from += place.stride * size, to += subset_place.stride * size)
        std::memcpy(to, from, static_cast<size_t>(piece));
      if (!bytes) continue;
      subset.scales()[i] = matrix.scales()[outputs[i]];
      subset.byte_sums()[i] = matrix.byte_sums()[outputs[i]];
    }
  });
}

}  // namespace mask_predict::cpu
