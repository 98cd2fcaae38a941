// The language-model head in bfloat16, with weights that are bytes too (weight_fragments.cuh). The weights, in fragment
// order, take the 16-wide side of the tensor core instruction and the rows the 8-wide one, so that few rows waste little.
// Both arrive through a ring of stages in shared memory (cuda/ring.h): a warp copies just the fragments that it will itself
// multiply, and the first of them before it waits for the kernel that makes the states.
//
// A block reads its range of the vocabulary once for a tile of up to 128 rows, and the rows once for each pass over 16 strips
// of 16 outputs, of which each of the eight warps has two. The sums of 128 rows take half of a thread's registers, so that a
// multiprocessor has one such block, and two of the smaller ones. A row has the same bits in any tile.
#pragma once

#include "cuda/ring.h"
#include "ops/lm_head/lm_head_partial.cuh"
#include "ops/weights/weight_fragments.cuh"

namespace mask_predict::cuda {
namespace lm_head {

constexpr int stage_loads = 2;  // of 16 bytes, of each strip and lane

// A tile of rows, and a stage of its ring: the fragments of all warps, then the states.
template <class Weights, int row_tile>
struct HeadTile {
  static constexpr int blocks = row_tile > 64 ? 1 : 2;                       // of a multiprocessor
  static constexpr int warp_fragments = strips_per_warp * stage_loads * 32;  // of 16 bytes
  static constexpr int tiles = stage_loads * Weights::load_tiles;            // of 16 inner positions
  static constexpr int row_chunks = tiles * 2;                               // of 16 bytes
  static constexpr int fragments = warps * warp_fragments;
  static constexpr int size = fragments + row_tile * row_chunks;
  static constexpr size_t bytes = sizeof(uint4) * static_cast<size_t>(size);
  static_assert(shallowest_ring * size >= warps * row_tile);  // the warps' values take the ring's place

  // Where a chunk of a row of states lies, in chunks. One row, or two, fill all banks, and chunks are exchanged
  // otherwise in each row, or in every second one, so that ldmatrix finds the same chunk of 8 rows in 8 groups of banks.
  static __device__ __forceinline__ int place(int row, int chunk) {
    return fragments + row * row_chunks + (chunk ^ row * row_chunks / 8 % row_chunks);
  }
};

template <class Weights, int row_tile>
__global__ void __launch_bounds__(threads, HeadTile<Weights, row_tile>::blocks) lm_head_tensor_cores(Head head) {
  using Tile = HeadTile<Weights, row_tile>;
  constexpr int row_groups = row_tile / 8, row_chunks = Tile::row_chunks;
  uint4* const ring = shared_memory<uint4>();
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
  const int own_fragments = warp * Tile::warp_fragments + lane;
  const auto copy_weights = [&](uint4* stage, int strip_of_warp, int first_load) {
#pragma unroll
    for (int i = 0; i < strips_per_warp * stage_loads; ++i) {
      const int strip = strip_of_warp + i / stage_loads * warps, load = first_load + i % stage_loads;
      if (strip < end_strip && load < loads) {
        const int64_t index = (static_cast<int64_t>(strip) * loads + load) * 32 + lane;
        cp_async_16(stage + own_fragments + i * 32, static_cast<const uint4*>(head.weight) + index, policy);
      }
    }
  };
  const auto copy_states = [&](uint4* stage, int first_load) {
#pragma unroll 1
    for (int i = thread; i < row_tile * row_chunks; i += threads) {
      const int row = i / row_chunks, chunk = i % row_chunks;
      const int position = first_load * Weights::load_tiles * 16 + chunk * 8;
      const bool valid = first_row + row < head.rows && position < head.width;
      const __nv_bfloat16* const states = static_cast<const __nv_bfloat16*>(head.states);
      const int64_t index = valid ? static_cast<int64_t>(first_row + row) * head.width + position : 0;
      cp_async_16_or_zero(stage + Tile::place(row, chunk), states + index, valid);
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
  const int ahead = head.stages - 1;
#pragma unroll 1
  for (int step = 0; step < ahead; ++step) {
    if (step < steps) copy_weights(ring + step * Tile::size, ahead_strip, ahead_load);
    advance();
  }
  wait_for_earlier_kernels();
#pragma unroll 1
  for (int step = 0; step < ahead; ++step) {
    if (step < steps) copy_states(ring + step * Tile::size, step % pass_steps * stage_loads);
    cp_async_commit();
  }

  Kept<row_groups> kept;
  Logits<row_groups> logits{};
  int strip = first_strip + warp, load = 0;
  uint4* stage = ring;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_stage(head.stages);
    __syncthreads();  // everybody's copies are there, and everybody has done with the stage that is copied to next
    if (step + ahead < steps) {
      uint4* const stage_to_fill = stage == ring ? ring + ahead * Tile::size : stage - Tile::size;
      copy_weights(stage_to_fill, ahead_strip, ahead_load);
      copy_states(stage_to_fill, ahead_load);
      advance();
    }
    cp_async_commit();

    if (strip < end_strip) {
      const uint4* const a = stage + own_fragments;
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
        for (int tile = 0; tile < Weights::load_tiles; ++tile) {
          uint32_t weights[strips_per_warp][4];
#pragma unroll
          for (int s = 0; s < strips_per_warp; ++s) Weights::unpack(weights[s], loaded[s], tile);
#pragma unroll
          for (int group = 0; group < row_groups; group += 2) {
            uint32_t states[4];
            const int row = (group + lane / 16) * 8 + lane % 8;
            ldmatrix_x4(states, stage + Tile::place(row, (inside * Weights::load_tiles + tile) * 2 + lane / 8 % 2));
#pragma unroll
            for (int s = 0; s < strips_per_warp; ++s) {
              mma_m16n8k16(logits.sums[s][group], weights[s], states[0], states[1]);
              mma_m16n8k16(logits.sums[s][group + 1], weights[s], states[2], states[3]);
            }
          }
        }
      }
    }
    stage = stage == ring + ahead * Tile::size ? ring : stage + Tile::size;
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
  write_partials(kept, shared_memory<float4>(), head, first_row);
}

}  // namespace lm_head
}  // namespace mask_predict::cuda
