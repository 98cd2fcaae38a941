// Dynamic mixed attention, eq. (7), on the tensor cores, for bfloat16 and head sizes that are multiples of 64, or of 64
// and 16 more.
//
// A block has 64 query rows, 16 in each of its 4 warps, and goes over the keys in tiles of 64, keeping for every row
// the largest score so far, the sum of the exponentials relative to it and the weighted sum of the values. Neither
// scores nor probabilities ever leave the registers: what one tensor core instruction gives out is what the next one
// takes in. Keys and values are copied from where the projection left them, ahead of their use: while a tile's
// scores are made, its values and the next tile are on their way.
//
// A row's bits depend on its query and its sequence's keys only: the tiles are cut from the sequence's first key on,
// and no operation mixes query rows. Where a tile has fewer than 64 keys, steps of 16 beyond them are left out.
//
// A row of a tile in shared memory is 16 bytes longer than the head. Its length is then an odd multiple of 16 bytes,
// and the 8 rows that ldmatrix reads together lie in 8 different groups of banks.
#pragma once

#include "ops/mixed_attention/attention_block.cuh"

namespace mask_predict::cuda {

template <int head_size>
struct TensorCoreAttention {
  static_assert(head_size % 16 == 0, "16 inner positions at a time");
  static constexpr int warps = 4;
  static constexpr int threads = warps * 32;
  static constexpr int tile_rows = warps * 16;
  static constexpr int tile_keys = 64;
  static constexpr int stride = head_size + 8;
  static constexpr int tile_elements = tile_keys * stride;
  // queries, later the output; two tiles of keys; two tiles of values
  static constexpr size_t shared_bytes = (tile_rows * stride + 4 * tile_elements) * sizeof(__nv_bfloat16);
  static constexpr int chunks = head_size / 8;  // of 16 bytes in a row

  // Calls copy(row, chunk) for every 16 bytes of the first `rows` rows of `all_rows`, spread over `all_threads`. Eight
  // threads that follow each other share a row, 128 bytes of it, or have the 32 bytes left over at the end of every
  // second one of 8 rows: either way they come to 8 different groups of banks.
  template <int all_rows, int all_threads, class Copy>
  static __device__ __forceinline__ void for_each_chunk(int thread, int rows, Copy&& copy) {
    static_assert(all_rows % (all_threads / 8) == 0 && all_rows * 2 == all_threads);
    static_assert(chunks % 8 == 0 || chunks % 8 == 2, "what is left over is 32 bytes");
#pragma unroll
    for (int first_chunk = 0; first_chunk + 8 <= chunks; first_chunk += 8) {
#pragma unroll
      for (int first_row = 0; first_row < all_rows; first_row += all_threads / 8) {
        const int row = first_row + thread / 8;
        if (row < rows) copy(row, first_chunk + thread % 8);
      }
    }
    if (chunks % 8 == 2) {
      const int row = thread / 16 * 8 + thread / 2 % 4 * 2 + thread / 8 % 2;
      if (row < rows) copy(row, chunks - 2 + thread % 2);
    }
  }

