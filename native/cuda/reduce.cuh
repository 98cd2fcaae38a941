// Sums over a block of whole warps, in one fixed order, the same bits in every thread.
#pragma once

#include "cuda/platform.h"

namespace mask_predict::cuda {

// `scratch` is one float per warp of shared memory; it may be used again after the next barrier.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  __syncthreads();
  if (lane_index() == 0) store_shared(scratch + warp_index(), value);
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; ++warp) sum += load_shared(scratch + warp);
  return sum;
}

}  // namespace mask_predict::cuda
