// Sums of products in bfloat16 on the tensor cores, for few rows: limited by how fast the weights arrive. Weights that
// are bytes become bfloat16 in registers (weight_fragments.cuh).
//
// The weights take the 16-wide side of the instruction and the rows the 8-wide one, so that few rows waste little. A
// block makes 128 outputs for 8, 16, 32 or 64 rows; each of its four warps 32 outputs. A warp's weights go straight
// from global memory into registers, in the order in which the instruction wants them (packed_layout.h): whenever
// one of the 16 loads of a chunk has been multiplied, the same one of the next chunk is asked for, so 8 KiB per warp are
// always under way. The rows are shared by the four warps and come through shared memory, one or two chunks ahead.
//
// Weights are constants, which no kernel writes: the first ones are asked for before the kernels that make the rows
// have ended.
#pragma once

#include "ops/linear/linear_epilogue.cuh"
#include "ops/linear/linear_slices.h"
#include "ops/weights/weight_fragments.cuh"

namespace mask_predict::cuda {

struct TensorLinear {
  const uint4* weights;        // [outputs, inputs] in fragment order (packed_layout.h)
  const __nv_bfloat16* input;  // [rows, inputs]
  int rows;
  int outputs;
  int inputs;
  bool aligned_rows;  // every row of the input begins at a multiple of 16 bytes
  bool wide_outputs;  // linear_epilogue.cuh
  InnerSlices slices;
  const float* scales;      // linear_epilogue.cuh
  float* partials;          // [slices, rows, outputs]: gets the bare sums, of each slice or of all, if not nullptr
  LinearEpilogue epilogue;  // otherwise
};

inline constexpr int tensor_threads = 128;
inline constexpr int warp_tiles = block_outputs / 16 / (tensor_threads / 32);  // tiles of 16 outputs of a warp
inline constexpr int sums_stride = block_outputs + 4;

// How the rows lie in shared memory.
template <class Weights>
struct RowStages {
  static constexpr int load_inner = Weights::load_tiles * 16;
  static constexpr int chunk_inner = chunk_loads * load_inner;
  static constexpr int count = Weights::load_tiles == 1 ? 3 : 2;  // so that two blocks fit beside each other
  // 16 bytes apart from each other beyond their length, 8 rows lie in 8 different groups of banks; so do the sums.
  static constexpr int stride = chunk_inner + 8;
  template <int row_tile>
  static constexpr size_t bytes = sizeof(__nv_bfloat16) * static_cast<size_t>(count* row_tile* stride);
  static_assert(count * stride * sizeof(__nv_bfloat16) >= sums_stride * sizeof(float));
};

// The rows' stages, whose place the block's sums take at the end; and the sums of the slices before.
template <class Weights, int row_tile, bool all_slices>
inline constexpr size_t tensor_shared_bytes = RowStages<Weights>::template bytes<row_tile> +
                                              (all_slices ? size_t{row_tile * block_outputs} * sizeof(float) : 0);

// Brings one chunk of the rows into shared memory, zeros beyond the matrix: asynchronously, where rows are aligned.
template <class Weights, int row_tile>
__device__ __forceinline__ void stage_rows(__nv_bfloat16* stage, const TensorLinear& a, int first_row, int chunk) {
  constexpr int chunk_inner = RowStages<Weights>::chunk_inner, row_stride = RowStages<Weights>::stride;
  constexpr int parts = chunk_inner / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < row_tile * parts; i += tensor_threads) {
    const int row = first_row + i / parts;
    const int position = chunk * chunk_inner + i % parts * 8;
    const bool valid = row < a.rows && position < a.inputs;
    const __nv_bfloat16* from = valid ? a.input + static_cast<int64_t>(row) * a.inputs + position : a.input;
    __nv_bfloat16* to = stage + i / parts * row_stride + i % parts * 8;
    if (a.aligned_rows) {
      cp_async_16_or_zero(to, from, valid);
      continue;
    }
    const auto bits = [&](int element) {
      const bool inside = valid && position + element < a.inputs;
      return inside ? uint32_t{load_global(reinterpret_cast<const uint16_t*>(from) + element)} : 0u;
    };
    store_shared(reinterpret_cast<uint4*>(to), make_uint4(bits(0) | bits(1) << 16, bits(2) | bits(3) << 16,
                                                          bits(4) | bits(5) << 16, bits(6) | bits(7) << 16));
  }
}

__device__ __forceinline__ uint4 load_weights(const uint4* weights, bool valid, CachePolicy policy) {
  return valid ? load_global_once(weights, policy) : make_uint4(0, 0, 0, 0);
}

