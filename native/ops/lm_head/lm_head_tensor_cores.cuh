// The language-model head in bfloat16, with weights that are bytes too (weight_fragments.cuh). The weights, in fragment order, take the 16-wide side of the tensor core
// instruction and the rows the 8-wide one, so that few rows waste little. Both arrive through a ring of stages in
// shared memory: a lane copies just the fragments that it will itself multiply, and the first of them before it waits
// for the kernel that makes the states.
#pragma once

#include "ops/lm_head/lm_head_partial.cuh"
#include "ops/weights/weight_fragments.cuh"

namespace mask_predict::cuda {
namespace lm_head {

constexpr int stages = 4;
constexpr int stage_loads = 2;                                               // of each strip
constexpr int stage_fragments = warps * strips_per_warp * stage_loads * 32;  // of 16 bytes

template <class Weights>
struct StatesStage {
  static constexpr int tiles = stage_loads * Weights::load_tiles;  // of 16 inner positions
  static constexpr int row_chunks = tiles * 2;                     // of 16 bytes
  // Where a chunk of a row of states lies, in chunks. One row, or two, fill all banks, and chunks are exchanged
  // otherwise in each row, or in every second one, so that ldmatrix finds the same chunk of 8 rows in 8 groups of banks.
  static __device__ __forceinline__ int place(int row, int chunk) {
    return row * row_chunks + (chunk ^ row * row_chunks / 8 % row_chunks);
  }
};

template <class Weights>
constexpr size_t tensor_core_bytes(int row_tile) {
  return stages * static_cast<size_t>(stage_fragments + row_tile * StatesStage<Weights>::row_chunks) * sizeof(uint4);
}

template <class Weights, int row_tile>
__global__ void __launch_bounds__(threads, 2) lm_head_tensor_cores(Head head) {
  using Stage = StatesStage<Weights>;
  constexpr int row_groups = row_tile / 8, row_chunks = Stage::row_chunks;
  uint4* const fragments = shared_memory<uint4>();
  uint4* const tile_states = fragments + stages * stage_fragments;
  const int lane = lane_index(), warp = warp_index(), thread = static_cast<int>(threadIdx.x);
  const int first_row = static_cast<int>(blockIdx.x) * row_tile;
  const int range = static_cast<int>(blockIdx.y), ranges = static_cast<int>(gridDim.y);
  const int first_strip = first_strip_of(range, ranges, head.strips);
  const int end_strip = first_strip_of(range + 1, ranges, head.strips);
  const int loads = (head.width + Weights::load_tiles * 16 - 1) / (Weights::load_tiles * 16);
  const int pass_steps = (loads + stage_loads - 1) / stage_loads;
  const int steps = (end_strip - first_strip + pass_strips - 1) / pass_strips * pass_steps;

  // The step whose copies start next.
  int ahead_strip = first_strip + warp, ahead_load = 0;
  const CachePolicy policy = evict_first_policy();
  const auto copy_weights = [&](int stage, int strip_of_warp, int first_load) {
    uint4* const to = fragments + stage * stage_fragments + warp * (strips_per_warp * stage_loads * 32) + lane;
#pragma unroll
    for (int i = 0; i < strips_per_warp * stage_loads; ++i) {
      const int strip = strip_of_warp + i / stage_loads * warps, load = first_load + i % stage_loads;
      if (strip < end_strip && load < loads) {
        const int64_t index = (static_cast<int64_t>(strip) * loads + load) * 32 + lane;
        cp_async_16(to + i * 32, static_cast<const uint4*>(head.weight) + index, policy);
      }
    }
  };
  const auto copy_states = [&](int stage, int first_load) {
#pragma unroll 1
    for (int i = thread; i < row_tile * row_chunks; i += threads) {
      const int row = i / row_chunks, chunk = i % row_chunks;
      const int position = first_load * Weights::load_tiles * 16 + chunk * 8;
      const bool valid = first_row + row < head.rows && position < head.width;
      const __nv_bfloat16* const states = static_cast<const __nv_bfloat16*>(head.states);
      const int64_t index = valid ? static_cast<int64_t>(first_row + row) * head.width + position : 0;
      cp_async_16_or_zero(tile_states + stage * row_tile * row_chunks + Stage::place(row, chunk), states + index,
                          valid);
    }
  };
  const auto advance = [&] {
    ahead_load += stage_loads;
    if (ahead_load < loads) return;
    ahead_load = 0;
    ahead_strip += pass_strips;
  };

  // The weights of the first stages, then their states: the wait lies between. All these weights belong to the first
  // group of copies.
  for (int step = 0; step < stages - 1; ++step) {
    if (step < steps) copy_weights(step, ahead_strip, ahead_load);
    advance();
  }
  wait_for_earlier_kernels();
  for (int step = 0; step < stages - 1; ++step) {
    if (step < steps) copy_states(step, step % pass_steps * stage_loads);
    cp_async_commit();
  }

  LmHeadPartial kept[2] = {nothing, nothing};
  Logits<row_groups> logits{};
  int strip = first_strip + warp, load = 0;
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<stages - 2>();
    __syncthreads();  // everybody's copies are there, and everybody has done with the stage that is copied to next
    if (step + stages - 1 < steps) {
      const int stage = (step + stages - 1) % stages;
      copy_weights(stage, ahead_strip, ahead_load);
      copy_states(stage, ahead_load);
      advance();
    }
    cp_async_commit();

    if (strip < end_strip) {
      const int stage = step % stages;
      const uint4* const a = fragments + stage * stage_fragments + warp * (strips_per_warp * stage_loads * 32) + lane;
      const uint4* const b = tile_states + stage * row_tile * row_chunks;
#pragma unroll
      for (int inside = 0; inside < stage_loads; ++inside) {
        if (load + inside >= loads) break;
        uint4 loaded[strips_per_warp];
#pragma unroll
        for (int s = 0; s < strips_per_warp; ++s) {
          // Where the second strip is beyond the range this multiplies what happens to lie there; take_in drops it.
          loaded[s] = load_shared(a + (s * stage_loads + inside) * 32);
        }
#pragma unroll
        for (int part = 0; part < Weights::load_tiles; ++part) {
          uint32_t weights[strips_per_warp][4];
#pragma unroll
          for (int s = 0; s < strips_per_warp; ++s) Weights::unpack(weights[s], loaded[s], part);
#pragma unroll
          for (int group = 0; group < row_groups; group += 2) {
            uint32_t states[4];
            const int row = (group + lane / 16) * 8 + lane % 8;
            ldmatrix_x4(states, b + Stage::place(row, (inside * Weights::load_tiles + part) * 2 + lane / 8 % 2));
#pragma unroll
            for (int s = 0; s < strips_per_warp; ++s) {
              mma_m16n8k16(logits.sums[s][group], weights[s], states[0], states[1]);
              mma_m16n8k16(logits.sums[s][group + 1], weights[s], states[2], states[3]);
            }
          }
        }
      }
    }
    load += stage_loads;
    if (load >= loads) {
      if (strip < end_strip) {
        const int end = min(end_strip * strip_outputs, head.real_ids);
        take_in(kept, logits, head, strip * strip_outputs, end);
        logits = {};
      }
      load = 0;
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
