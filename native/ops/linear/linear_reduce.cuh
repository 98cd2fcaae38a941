// Adds up the slices of a product in their order, and what comes after: the epilogue of a linear operation, or the
// residual stream and the LayerNorm of its rows. A thread has groups of four neighbouring outputs
// (linear_epilogue.cuh), whose number and order depend on the width alone.
#pragma once

#include "cuda/reduce.cuh"
#include "ops/linear/linear_epilogue.cuh"
#include "ops/linear/linear_slices.h"

namespace mask_predict::cuda {

// values = sums of the slices; `partials`: the group's place in the first one. All are asked for before the first is
// needed.
template <bool wide>
__device__ __forceinline__ void add_slices(float (&values)[4], const float* partials, int slices, int64_t slice_stride,
                                           int count) {
  float added[most_slices][4] = {};
#pragma unroll
  for (int slice = 0; slice < most_slices; ++slice) {
    if (slice < slices) load_group<wide>(added[slice], partials + slice * slice_stride, count);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    values[i] = 0.0f;
#pragma unroll
    for (int slice = 0; slice < most_slices; ++slice) values[i] += added[slice][i];
  }
}

// ---- the epilogue of a linear operation ------------------------------------------------------------------------

struct ReduceLinear {
  int rows;
  LinearSums products[2];  // of one matrix, or of two
  int first_blocks;        // of the grid's blocks of outputs are the first one's
};

inline constexpr int reduce_threads = 128;
inline constexpr int reduce_outputs = reduce_threads * 4;  // of a block

// Grid: rows; blocks of outputs of the first product, then of the second.
template <bool wide>
__global__ void __launch_bounds__(reduce_threads) linear_reduce_kernel(const ReduceLinear a) {
  const int64_t row = blockIdx.x;
  const int block = static_cast<int>(blockIdx.y);
  const bool second = block >= a.first_blocks;
  const LinearSums sums = second ? a.products[1] : a.products[0];  // indexed, they would lie in local memory
  const int output = (second ? block - a.first_blocks : block) * reduce_outputs + static_cast<int>(threadIdx.x) * 4;
  const int count = sums.outputs - output;
  if (count > 0 && sums.scales != nullptr) prefetch_l2(sums.scales + output);
  if (count > 0 && sums.epilogue.bias != nullptr) prefetch_l2(sums.epilogue.bias + output);
  wait_for_earlier_kernels();
  allow_next_kernel();
  if (count <= 0) return;
  float values[4];
  add_slices<wide>(values, sums.partials + row * sums.outputs + output, sums.parts, int64_t{a.rows} * sums.outputs,
                   count);
  scale_group<wide>(values, sums.scales, output, count);
  finish_group<wide>(sums.epilogue, row, output, sums.outputs, values, count);
}

// ---- the end of a transformer block ----------------------------------------------------------------------------

struct NormLinear {
  const float* partials;  // [slices, rows, width]
  int slices;
  int rows;
  int width;
  const float* scales;  // linear_epilogue.cuh
  const float* bias;    // or nullptr
  const float* gain;
  const float* shift;
  float epsilon;
  bool post;      // the residual stream gets the normed values, else the sums
  float* states;  // [rows, width], the residual stream
  void* normed;   // [rows, width]; may be `states`
  bool narrow;    // normed is bfloat16, else float
};

inline constexpr int norm_most_warps = 32;

inline int norm_threads(int64_t width) {
  const int64_t warps = (width + 127) / 128;  // a group for each thread
  return 32 * static_cast<int>(warps < norm_most_warps ? warps : norm_most_warps);
}

// The row and a sum of every warp.
inline size_t norm_shared_bytes(int64_t width) {
  return (norm_most_warps + static_cast<size_t>(width + 3) / 4 * 4) * sizeof(float);
}

// A block for each row. The row is read once and kept in shared memory, where each thread meets only its own groups.
template <bool wide>
__global__ void __launch_bounds__(norm_most_warps * 32) linear_norm_kernel(const NormLinear a) {
  float* warp_sums = shared_memory<float>();
  float* values_of_row = warp_sums + norm_most_warps;
  const int64_t row = blockIdx.x;
  const int first = static_cast<int>(threadIdx.x) * 4;
  const int step = static_cast<int>(blockDim.x) * 4;
  for (int i = first; i < a.width; i += step) {  // constants: no kernel writes them
    if (a.scales != nullptr) prefetch_l2(a.scales + i);
    if (a.bias != nullptr) prefetch_l2(a.bias + i);
    prefetch_l2(a.gain + i);
    prefetch_l2(a.shift + i);
  }
  wait_for_earlier_kernels();
  allow_next_kernel();

  float sum = 0.0f;
  for (int i = first; i < a.width; i += step) {
    const int count = a.width - i;
    float values[4], added[4];
    add_slices<wide>(values, a.partials + row * a.width + i, a.slices, int64_t{a.rows} * a.width, count);
    scale_group<wide>(values, a.scales, i, count);
    if (a.bias != nullptr) {
      load_group<wide>(added, a.bias + i, count);
#pragma unroll
      for (int k = 0; k < 4; ++k) values[k] += added[k];
    }
    load_group<wide>(added, a.states + row * a.width + i, count);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      values[k] += added[k];
      sum += values[k];  // zero beyond the width
    }
    store_shared(reinterpret_cast<float4*>(values_of_row + i), make_float4(values[0], values[1], values[2], values[3]));
    if (!a.post) store_group<wide>(a.states + row * a.width + i, values, count);
  }
  const float mean = block_sum(sum, warp_sums) / static_cast<float>(a.width);

  float squares = 0.0f;
  for (int i = first; i < a.width; i += step) {
    const float4 values = load_shared(reinterpret_cast<const float4*>(values_of_row + i));
    const float differences[4] = {values.x - mean, values.y - mean, values.z - mean, values.w - mean};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (wide || i + k < a.width) squares = __fmaf_rn(differences[k], differences[k], squares);
    }
  }
  const float variance = block_sum(squares, warp_sums) / static_cast<float>(a.width);
  const float factor = 1.0f / sqrtf(variance + a.epsilon);

  for (int i = first; i < a.width; i += step) {
    const int count = a.width - i;
    const float4 values = load_shared(reinterpret_cast<const float4*>(values_of_row + i));
    float gain[4], normal[4];
    load_group<wide>(gain, a.gain + i, count);
    load_group<wide>(normal, a.shift + i, count);
    normal[0] = __fmaf_rn((values.x - mean) * factor, gain[0], normal[0]);
    normal[1] = __fmaf_rn((values.y - mean) * factor, gain[1], normal[1]);
    normal[2] = __fmaf_rn((values.z - mean) * factor, gain[2], normal[2]);
    normal[3] = __fmaf_rn((values.w - mean) * factor, gain[3], normal[3]);
    const int64_t index = row * a.width + i;
    if (a.post) store_group<wide>(a.states + index, normal, count);
    if (a.narrow) {
      store_group<wide>(static_cast<__nv_bfloat16*>(a.normed) + index, normal, count);
    } else if (!a.post || a.normed != a.states) {
      store_group<wide>(static_cast<float*>(a.normed) + index, normal, count);
    }
  }
}

}  // namespace mask_predict::cuda
