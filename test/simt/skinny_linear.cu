// An example to write kernels after: output[row, o] = sum over i of input[row, i] . weight[o, i] for few
// rows, in bfloat16 with float sums. It is here for the emulator's own test, which also plants errors in
// copies of it.
//
// The weights take the 16-wide side of the tensor core instruction and the rows the 8-wide one, so that few
// rows waste little. Two stages: while one tile is multiplied, the next one is on its way into shared memory.
// A tile's rows are 16 bytes apart from each other beyond their length: ldmatrix then reads its 8 rows from 8
// different groups of banks.
#include "cuda/platform.h"

namespace mask_predict::cuda {

namespace {

constexpr int threads = 128;  // 4 warps, each of which makes 16 outputs for all rows of the tile
constexpr int tile_outputs = 64;
constexpr int tile_rows = 32;
constexpr int tile_inner = 64;  // 8 lanes copy a row, which writes to every bank once
constexpr int padding = 8;
constexpr int stride = tile_inner + padding;
constexpr int stages = 2;
constexpr int stage_elements = (tile_outputs + tile_rows) * stride;
constexpr size_t shared_bytes = stages * stage_elements * sizeof(__nv_bfloat16);

// Starts to copy `count` rows of a matrix [matrix_rows, inner] from (first_row, first_inner); zeros beyond
// it.
__device__ __forceinline__ void copy_tile(__nv_bfloat16* tile, int count, const __nv_bfloat16* matrix, int matrix_rows,
                                          int inner, int first_row, int first_inner) {
  constexpr int chunks = tile_inner / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < count * chunks; i += threads) {
    const int row = first_row + i / chunks;
    const int position = first_inner + i % chunks * 8;
    const bool valid = row < matrix_rows && position < inner;
    const __nv_bfloat16* source = valid ? matrix + static_cast<int64_t>(row) * inner + position : matrix;
    cp_async_16_or_zero(tile + i / chunks * stride + i % chunks * 8, source, valid);
  }
}

__global__ void __launch_bounds__(threads) skinny_linear_kernel(const __nv_bfloat16* weight, const __nv_bfloat16* input,
                                                                float* output, int rows, int outputs, int inner) {
  __nv_bfloat16* shared = shared_memory<__nv_bfloat16>();
  const int first_output = static_cast<int>(blockIdx.x) * tile_outputs;
  const int first_row = static_cast<int>(blockIdx.y) * tile_rows;
  const int lane = lane_index();
  const int warp = warp_index();

  const auto start_copies = [&](int tile) {
    __nv_bfloat16* stage = shared + tile % stages * stage_elements;
    copy_tile(stage, tile_outputs, weight, outputs, inner, first_output, tile * tile_inner);
    copy_tile(stage + tile_outputs * stride, tile_rows, input, rows, inner, first_row, tile * tile_inner);
  };

  float sums[tile_rows / 8][4] = {};
  const int tiles = (inner + tile_inner - 1) / tile_inner;
  start_copies(0);
  cp_async_commit();
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) start_copies(tile + 1);
    cp_async_commit();
    cp_async_wait<1>();  // all but the copies for the next tile
    __syncthreads();     // the other threads' copies are there too
    const __nv_bfloat16* weights = shared + tile % stages * stage_elements + warp * 16 * stride;
    const __nv_bfloat16* inputs = shared + tile % stages * stage_elements + tile_outputs * stride;
#pragma unroll
    for (int inside = 0; inside < tile_inner; inside += 16) {
      uint32_t a[4];
      ldmatrix_x4(a, weights + lane % 16 * stride + inside + lane / 16 * 8);
#pragma unroll
      for (int row = 0; row < tile_rows; row += 8) {
        uint32_t b[2];
        ldmatrix_x2(b, inputs + (row + lane % 8) * stride + inside + lane / 8 % 2 * 8);
        mma_m16n8k16(sums[row / 8], a, b[0], b[1]);
      }
    }
    __syncthreads();  // before the next copies write where this tile was
  }

#pragma unroll
  for (int i = 0; i < tile_rows / 8; ++i) {
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int row = first_row + i * 8 + lane % 4 * 2 + part % 2;
      const int out = first_output + warp * 16 + lane / 4 + part / 2 * 8;
      if (row < rows && out < outputs) store_global(output + static_cast<int64_t>(row) * outputs + out, sums[i][part]);
    }
  }
}

}  // namespace

// weight [outputs, inner], input [rows, inner], output [rows, outputs]: memory of the device, aligned to 16
// bytes; inner is a multiple of 8.
void skinny_linear(const __nv_bfloat16* weight, const __nv_bfloat16* input, float* output, int rows, int outputs,
                   int inner, cudaStream_t stream) {
  const auto blocks = [](int size, int tile) { return static_cast<unsigned>((size + tile - 1) / tile); };
  const LaunchShape shape{dim3(blocks(outputs, tile_outputs), blocks(rows, tile_rows)), dim3(threads), shared_bytes,
                          stream, "skinny_linear"};
  launch(skinny_linear_kernel, shape, weight, input, output, rows, outputs, inner);
}

}  // namespace mask_predict::cuda
