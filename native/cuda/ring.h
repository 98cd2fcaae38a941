// How deep a block's ring of stages in shared memory is. A kernel fills it by asynchronous copies, one group of them for each
// stage, and computes from the oldest stage while all others are under way.
#pragma once

#include "cuda/platform.h"

namespace mask_predict::cuda {

// How many stages a ring may have.
inline constexpr int deepest_ring = 9, deep_ring = 6, shallow_ring = 4, shallowest_ring = 3;

// The most stages that `room` bytes hold.
inline int stages_of(int64_t room, size_t stage_bytes) {
  for (const int stages : {deepest_ring, deep_ring, shallow_ring})
    if (stages * static_cast<int64_t>(stage_bytes) <= room) return stages;
  return shallowest_ring;
}

// Shared memory of each of the blocks that a multiprocessor holds, one or two, where one alone may have `shared_bytes`. Each
// takes 1 KiB of its own.
inline int64_t room_of_block(int64_t shared_bytes, int blocks) {
  return blocks == 1 ? shared_bytes : (shared_bytes - 1024) / 2;
}

// Waits until this thread's copies for the oldest of the ring's stages are there.
__device__ __forceinline__ void wait_for_stage(int stages) {
  if (stages == deepest_ring) {
    cp_async_wait<deepest_ring - 2>();
  } else if (stages == deep_ring) {
    cp_async_wait<deep_ring - 2>();
  } else if (stages == shallow_ring) {
    cp_async_wait<shallow_ring - 2>();
  } else {
    cp_async_wait<shallowest_ring - 2>();
  }
}

}  // namespace mask_predict::cuda