  // Starts to copy the keys, or `behind` elements further on the values, from `first` on; none beyond the last.
  // The rest of a step of 16 is zeros: a probability of zero times what happens to be there could be a NaN.
  static __device__ __forceinline__ void start_copy(__nv_bfloat16* tile, const AttentionBlock<__nv_bfloat16>& block,
                                                    int first, int64_t behind) {
    const int left = block.keys - first;
    for_each_chunk<tile_keys, threads>(static_cast<int>(threadIdx.x), (left + 15) / 16 * 16, [&](int row, int chunk) {
      const bool valid = row < left;
      const __nv_bfloat16* from = block.key(valid ? first + row : 0) + behind + chunk * 8;
      cp_async_16_or_zero(tile + row * stride + chunk * 8, from, valid);
    });
  }
};

// The four lanes that share a row of a tensor core's result.
__device__ __forceinline__ float max_over_row(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}
__device__ __forceinline__ float sum_over_row(float value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}

// Eq. (7) for one block of query rows. The launch bound asks only that two blocks may share a multiprocessor: without
// it nvcc saves registers until it spills some. `exponent_scale` is log2(e) / sqrt(head_size): exponentials are powers
// of two.
template <int head_size>
__global__ void __launch_bounds__(TensorCoreAttention<head_size>::threads, 2)
    tensor_core_attention_kernel(const AttentionParameters<__nv_bfloat16> parameters, float exponent_scale) {
  using Shape = TensorCoreAttention<head_size>;
  constexpr int stride = Shape::stride;
  wait_for_earlier_kernels();
  allow_next_kernel();
  const AttentionBlock<__nv_bfloat16> block = attention_block(parameters, Shape::tile_rows);
  if (block.rows <= 0) return;

  const int lane = lane_index();
  const int warp = warp_index();
  const bool has_rows = warp * 16 < block.rows;  // a warp without rows only helps to copy
  __nv_bfloat16* rows = shared_memory<__nv_bfloat16>();
  __nv_bfloat16* key_tiles = rows + Shape::tile_rows * stride;
  __nv_bfloat16* value_tiles = key_tiles + 2 * Shape::tile_elements;
  __nv_bfloat16* warp_rows = rows + warp * 16 * stride;
  const auto start_keys = [&](int tile) {
    Shape::start_copy(key_tiles + tile % 2 * Shape::tile_elements, block, tile * Shape::tile_keys, 0);
    cp_async_commit();
  };
  const auto start_values = [&](int tile) {
    Shape::start_copy(value_tiles + tile % 2 * Shape::tile_elements, block, tile * Shape::tile_keys, block.width);
    cp_async_commit();
  };

  const auto start_queries = [&](int row, int chunk) {
    const bool valid = row < block.rows;
    const __nv_bfloat16* from = block.query + (valid ? row : 0) * block.width + chunk * 8;
    cp_async_16_or_zero(rows + row * stride + chunk * 8, from, valid);
  };
  Shape::template for_each_chunk<Shape::tile_rows, Shape::threads>(static_cast<int>(threadIdx.x),
                                                                   (block.rows + 15) / 16 * 16, start_queries);
  start_keys(0);  // in one group with the queries
  start_values(0);
  start_keys(1);
  start_values(1);
  cp_async_wait<3>();
  __syncthreads();
  uint32_t queries[head_size / 16][4];
  if (has_rows) {
#pragma unroll
    for (int i = 0; i < head_size / 16; ++i) {
      ldmatrix_x4(queries[i], warp_rows + lane % 16 * stride + i * 16 + lane / 16 * 8);
    }
  }

  // These belong to rows lane / 4 and lane / 4 + 8 of the warp; the sums go over the keys in columns lane % 4 * 2 and
  // the next one of every 8.
  float maximum[2] = {no_score, no_score};
  float sum[2] = {0.0f, 0.0f};
  float output[head_size / 8][4] = {};

  const int tiles = (block.keys + Shape::tile_keys - 1) / Shape::tile_keys;
  for (int tile = 0; tile < tiles; ++tile) {
    const int left = block.keys - tile * Shape::tile_keys;  // keys from this tile on
    if (tile > 0) {
      cp_async_wait<2>();  // all but this tile's values and the next one's keys
      __syncthreads();     // the keys are there for all, and all are done with the values of the tile before
      start_values(tile + 1);
    }

    float scores[Shape::tile_keys / 8][4] = {};
    if (has_rows) {
      const __nv_bfloat16* keys = key_tiles + tile % 2 * Shape::tile_elements;
#pragma unroll
      for (int step = 0; step < Shape::tile_keys / 16; ++step) {
        if (step * 16 >= left) continue;
#pragma unroll
        for (int i = 0; i < head_size / 16; ++i) {
          uint32_t b[4];  // 16 keys
          ldmatrix_x4(b, keys + (step * 16 + lane % 8 + lane / 16 * 8) * stride + i * 16 + lane / 8 % 2 * 8);
          mma_m16n8k16(scores[step * 2], queries[i], b[0], b[1]);
          mma_m16n8k16(scores[step * 2 + 1], queries[i], b[2], b[3]);
        }
      }
      if (left < Shape::tile_keys) {
#pragma unroll
        for (int i = 0; i < Shape::tile_keys / 8; ++i) {
#pragma unroll
          for (int part = 0; part < 4; ++part) {
            if (i * 8 + lane % 4 * 2 + part % 2 >= left) scores[i][part] = no_score;
          }
        }
      }

#pragma unroll
      for (int half = 0; half < 2; ++half) {  // the lane's two rows
        float top = maximum[half];
#pragma unroll
        for (int i = 0; i < Shape::tile_keys / 8; ++i) {
          top = fmaxf(top, fmaxf(scores[i][half * 2], scores[i][half * 2 + 1]));
        }
        top = max_over_row(top);  // of at least one key
        const float factor = exp2_approximate(__fmul_rn(maximum[half] - top, exponent_scale));
        const float shift = __fmul_rn(top, exponent_scale);
        maximum[half] = top;
        float exponentials = 0.0f;
#pragma unroll
        for (int i = 0; i < Shape::tile_keys / 8; ++i) {
#pragma unroll
          for (int part = half * 2; part < half * 2 + 2; ++part) {
            scores[i][part] = exp2_approximate(__fmaf_rn(scores[i][part], exponent_scale, -shift));
            exponentials += scores[i][part];
          }
        }
        sum[half] = __fmaf_rn(sum[half], factor, exponentials);
#pragma unroll
        for (int i = 0; i < head_size / 8; ++i) {
          output[i][half * 2] *= factor;
          output[i][half * 2 + 1] *= factor;
        }
      }
    }

    cp_async_wait<2>();  // all but the next tile
    __syncthreads();     // the values are there for all, and all are done with the keys
    start_keys(tile + 2);
    if (has_rows) {
      const __nv_bfloat16* values = value_tiles + tile % 2 * Shape::tile_elements;
#pragma unroll
      for (int step = 0; step < Shape::tile_keys / 16; ++step) {
        if (step * 16 >= left) continue;
        const float(&low)[4] = scores[step * 2];
        const float(&high)[4] = scores[step * 2 + 1];
        const uint32_t a[4] = {pack_bfloat16(low[0], low[1]), pack_bfloat16(low[2], low[3]),
                               pack_bfloat16(high[0], high[1]), pack_bfloat16(high[2], high[3])};
#pragma unroll
        for (int i = 0; i < head_size / 16; ++i) {
          uint32_t b[4];  // 16 columns
          ldmatrix_x4_transposed(b, values + (step * 16 + lane % 16) * stride + i * 16 + lane / 16 * 8);
          mma_m16n8k16(output[i * 2], a, b[0], b[1]);
          mma_m16n8k16(output[i * 2 + 1], a, b[2], b[3]);
        }
      }
    }
  }
  if (!has_rows) return;

    // By way of the warp's part of the query tile, which is no longer needed, so that stores are of whole rows.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float factor = 1.0f / sum_over_row(sum[half]);
    __nv_bfloat16* row = warp_rows + (lane / 4 + half * 8) * stride;
#pragma unroll
    for (int i = 0; i < head_size / 8; ++i) {
      const uint32_t pair = pack_bfloat16(output[i][half * 2] * factor, output[i][half * 2 + 1] * factor);
      store_shared(reinterpret_cast<uint32_t*>(row + i * 8 + lane % 4 * 2), pair);
    }
  }
  sync_warp();
  __nv_bfloat16* to = block.output + warp * 16 * block.width;
  Shape::template for_each_chunk<16, 32>(lane, block.rows - warp * 16, [&](int row, int chunk) {
    const uint4 values = load_shared(reinterpret_cast<const uint4*>(warp_rows + row * stride + chunk * 8));
    store_global(reinterpret_cast<uint4*>(to + row * block.width + chunk * 8), values);
  });
}

}  // namespace mask_predict::cuda
