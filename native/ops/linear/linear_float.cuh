// Sums of products in float32, without tensor cores: for comparison with other implementations, not for speed. Every
// sum is one chain of fused multiply-adds over the inner dimension from its beginning to its end.
//
// A block makes 64 outputs for 32 rows, a warp 8 of the rows, a thread 4 by 4. Both matrices go through shared
// memory, 32 inner positions at a time, each row of which is one coalesced access.
#pragma once

#include "ops/linear/linear_epilogue.cuh"

namespace mask_predict::cuda {

struct FloatLinear {
  const float* weights;  // [outputs, inputs]
  const float* input;    // [rows, inputs]
  int rows;
  int outputs;
  int inputs;
  float* partials;          // [rows, outputs]: gets the bare sums, if not nullptr
  LinearEpilogue epilogue;  // otherwise
};

inline constexpr int float_threads = 128;
inline constexpr int float_rows = 32;
inline constexpr int float_outputs = 64;
inline constexpr int float_inner = 32;
// Threads read four inner positions of 8 neighbouring rows: the padding puts them into different groups of banks.
inline constexpr int float_stride = float_inner + 4;
inline constexpr size_t float_shared_bytes = (float_rows + float_outputs) * float_stride * sizeof(float);

// Copies `count` rows of a matrix [matrix_rows, inner] from (first_row, first_inner); zeros beyond it.
template <int count>
__device__ __forceinline__ void copy_floats(float* tile, const float* matrix, int matrix_rows, int inner, int first_row,
                                            int first_inner) {
  const int position = first_inner + lane_index();
#pragma unroll 8
  for (int i = warp_index(); i < count; i += float_threads / 32) {
    const bool valid = first_row + i < matrix_rows && position < inner;
    const float value = valid ? load_global(matrix + static_cast<int64_t>(first_row + i) * inner + position) : 0.0f;
    store_shared(tile + i * float_stride + lane_index(), value);
  }
}

__global__ void __launch_bounds__(float_threads) linear_float_kernel(const FloatLinear a) {
  float* input_tile = shared_memory<float>();
  float* weight_tile = input_tile + float_rows * float_stride;
  const int first_row = static_cast<int>(blockIdx.x) * float_rows;
  const int first_output = static_cast<int>(blockIdx.y) * float_outputs;
  const int row_in_tile = warp_index() * 8 + lane_index() / 16 * 4;  // the thread's rows: this one and 3 more
  const int output_in_tile = lane_index() % 16;                      // its outputs: this one and every 16th
  const bool warp_has_rows = first_row + warp_index() * 8 < a.rows;
  wait_for_earlier_kernels();
  allow_next_kernel();

  float sums[4][4] = {};
  for (int position = 0; position < a.inputs; position += float_inner) {
    copy_floats<float_rows>(input_tile, a.input, a.rows, a.inputs, first_row, position);
    copy_floats<float_outputs>(weight_tile, a.weights, a.outputs, a.inputs, first_output, position);
    __syncthreads();
    if (warp_has_rows) {
#pragma unroll
      for (int inside = 0; inside < float_inner; inside += 4) {
        float4 inputs[4], weights[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          inputs[i] =
              load_shared(reinterpret_cast<const float4*>(input_tile + (row_in_tile + i) * float_stride + inside));
          weights[i] = load_shared(
              reinterpret_cast<const float4*>(weight_tile + (output_in_tile + i * 16) * float_stride + inside));
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            float sum = __fmaf_rn(inputs[i].x, weights[j].x, sums[i][j]);
            sum = __fmaf_rn(inputs[i].y, weights[j].y, sum);
            sum = __fmaf_rn(inputs[i].z, weights[j].z, sum);
            sums[i][j] = __fmaf_rn(inputs[i].w, weights[j].w, sum);
          }
        }
      }
    }
    __syncthreads();  // before the next tiles take the place of these
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = first_row + row_in_tile + i;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int output = first_output + output_in_tile + j * 16;
      if (row >= a.rows || output >= a.outputs) continue;
      if (a.partials != nullptr) {
        store_global(a.partials + static_cast<int64_t>(row) * a.outputs + output, sums[i][j]);
      } else {
        float values[4] = {sums[i][j]};
        finish_group<false>(a.epilogue, row, output, a.outputs, values, 1);
      }
    }
  }
}

}  // namespace mask_predict::cuda
