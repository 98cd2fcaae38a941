// The language-model head in bfloat16. The weights, in fragment order, take the 16-wide side of the tensor core
// instruction and the rows the 8-wide one, so that few rows waste little. Both arrive through a ring of stages in
// shared memory: a lane copies just the fragments that it will itself multiply, and the first of them before it waits
// for the kernel that makes the states.
#pragma once

#include "cuda/lm_head_partial.cuh"

namespace mask_predict::cuda {
namespace lm_head {

constexpr int stages = 4;
constexpr int stage_tiles = 2;  // of 16 inner positions
constexpr int stage_inner = stage_tiles * 16;
constexpr int row_chunks = stage_inner / 8;  // of 16 bytes

// Where a chunk of a row of states lies, in chunks: two rows fill all banks, and every second row its chunks are
// exchanged otherwise, so that ldmatrix finds the same chunk of 8 rows in 8 groups of banks.
__device__ __forceinline__ int place_of_chunk(int row, int chunk) { return row * row_chunks + (chunk ^ row / 2 % 4); }
constexpr int stage_fragments = warps * strips_per_warp * stage_tiles * 32;  // of 16 bytes

constexpr size_t tensor_core_bytes(int row_tile) {
  return stages * static_cast<size_t>(stage_fragments + row_tile * row_chunks) * sizeof(uint4);
}

template <int row_tile>
__global__ void __launch_bounds__(threads, 2) lm_head_tensor_cores(Head head) {
  constexpr int row_groups = row_tile / 8;
  uint4* const fragments = shared_memory<uint4>();
  uint4* const tokens = fragments + stages * stage_fragments;
  const int lane = lane_index(), warp = warp_index(), thread = static_cast<int>(threadIdx.x);
  const int first_row = static_cast<int>(blockIdx.x) * row_tile;
  const int range = static_cast<int>(blockIdx.y), ranges = static_cast<int>(gridDim.y);
  const int first_strip = first_strip_of(range, ranges, head.strips);
  const int end_strip = first_strip_of(range + 1, ranges, head.strips);
  const int tiles = (head.width + 15) / 16;
  const int pass_steps = (tiles + stage_tiles - 1) / stage_tiles;
  const int steps = (end_strip - first_strip + pass_strips - 1) / pass_strips * pass_steps;

  // The step whose copies start next.
  int ahead_strip = first_strip + warp, ahead_tile = 0;
  const CachePolicy policy = evict_first_policy();
  const auto copy_weights = [&](int stage, int strip_of_warp, int first_tile) {
    uint4* const to = fragments + stage * stage_fragments + warp * (strips_per_warp * stage_tiles * 32) + lane;
#pragma unroll
    for (int i = 0; i < strips_per_warp * stage_tiles; ++i) {
      const int strip = strip_of_warp + i / stage_tiles * warps, tile = first_tile + i % stage_tiles;
      if (strip < end_strip && tile < tiles) {
        const int64_t index = (static_cast<int64_t>(strip) * tiles + tile) * 32 + lane;
        cp_async_16(to + i * 32, static_cast<const uint4*>(head.weight) + index, policy);
      }
    }
  };
  const auto copy_states = [&](int stage, int first_tile) {
    if (thread >= row_tile * row_chunks) return;
    const int row = thread / row_chunks, chunk = thread % row_chunks, position = first_tile * 16 + chunk * 8;
    const bool valid = first_row + row < head.rows && position < head.width;
    const __nv_bfloat16* const states = static_cast<const __nv_bfloat16*>(head.states);
    const int64_t index = valid ? static_cast<int64_t>(first_row + row) * head.width + position : 0;
    cp_async_16_or_zero(tokens + stage * row_tile * row_chunks + place_of_chunk(row, chunk), states + index, valid);
  };
  const auto advance = [&] {
    ahead_tile += stage_tiles;
    if (ahead_tile < tiles) return;
    ahead_tile = 0;
    ahead_strip += pass_strips;
  };

  // The weights of the first stages, then their states: the wait lies between. All these weights belong to the first
  // group of copies.
  for (int step = 0; step < stages - 1; ++step) {
    if (step < steps) copy_weights(step, ahead_strip, ahead_tile);
    advance();
  }
  wait_for_earlier_kernels();
  for (int step = 0; step < stages - 1; ++step) {
    if (step < steps) copy_states(step, step % pass_steps * stage_tiles);
    cp_async_commit();
  }

  LmHeadPartial kept[2] = {nothing, nothing};
  Logits<row_groups> logits{};
  int strip = first_strip + warp, tile = 0;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<stages - 2>();
    __syncthreads();  // everybody's copies are there, and everybody has done with the stage that is copied to next
    if (step + stages - 1 < steps) {
      const int stage = (step + stages - 1) % stages;
      copy_weights(stage, ahead_strip, ahead_tile);
      copy_states(stage, ahead_tile);
      advance();
    }
    cp_async_commit();

    if (strip < end_strip) {
      const int stage = step % stages;
      const uint4* const a = fragments + stage * stage_fragments + warp * (strips_per_warp * stage_tiles * 32) + lane;
      const uint4* const b = tokens + stage * row_tile * row_chunks;
#pragma unroll
      for (int inside = 0; inside < stage_tiles; ++inside) {
        if (tile + inside >= tiles) break;
        uint32_t weights[strips_per_warp][4];
#pragma unroll
        for (int s = 0; s < strips_per_warp; ++s) {
          // Where the second strip is beyond the range this multiplies what happens to lie there; take_in drops it.
          const uint4 fragment = load_shared(a + (s * stage_tiles + inside) * 32);
          weights[s][0] = fragment.x;
          weights[s][1] = fragment.y;
          weights[s][2] = fragment.z;
          weights[s][3] = fragment.w;
        }
#pragma unroll
        for (int group = 0; group < row_groups; group += 2) {
          uint32_t states[4];
          const int row = (group + lane / 16) * 8 + lane % 8;
          ldmatrix_x4(states, b + place_of_chunk(row, inside * 2 + lane / 8 % 2));
#pragma unroll
          for (int s = 0; s < strips_per_warp; ++s) {
            mma_m16n8k16(logits.sums[s][group], weights[s], states[0], states[1]);
            mma_m16n8k16(logits.sums[s][group + 1], weights[s], states[2], states[3]);
          }
        }
      }
    }
    tile += stage_tiles;
    if (tile >= tiles) {
      if (strip < end_strip) {
        const int end = min(end_strip * strip_outputs, head.real_ids);
        take_in(kept, logits, head, strip * strip_outputs, end);
        logits = {};
      }
      tile = 0;
      strip += pass_strips;
    }
  }
  allow_next_kernel();
  cp_async_wait<0>();
  __syncthreads();  // before the stages' memory holds the warps' values
  write_partials<row_groups>(kept, shared_memory<float4>(), head, first_row);
}

}  // namespace lm_head
}  // namespace mask_predict::cuda
