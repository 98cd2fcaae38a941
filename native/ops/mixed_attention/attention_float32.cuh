// Dynamic mixed attention, eq. (7), in float32 arithmetic, for the float32 mode and for head sizes that the tensor
// cores are not used for.
//
// A block has 16 query rows, 4 in each of its 4 warps, and goes over the keys in tiles of 32. A lane makes the scores
// of one key, then the weighted sums of the values in the columns lane, lane + 32 and so on. Every sum goes over the
// keys, or the columns of the head, in their order: a row's bits depend on its query and its sequence's keys only.
#pragma once

#include "ops/mixed_attention/attention_block.cuh"

namespace mask_predict::cuda {

namespace float32_attention {

constexpr int largest_head_size = 256;
constexpr int warps = 4;
constexpr int threads = warps * 32;
constexpr int warp_rows = 4;  // the x, y, z, w of a float4
constexpr int tile_rows = warps * warp_rows;
constexpr int tile_keys = 32;

// The stride of a row of keys in shared memory. It is odd, so that the same column of 32 keys lies in 32 banks.
constexpr __host__ __device__ int stride(int head_size) { return head_size | 1; }

// queries [warps, head_size] and probabilities [warps, tile_keys] of float4, keys and values [tile_keys, stride]
constexpr size_t shared_bytes(int head_size) {
  return static_cast<size_t>(tile_rows * (head_size + tile_keys) + 2 * tile_keys * stride(head_size)) * sizeof(float);
}

__device__ __forceinline__ float widened(float x) { return x; }
__device__ __forceinline__ float widened(__nv_bfloat16 x) { return to_float(x); }
__device__ __forceinline__ void narrow(float x, float& to) { to = x; }
__device__ __forceinline__ void narrow(float x, __nv_bfloat16& to) { to = to_bfloat16(x); }

}  // namespace float32_attention

// Eq. (7) for one block of query rows.
template <class Element>
__global__ void __launch_bounds__(float32_attention::threads)
    float32_attention_kernel(const AttentionParameters<Element> parameters, float scale) {
  using namespace float32_attention;
  wait_for_earlier_kernels();
  allow_next_kernel();
  const AttentionBlock<Element> block = attention_block(parameters, tile_rows);
  if (block.rows <= 0) return;

  constexpr int column_groups = largest_head_size / 32;
  const int head_size = parameters.head_size;
  const int lane = lane_index();
  const int warp = warp_index();
  const int rows = min(block.rows - warp * warp_rows, warp_rows);  // a warp without rows only helps to copy
  float4* queries = shared_memory<float4>() + warp * head_size;
  float4* probabilities = shared_memory<float4>() + warps * head_size + warp * tile_keys;
  float* keys = reinterpret_cast<float*>(shared_memory<float4>() + warps * (head_size + tile_keys));
  float* values = keys + tile_keys * stride(head_size);

  for (int column = lane; column < head_size; column += 32) {
    const auto query = [&](int row) {
      const Element* from = block.query + (warp * warp_rows + row) * block.width + column;
      return row < rows ? widened(load_global(from)) : 0.0f;
    };
    store_shared(queries + column, make_float4(query(0), query(1), query(2), query(3)));
  }

  float maximum[warp_rows] = {no_score, no_score, no_score, no_score};
  float sum[warp_rows] = {};  // over the lane's keys
  float output[warp_rows][column_groups] = {};

  for (int first = 0; first < block.keys; first += tile_keys) {
    const int count = min(block.keys - first, tile_keys);
    __syncthreads();  // all are done with the tile before
    for (int key = warp; key < count; key += warps) {
      const Element* from = block.key(first + key);
      for (int column = lane; column < head_size; column += 32) {
        store_shared(keys + key * stride(head_size) + column, widened(load_global(from + column)));
        store_shared(values + key * stride(head_size) + column, widened(load_global(from + block.width + column)));
      }
    }
    __syncthreads();
    if (rows <= 0) continue;

    float scores[warp_rows] = {};
    const float* lane_key = keys + min(lane, count - 1) * stride(head_size);
    for (int column = 0; column < head_size; ++column) {
      const float key = load_shared(lane_key + column);
      const float4 query = load_shared(queries + column);
      scores[0] = __fmaf_rn(query.x, key, scores[0]);
      scores[1] = __fmaf_rn(query.y, key, scores[1]);
      scores[2] = __fmaf_rn(query.z, key, scores[2]);
      scores[3] = __fmaf_rn(query.w, key, scores[3]);
    }
#pragma unroll
    for (int row = 0; row < warp_rows; ++row) {
      const float score = lane < count ? __fmul_rn(scores[row], scale) : no_score;
      const float top = fmaxf(maximum[row], warp_max(score));
      const float factor = expf(maximum[row] - top);
      scores[row] = expf(score - top);
      maximum[row] = top;
      sum[row] = __fmaf_rn(sum[row], factor, scores[row]);
#pragma unroll
      for (int group = 0; group < column_groups; ++group) output[row][group] *= factor;
    }

    store_shared(probabilities + lane, make_float4(scores[0], scores[1], scores[2], scores[3]));
    sync_warp();
    for (int key = 0; key < count; ++key) {
      const float4 probability = load_shared(probabilities + key);
#pragma unroll
      for (int group = 0; group < column_groups; ++group) {
        if (group * 32 >= head_size) continue;
        const int column = min(group * 32 + lane, head_size - 1);  // beyond the head: any number
        const float value = load_shared(values + key * stride(head_size) + column);
        output[0][group] = __fmaf_rn(probability.x, value, output[0][group]);
        output[1][group] = __fmaf_rn(probability.y, value, output[1][group]);
        output[2][group] = __fmaf_rn(probability.z, value, output[2][group]);
        output[3][group] = __fmaf_rn(probability.w, value, output[3][group]);
      }
    }
  }

#pragma unroll
  for (int row = 0; row < warp_rows; ++row) {
    if (row >= rows) continue;
    const float total = warp_sum(sum[row]);
#pragma unroll
    for (int group = 0; group < column_groups; ++group) {
      const int column = group * 32 + lane;
      if (column >= head_size) continue;
      Element result;
      narrow(output[row][group] / total, result);
      store_global(block.output + (warp * warp_rows + row) * block.width + column, result);
    }
  }
}

}  // namespace mask_predict::cuda
