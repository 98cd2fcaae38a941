// The language-model head keeps four values of a row's logits, an LmHeadPartial; this file merges those of two parts of
// the vocabulary. Both kernels (lm_head_tensor_cores.cuh, lm_head_float32.cuh) leave a warp's logits in the same
// registers and go on here.
//
// NaN: a maximum passes over it, so it shows in the sum of exponentials, and there it stays.
#pragma once

#include <limits>

#include "base/special_ids.h"
#include "cuda/platform.h"
#include "ops/lm_head/lm_head.h"

namespace mask_predict::cuda {
namespace lm_head {

constexpr int warps = 8;
constexpr int threads = warps * 32;
constexpr int strip_outputs = 16;  // what one tensor core instruction takes
constexpr int strips_per_warp = 2;
constexpr int pass_strips = warps * strips_per_warp;  // of which a warp has w and w + warps
constexpr float lowest = -std::numeric_limits<float>::infinity();

struct Head {
  const void* states;  // [rows, width]
  const void* weight;
  const float* scales;  // of ids, where weights are bytes, or nullptr
  const float* bias;
  int rows;
  int width;
  int real_ids;
  int mask_token_id;
  int strips;  // of real ids
  LmHeadPartial* partials;
  int stages;  // of the ring, on the tensor cores (cuda/ring.h)
};

// Strips of range `range`: a function of the vocabulary alone.
__device__ __forceinline__ int first_strip_of(int range, int ranges, int strips) { return strips * range / ranges; }

__device__ __forceinline__ float exponential(float x) { return exp2_approximate(x * 1.44269504f); }

// Exponentials are relative to this value. While there is no logit above -infinity, any finite value will do.
__device__ __forceinline__ float reference(float largest) { return largest == lowest ? 0.0f : largest; }

struct Best {
  float logit;
  int id;  // -1: none
};

// The larger logit, the lower id of equal ones.
__device__ __forceinline__ Best better(const Best& a, const Best& b) {
  return b.logit > a.logit || (b.logit == a.logit && b.id >= 0 && b.id < a.id) ? b : a;
}

constexpr LmHeadPartial nothing{lowest, 0.0f, lowest, -1};

__device__ __forceinline__ LmHeadPartial together(const LmHeadPartial& a, const LmHeadPartial& b) {
  const float largest = fmaxf(a.largest, b.largest), relative = reference(largest);
  const float sum = a.sum * exponential(a.largest - relative) + b.sum * exponential(b.largest - relative);
  const Best best = better({a.best_logit, a.best_id}, {b.best_logit, b.best_id});
  return {largest, sum, best.logit, best.id};
}

// A partial is moved as one vector: its own type is only aligned to 4 bytes.
__device__ __forceinline__ float4 as_vector(const LmHeadPartial& value) {
  return make_float4(value.largest, value.sum, value.best_logit, __int_as_float(value.best_id));
}

__device__ __forceinline__ LmHeadPartial as_partial(const float4& value) {
  return {value.x, value.y, value.z, __float_as_int(value.w)};
}

// A warp's logits of one pass, still without scale and bias, as mma_m16n8k16 leaves them: lane l has of each strip the outputs
// l / 4 and l / 4 + 8, of each group of 8 rows the rows l % 4 * 2 and l % 4 * 2 + 1.
template <int row_groups>
struct Logits {
  float sums[strips_per_warp][row_groups][4];
};

// Lane l keeps the values of the rows l % 4 * 2 and l % 4 * 2 + 1 of the groups l / 4, l / 4 + 8, ...
template <int row_groups>
struct Kept {
  static constexpr int sets = (row_groups + 7) / 8;
  LmHeadPartial values[sets][2];

  __device__ __forceinline__ Kept() {
#pragma unroll
    for (int i = 0; i < sets * 2; ++i) values[i / 2][i % 2] = nothing;
  }
};

// The 8 lanes that share rows put their logits together, and the one that keeps them takes in the outcome. Strip s begins
// at id first_id + s * warps * 16; ids from `end` on take no part.
template <int row_groups>
__device__ __forceinline__ void take_in(Kept<row_groups>& kept, const Logits<row_groups>& logits, const Head& head,
                                        int first_id, int end) {
  constexpr int count = strips_per_warp * 2;
  const int own = lane_index() / 4;
  int ids[count];
  float bias[count], scales[count];
#pragma unroll
  for (int i = 0; i < count; ++i) {
    ids[i] = first_id + i / 2 * warps * strip_outputs + i % 2 * 8 + own;
    bias[i] = ids[i] < end ? load_global(head.bias + ids[i]) : 0.0f;
    scales[i] = ids[i] < end && head.scales != nullptr ? load_global(head.scales + ids[i]) : 1.0f;
  }
#pragma unroll
  for (int group = 0; group < row_groups; ++group) {
#pragma unroll
    for (int parity = 0; parity < 2; ++parity) {
      float values[count];
      float largest = lowest, sum = 0;
      Best best{lowest, -1};
#pragma unroll
      for (int i = 0; i < count; ++i) {
        values[i] =
            ids[i] < end ? __fmaf_rn(logits.sums[i / 2][group][i % 2 * 2 + parity], scales[i], bias[i]) : lowest;
        largest = fmaxf(largest, values[i]);
        if (may_be_answered(ids[i], head.mask_token_id)) best = better(best, {values[i], ids[i]});
      }
#pragma unroll
      for (int mask = 4; mask < 32; mask *= 2) largest = fmaxf(largest, shuffle_xor(largest, mask));
      const float relative = reference(largest);
#pragma unroll
      for (int i = 0; i < count; ++i) sum += exponential(values[i] - relative);
#pragma unroll
      for (int mask = 4; mask < 32; mask *= 2) {
        sum += shuffle_xor(sum, mask);
        best = better(best, {shuffle_xor(best.logit, mask), shuffle_xor(best.id, mask)});
      }
      const LmHeadPartial seen{largest, sum, best.logit, best.id};
      LmHeadPartial& before = kept.values[group / 8][parity];
      if (own == group % 8) before = together(before, seen);
    }
  }
}

// Puts the warps' values together, in order, and writes the block's partials. `shared` is free for use.
template <int row_groups>
__device__ __forceinline__ void write_partials(const Kept<row_groups>& kept, float4* shared, const Head& head,
                                               int first_row) {
  constexpr int row_tile = row_groups * 8;
  // A lane writes every second row; exchanging neighbours in every second 8 rows spreads that over all banks.
  const auto slot = [](int row) { return row ^ (row / 8 % 2); };
  const int lane = lane_index(), thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < Kept<row_groups>::sets * 2; ++i) {
    const int row = i / 2 * 64 + lane * 2 + i % 2;
    if (row < row_tile)
      store_shared(shared + warp_index() * row_tile + slot(row), as_vector(kept.values[i / 2][i % 2]));
  }
  __syncthreads();
  if (thread < row_tile && first_row + thread < head.rows) {
    LmHeadPartial all = as_partial(load_shared(shared + slot(thread)));
    for (int warp = 1; warp < warps; ++warp)
      all = together(all, as_partial(load_shared(shared + warp * row_tile + slot(thread))));
    const int64_t index = static_cast<int64_t>(blockIdx.y) * head.rows + first_row + thread;
    store_global(reinterpret_cast<float4*>(head.partials) + index, as_vector(all));
  }
}

}  // namespace lm_head
}  // namespace mask_predict::cuda