// sums += weights . rows for one tile of 16 inner positions; `rows` is where it begins in shared memory.
template <int row_stride, int row_tile>
__device__ __forceinline__ void multiply_tile(float (&sums)[warp_tiles][row_tile / 8][4],
                                              const uint32_t (&weights)[warp_tiles][4], const __nv_bfloat16* rows) {
  const int lane = lane_index();
  const __nv_bfloat16* row = rows + lane % 8 * row_stride + lane / 8 % 2 * 8;
  if constexpr (row_tile == 8) {
    uint32_t b[2];
    ldmatrix_x2(b, row);
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) mma_m16n8k16(sums[tile][0], weights[tile], b[0], b[1]);
  } else {
    row += lane / 16 * 8 * row_stride;
#pragma unroll
    for (int pair = 0; pair < row_tile / 16; ++pair) {
      uint32_t b[4];
      ldmatrix_x4(b, row + pair * 16 * row_stride);
#pragma unroll
      for (int tile = 0; tile < warp_tiles; ++tile) {
        mma_m16n8k16(sums[tile][2 * pair], weights[tile], b[0], b[1]);
        mma_m16n8k16(sums[tile][2 * pair + 1], weights[tile], b[2], b[3]);
      }
    }
  }
}

// Between two slices: adds what the ones before came to, and unless this is the last one keeps the result and begins
// anew. `kept`: shared memory, of which each thread has its own part.
template <int row_tile>
__device__ __forceinline__ void end_slice(float (&sums)[warp_tiles][row_tile / 8][4], float4* kept, bool first,
                                          bool last) {
#pragma unroll
  for (int tile = 0; tile < warp_tiles; ++tile) {
#pragma unroll
    for (int i = 0; i < row_tile / 8; ++i) {
      float4* place = kept + (tile * (row_tile / 8) + i) * tensor_threads + threadIdx.x;
      float(&sum)[4] = sums[tile][i];
      if (!first) {
        const float4 before = load_shared(place);
        sum[0] += before.x, sum[1] += before.y, sum[2] += before.z, sum[3] += before.w;
      }
      if (!last) {
        store_shared(place, make_float4(sum[0], sum[1], sum[2], sum[3]));
        sum[0] = sum[1] = sum[2] = sum[3] = 0.0f;
      }
    }
  }
}

