// Where a weight matrix [outputs, inputs] lies in a CUDA device's memory.
//
// float32: row-major, both sizes as they are. bfloat16: in the order in which mma.m16n8k16 wants its A operand, so
// that a lane's four registers are one 16-byte load: tiles of 16 outputs by 16 inputs, for each tile 32 lanes by 8
// elements; the tiles of 16 outputs lie one behind the other along the inputs. Both sizes are rounded up to 16, the
// rest is zero. float16 is not kept on a CUDA device.
#pragma once

#include <cstdint>

namespace mask_predict::cuda {

#ifdef __CUDACC__
#define MASK_PREDICT_HOST_DEVICE __host__ __device__
#else
#define MASK_PREDICT_HOST_DEVICE
#endif

MASK_PREDICT_HOST_DEVICE inline int64_t rounded_up(int64_t size) { return (size + 15) / 16 * 16; }

// Index of element (output, input) of a bfloat16 matrix.
MASK_PREDICT_HOST_DEVICE inline int64_t fragment_index(int64_t output, int64_t input, int64_t inputs) {
  const int64_t tile = output / 16 * (rounded_up(inputs) / 16) + input / 16;
  const int64_t row = output % 16, column = input % 16;
  // Lane row % 8 * 4 + column % 8 / 2 holds (row, column), (row + 8, column), (row, column + 8), (row + 8, column + 8)
  // in its four registers, two neighbouring columns in each.
  const int64_t lane = row % 8 * 4 + column % 8 / 2;
  const int64_t element = (row / 8 + column / 8 * 2) * 2 + column % 2;
  return tile * 256 + lane * 8 + element;
}

}  // namespace mask_predict::cuda
