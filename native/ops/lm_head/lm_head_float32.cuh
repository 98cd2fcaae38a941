// The language-model head in float32 with ordinary additions, to compare with: the structure of
// lm_head_tensor_cores.cuh, each product in a lane of its own.
#pragma once

#include "ops/lm_head/lm_head_partial.cuh"

namespace mask_predict::cuda {
namespace lm_head {

constexpr int float32_rows = 32;
constexpr int float32_inner = 32;                  // a warp copies a row
constexpr int float32_stride = float32_inner + 1;  // a warp's 8 outputs, and its 4 rows, lie in different banks
constexpr size_t float32_bytes = (pass_strips * strip_outputs + float32_rows) * float32_stride * sizeof(float);

static __global__ void __launch_bounds__(threads) lm_head_float32(Head head) {
  constexpr int row_groups = float32_rows / 8;
  constexpr int outputs = pass_strips * strip_outputs;
  float* const weights = shared_memory<float>();
  float* const tile_states = weights + outputs * float32_stride;
  const int lane = lane_index(), warp = warp_index();
  const int first_row = static_cast<int>(blockIdx.x) * float32_rows;
  const int range = static_cast<int>(blockIdx.y), ranges = static_cast<int>(gridDim.y);
  const int first_strip = first_strip_of(range, ranges, head.strips);
  const int end_strip = first_strip_of(range + 1, ranges, head.strips);
  const int end = min(end_strip * strip_outputs, head.real_ids);
  wait_for_earlier_kernels();

  Kept<row_groups> kept;
  for (int strip = first_strip; strip < end_strip; strip += pass_strips) {
    Logits<row_groups> logits{};
    for (int first = 0; first < head.width; first += float32_inner) {
      __syncthreads();  // before what is multiplied is written over
      const int position = first + lane;
      for (int i = warp; i < outputs + float32_rows; i += warps) {
        const bool is_output = i < outputs;
        const int row = is_output ? strip * strip_outputs + i : first_row + i - outputs;
        const float* const from = static_cast<const float*>(is_output ? head.weight : head.states);
        const bool valid = row < (is_output ? end : head.rows) && position < head.width;
        store_shared(weights + i * float32_stride + lane,
                     valid ? load_global(from + static_cast<int64_t>(row) * head.width + position) : 0.0f);
      }
      __syncthreads();
      const float* const a = weights + (warp * strip_outputs + lane / 4) * float32_stride;
      const float* const b = tile_states + lane % 4 * 2 * float32_stride;
#pragma unroll 4
      for (int k = 0; k < float32_inner; ++k) {
        float weight[strips_per_warp * 2];
#pragma unroll
        for (int i = 0; i < strips_per_warp * 2; ++i)
          weight[i] = load_shared(a + (i / 2 * warps * strip_outputs + i % 2 * 8) * float32_stride + k);
#pragma unroll
        for (int group = 0; group < row_groups; ++group) {
#pragma unroll
          for (int parity = 0; parity < 2; ++parity) {
            const float state = load_shared(b + (group * 8 + parity) * float32_stride + k);
#pragma unroll
            for (int i = 0; i < strips_per_warp * 2; ++i) {
              float& sum = logits.sums[i / 2][group][i % 2 * 2 + parity];
              sum = fmaf(weight[i], state, sum);
            }
          }
        }
      }
    }
    if (strip + warp < end_strip) take_in(kept, logits, head, (strip + warp) * strip_outputs, end);
  }
  allow_next_kernel();
  __syncthreads();  // before the tiles' memory holds the warps' values
  write_partials(kept, shared_memory<float4>(), head, first_row);
}

}  // namespace lm_head
}  // namespace mask_predict::cuda