// Writes the block's sums [row_tile, block_outputs], which lie in shared memory, row by row.
template <bool wide>
__device__ __forceinline__ void write_sums(const TensorLinear& a, const float* sums, int row_tile, int first_row,
                                           int first_output) {
  const int output = first_output + lane_index() * 4;
  const int count = a.outputs - output;
  if (count <= 0) return;
  for (int i = warp_index(); i < row_tile && first_row + i < a.rows; i += tensor_threads / 32) {
    const float4 loaded = load_shared(reinterpret_cast<const float4*>(sums + i * sums_stride) + lane_index());
    float values[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
    if (a.partials != nullptr) {
      const int64_t row = static_cast<int64_t>(blockIdx.z) * a.rows + first_row + i;
      store_group<wide>(a.partials + row * a.outputs + output, values, count);
    } else {
      scale_group<wide>(values, a.scales, output, count);
      finish_group<wide>(a.epilogue, first_row + i, output, a.outputs, values, count);
    }
  }
}

// Grid: tiles of rows, of outputs, slices. With all_slices a block makes all slices one after the other and adds
// them up itself, which gives the same bits; then there is one in the grid.
template <class Weights, int row_tile, bool all_slices>
__global__ void __launch_bounds__(tensor_threads) linear_tensor_kernel(const TensorLinear a) {
  using Stages = RowStages<Weights>;
  constexpr int stage_elements = row_tile * Stages::stride;
  __nv_bfloat16* stages = shared_memory<__nv_bfloat16>();
  const int first_row = static_cast<int>(blockIdx.x) * row_tile;
  const int first_output = static_cast<int>(blockIdx.y) * block_outputs;
  const int first_chunk = all_slices ? 0 : static_cast<int>(blockIdx.z) * a.slices.slice_chunks;
  const int end_chunk = all_slices ? a.slices.chunks : min(first_chunk + a.slices.slice_chunks, a.slices.chunks);
  const int lane = lane_index();

  const int inner_loads = (a.inputs + Stages::load_inner - 1) / Stages::load_inner;
  const int first_tile = first_output / 16 + warp_index() * warp_tiles;
  const int output_tiles = (a.outputs + 15) / 16 - first_tile;  // from there to the matrix's end
  const CachePolicy policy = evict_first_policy();
  const uint4* next_weights[warp_tiles];  // the lane's part of the next chunk's first load
  uint4 weights[chunk_loads][warp_tiles];
#pragma unroll
  for (int tile = 0; tile < warp_tiles; ++tile) {
    // Beyond the last tile of outputs it is multiplied once more, and not written.
    const int64_t row_of_tiles = first_tile + max(min(tile, output_tiles - 1), 0);
    next_weights[tile] = a.weights + (row_of_tiles * inner_loads + first_chunk * chunk_loads) * 32 + lane;
  }
  const int first_loads = output_tiles > 0 ? inner_loads - first_chunk * chunk_loads : 0;
#pragma unroll
  for (int inside = 0; inside < chunk_loads; ++inside) {
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) {
      weights[inside][tile] = load_weights(next_weights[tile] + inside * 32, inside < first_loads, policy);
    }
  }
#pragma unroll
  for (int tile = 0; tile < warp_tiles; ++tile) {
    next_weights[tile] += chunk_loads * 32;
    if (first_chunk + 1 < end_chunk && chunk_loads + lane / 4 < first_loads) {
      prefetch_l2(next_weights[tile] + lane * 7);  // a quarter of a load each (l + 7 l), of the chunk after that
    }
  }

  wait_for_earlier_kernels();
  allow_next_kernel();
#pragma unroll
  for (int stage = 0; stage + 1 < Stages::count; ++stage) {
    if (first_chunk + stage < end_chunk) {
      stage_rows<Weights, row_tile>(stages + stage * stage_elements, a, first_row, first_chunk + stage);
    }
    cp_async_commit();
  }

  float sums[warp_tiles][row_tile / 8][4] = {};
  int stage = 0;
  int stage_to_fill = Stages::count - 1;
  for (int chunk = first_chunk; chunk < end_chunk; ++chunk) {
    cp_async_wait<Stages::count - 2>();
    __syncthreads();  // this chunk's rows are there, and the stage of the last one is free
    if (chunk + Stages::count - 1 < end_chunk) {
      stage_rows<Weights, row_tile>(stages + stage_to_fill * stage_elements, a, first_row, chunk + Stages::count - 1);
    }
    cp_async_commit();

    if (output_tiles > 0) {
      const int next_loads = chunk + 1 < end_chunk ? inner_loads - (chunk + 1) * chunk_loads : 0;
#pragma unroll
      for (int inside = 0; inside < chunk_loads; ++inside) {
#pragma unroll
        for (int part = 0; part < Weights::load_tiles; ++part) {
          uint32_t fragments[warp_tiles][4];
#pragma unroll
          for (int tile = 0; tile < warp_tiles; ++tile) Weights::unpack(fragments[tile], weights[inside][tile], part);
          const int position = inside * Stages::load_inner + part * 16;
          multiply_tile<Stages::stride, row_tile>(sums, fragments, stages + stage * stage_elements + position);
        }
#pragma unroll
        for (int tile = 0; tile < warp_tiles; ++tile) {
          weights[inside][tile] = load_weights(next_weights[tile] + inside * 32, inside < next_loads, policy);
        }
      }
#pragma unroll
      for (int tile = 0; tile < warp_tiles; ++tile) next_weights[tile] += chunk_loads * 32;
    }
    stage = stage + 1 == Stages::count ? 0 : stage + 1;
    stage_to_fill = stage_to_fill + 1 == Stages::count ? 0 : stage_to_fill + 1;
    if constexpr (all_slices) {
      const int done = chunk + 1;
      if (done % a.slices.slice_chunks == 0 || done == end_chunk) {
        float4* kept = reinterpret_cast<float4*>(shared_memory<char>() + Stages::template bytes<row_tile>);
        end_slice<row_tile>(sums, kept, done <= a.slices.slice_chunks, done == end_chunk);
      }
    }
  }

  __syncthreads();  // the last stage has been read
  float* block_sums = shared_memory<float>();
#pragma unroll
  for (int tile = 0; tile < warp_tiles; ++tile) {
#pragma unroll
    for (int i = 0; i < row_tile / 8; ++i) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int row = i * 8 + lane % 4 * 2 + part % 2;
        const int output = (warp_index() * warp_tiles + tile) * 16 + lane / 4 + part / 2 * 8;
        store_shared(block_sums + row * sums_stride + output, sums[tile][i][part]);
      }
    }
  }
  __syncthreads();
  if (a.wide_outputs) {
    write_sums<true>(a, block_sums, row_tile, first_row, first_output);
  } else {
    write_sums<false>(a, block_sums, row_tile, first_row, first_output);
  }
}

}  // namespace mask_predict::cuda
