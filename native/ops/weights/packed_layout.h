// Where a weight matrix [outputs, inputs] lies in a CUDA device's memory.
//
// float32: row-major, both sizes as they are. All others: in the order in which mma.m16n8k16 wants its A operand, so
// that what a lane needs is one 16-byte load. Tiles of 16 outputs by 16 inputs; the tiles of 16 outputs lie one behind
// the other along the inputs. Sizes are rounded up, the rest is zero.
//   bfloat16: for each tile 32 lanes by 8 elements.
//   int8 and fp8 (e4m3): for each two tiles 32 lanes by 16 bytes, 8 of each tile. In each four bytes are two registers
//   of the operand, the bytes 0 and 2 and the bytes 1 and 3: so they are made of them with the fewest instructions
//   (weight_fragments.cuh). Inputs are rounded up to 32. Behind the last tile follow the outputs' scales, float32.
// float16 is not kept on a CUDA device.
#pragma once

#include <cstdint>

#include "base/host_device.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict::cuda {

// Lane row % 8 * 4 + column % 8 / 2 holds (row, column), (row + 8, column), (row, column + 8), (row + 8, column + 8) of
// a tile in its four registers, two neighbouring columns in each.
struct FragmentPlace {
  int64_t lane, element_register, half;
};
MASK_PREDICT_HOST_DEVICE inline FragmentPlace fragment_place(int64_t output, int64_t input) {
  const int64_t row = output % 16, column = input % 16;
  return {row % 8 * 4 + column % 8 / 2, row / 8 + column / 8 * 2, column % 2};
}

// Index of element (output, input) of a bfloat16 matrix.
MASK_PREDICT_HOST_DEVICE inline int64_t fragment_index(int64_t output, int64_t input, int64_t inputs) {
  const int64_t tile = output / 16 * (round_up(inputs, 16) / 16) + input / 16;
  const FragmentPlace place = fragment_place(output, input);
  return tile * 256 + place.lane * 8 + place.element_register * 2 + place.half;
}

// Index of byte (output, input) of an int8 or fp8 matrix.
MASK_PREDICT_HOST_DEVICE inline int64_t byte_index(int64_t output, int64_t input, int64_t inputs) {
  const int64_t tiles = output / 16 * (round_up(inputs, 32) / 32) + input / 32;
  const FragmentPlace place = fragment_place(output, input);
  return tiles * 512 + place.lane * 16 + input / 16 % 2 * 8 + place.element_register / 2 * 4 +
         place.element_register % 2 + place.half * 2;
}

// The scales of an int8 or fp8 matrix, [outputs rounded up to 16]; nullptr for any other type.
inline const float* scales_of(const PackedMatrix& matrix) {
  if (bytes_of(matrix.type) != 1) return nullptr;
  return reinterpret_cast<const float*>(matrix.data.as<char>() +
                                        round_up(matrix.outputs, 16) * round_up(matrix.inputs, 32));
}

// Fills matrix.row_major, of a bfloat16 matrix.
void copy_row_major(const Context& context, const PackedMatrix& matrix);

}  // namespace mask_predict::cuda
