// Sums of products in bfloat16 on the tensor cores, limited by how fast the weights arrive while rows are few. Weights
// that are bytes become bfloat16 in registers (weight_fragments.cuh).
//
// The weights take the 16-wide side of the instruction and the rows the 8-wide one, so that few rows waste little. A
// block makes 128 outputs for 8, 16, 32 or 64 rows; each of its four warps 32 outputs. For many rows there are tiles of
// 128 and of 256, made by eight warps, two for the same outputs, so that a weight is read once for more rows; a row has the
// same bits in any tile.
//
// Weights and rows come through a ring of stages in shared memory (cuda/ring.h) by asynchronous copies, which need no registers while they
// are under way: a warp that multiplies one stage has asked for all others before. Weights lie there in the order in which the
// instruction wants them (packed_layout.h). A warp copies those that it will itself multiply, of two with the same outputs each
// one half. The rows are shared by the warps.
//
// Weights are constants, which no kernel writes: all stages but one are asked for before the kernels that make the rows
// have ended. Copies of one thread are waited for in their order, so the rows of these first stages, which come last,
// would make the first multiplication wait for all those weights; they go through registers instead.
#pragma once

#include "cuda/ring.h"
#include "ops/linear/linear_epilogue.cuh"
#include "ops/linear/linear_slices.h"
#include "ops/weights/weight_fragments.cuh"

namespace mask_predict::cuda {

struct TensorProduct {
  const uint4* weights;  // [outputs, inputs] in fragment order (packed_layout.h)
  InnerSlices slices;
  LinearSums sums;
};

struct TensorLinear {
  const __nv_bfloat16* input;  // [rows, inputs]
  int rows;
  int inputs;
  int stages;                 // of the ring
  bool aligned_rows;          // every row of the input begins at a multiple of 16 bytes
  bool wide_outputs;          // linear_epilogue.cuh
  TensorProduct products[2];  // of one matrix, or of two
  int first_blocks;           // of the grid's blocks of outputs are the first one's
};

inline constexpr int output_warps = 4;                                // of a block, beside each other
inline constexpr int warp_tiles = block_outputs / 16 / output_warps;  // tiles of 16 outputs of a warp
inline constexpr int sums_stride = block_outputs + 4;
inline constexpr int stage_loads = 2;  // of 16 bytes for each tile of outputs and lane
inline constexpr int stage_weights = block_outputs / 16 * stage_loads * 32;  // of 16 bytes
static_assert(chunk_loads % stage_loads == 0);

// The warps that make a tile of rows.
template <int row_tile>
struct RowTile {
  static constexpr int warps = row_tile > 64 ? 2 : 1;  // with the same outputs
  static constexpr int warp_rows = row_tile / warps;
  static constexpr int threads = output_warps * warps * 32;
  static constexpr int blocks = warps == 1 ? 2 : 1;  // of a multiprocessor
  // Sums of 128 rows for each warp fill half of the registers: their totals are in shared memory, behind the ring.
  static constexpr bool shared_totals = warp_rows > 64;
  static constexpr size_t totals_bytes = shared_totals ? sizeof(float) * row_tile * block_outputs : 0;
};

// A stage: the weights of all warps, then the rows.
template <class Weights, int row_tile>
struct TensorStage : RowTile<row_tile> {
  static constexpr int inner = stage_loads * Weights::load_tiles * 16;
  static constexpr int row_parts = inner / 8;  // of 16 bytes
  static constexpr int size = stage_weights + row_tile * row_parts;
  static constexpr size_t bytes = sizeof(uint4) * static_cast<size_t>(size);
  static_assert(shallowest_ring * bytes >=
                sizeof(float) * RowTile<row_tile>::warp_rows * sums_stride);  // sums take the ring's place

  // Where a part of a row lies. One row, or two, fill all banks, and parts are exchanged otherwise in each row, or in
  // every second one, so that ldmatrix finds the same part of 8 rows in 8 groups of banks.
  static __device__ __forceinline__ int place(int row, int part) {
    return stage_weights + row * row_parts + (part ^ row * row_parts / 8 % row_parts);
  }
};

// The parts of the rows that one thread brings into shared memory: the same of every stage, as far apart in memory as
// the stages are. Beyond the matrix there are zeros.
template <class Weights, int row_tile>
struct ThreadRows {
  using Stage = TensorStage<Weights, row_tile>;
  static constexpr int parts = row_tile * Stage::row_parts;                    // of all threads
  static constexpr int count = (parts + Stage::threads - 1) / Stage::threads;  // of one
  static constexpr int rows_apart = Stage::threads / Stage::row_parts;         // of its parts
  static constexpr int place_apart = rows_apart * Stage::row_parts;
  static_assert(rows_apart * Stage::row_parts / 8 % Stage::row_parts == 0);  // the parts are exchanged alike

  const TensorLinear& a;
  int row;       // of the first part
  int position;  // of it in the first stage
  int place;
  bool takes_part;

  __device__ __forceinline__ ThreadRows(const TensorLinear& a, int first_row, int first_position) : a(a) {
    const int thread = static_cast<int>(threadIdx.x);
    const int row_in_tile = thread / Stage::row_parts, part = thread % Stage::row_parts;
    row = first_row + row_in_tile;
    position = first_position + part * 8;
    place = Stage::place(row_in_tile, part);
    takes_part = thread < parts;
  }

  __device__ __forceinline__ bool is_valid(int number, int step) const {
    return takes_part && row + number * rows_apart < a.rows && position + step * Stage::inner < a.inputs;
  }

  __device__ __forceinline__ const __nv_bfloat16* at(int number, int step) const {
    return a.input + static_cast<int64_t>(row + number * rows_apart) * a.inputs + position + step * Stage::inner;
  }

  // The rows of the first steps, one stage for each: many loads are under way before the first is stored.
  __device__ __forceinline__ void bring_first(uint4* ring, int steps) const {
    if (!a.aligned_rows) {
#pragma unroll 1
      for (int step = 0; step < steps; ++step) bring_unaligned(ring + step * Stage::size, step);
      return;
    }
    constexpr int together = count == 1 ? 8 : 16, steps_together = together / count;
#pragma unroll 1
    for (int first = 0; first < steps; first += steps_together) {
      uint4 loaded[together];
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int number = i % count, step = first + i / count;
        loaded[i] = make_uint4(0, 0, 0, 0);
        if (step < steps && is_valid(number, step))
          loaded[i] = load_global(reinterpret_cast<const uint4*>(at(number, step)));
      }
#pragma unroll
      for (int i = 0; i < together; ++i) {
        const int number = i % count, step = first + i / count;
        if (step < steps && takes_part)
          store_shared(ring + step * Stage::size + place + number * place_apart, loaded[i]);
      }
    }
  }

  // Those of a later step: asynchronously, where rows are aligned.
  __device__ __forceinline__ void bring(uint4* stage, int step) const {
    if (!a.aligned_rows) return bring_unaligned(stage, step);
    if (!takes_part) return;
#pragma unroll
    for (int number = 0; number < count; ++number) {
      cp_async_16_or_zero(stage + place + number * place_apart, at(number, step), is_valid(number, step));
    }
  }

  __device__ __forceinline__ void bring_unaligned(uint4* stage, int step) const {
    if (!takes_part) return;
#pragma unroll 1
    for (int number = 0; number < count; ++number) {
      const bool valid = is_valid(number, step);
      const uint16_t* const from = reinterpret_cast<const uint16_t*>(valid ? at(number, step) : a.input);
      const int inside = a.inputs - position - step * Stage::inner;  // elements from there to the row's end
      const auto bits = [&](int element) {
        return valid && element < inside ? uint32_t{load_global(from + element)} : 0u;
      };
      store_shared(stage + place + number * place_apart, make_uint4(bits(0) | bits(1) << 16, bits(2) | bits(3) << 16,
                                                                    bits(4) | bits(5) << 16, bits(6) | bits(7) << 16));
    }
  }
};

// The sums of a warp: of 8 rows and 16 outputs together, as the instruction has them.
template <int row_tile>
using WarpSums = float[warp_tiles][RowTile<row_tile>::warp_rows / 8][4];

// sums += weights . rows for one tile of 16 inner positions, the one with this number of the stage. `stage`: moved on by
// the rows before the warp's.
template <class Weights, int row_tile>
__device__ __forceinline__ void multiply_tile(WarpSums<row_tile>& sums, const uint32_t (&weights)[warp_tiles][4],
                                              const uint4* stage, int number) {
  using Stage = TensorStage<Weights, row_tile>;
  const int lane = lane_index();
  if constexpr (row_tile == 8) {
    uint32_t b[2];
    ldmatrix_x2(b, stage + Stage::place(lane % 8, number * 2 + lane / 8 % 2));
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) mma_m16n8k16(sums[tile][0], weights[tile], b[0], b[1]);
  } else {
    const uint4* const row = stage + Stage::place(lane % 8 + lane / 16 * 8, number * 2 + lane / 8 % 2);
#pragma unroll
    for (int pair = 0; pair < Stage::warp_rows / 16; ++pair) {
      uint32_t b[4];
      ldmatrix_x4(b, row + pair * 16 * Stage::row_parts);
#pragma unroll
      for (int tile = 0; tile < warp_tiles; ++tile) {
        mma_m16n8k16(sums[tile][2 * pair], weights[tile], b[0], b[1]);
        mma_m16n8k16(sums[tile][2 * pair + 1], weights[tile], b[2], b[3]);
      }
    }
  }
}

// The sums of all slices so far, in registers or in shared memory, where a thread meets only its own.
template <int row_tile>
class Totals {
 public:
  static constexpr int groups = RowTile<row_tile>::warp_rows / 8;

  __device__ __forceinline__ explicit Totals(float4* shared) : shared_(shared + threadIdx.x) {}

  // The end of a slice: its sums are added to those of the ones before, and begin anew.
  __device__ __forceinline__ void add(WarpSums<row_tile>& sums) {
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) {
#pragma unroll
      for (int i = 0; i < groups; ++i) {
        float4 total = at(tile, i);
        total.x += sums[tile][i][0], total.y += sums[tile][i][1];
        total.z += sums[tile][i][2], total.w += sums[tile][i][3];
        if constexpr (RowTile<row_tile>::shared_totals) {
          store_shared(place(tile, i), total);
        } else {
          values_[tile][i] = total;
        }
#pragma unroll
        for (int part = 0; part < 4; ++part) sums[tile][i][part] = 0.0f;
      }
    }
    empty_ = false;
  }

  __device__ __forceinline__ float4 at(int tile, int i) const {
    if constexpr (RowTile<row_tile>::shared_totals) {
      return empty_ ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : load_shared(place(tile, i));
    } else {
      return values_[tile][i];
    }
  }

 private:
  __device__ __forceinline__ float4* place(int tile, int i) const {
    return shared_ + (tile * groups + i) * RowTile<row_tile>::threads;
  }

  float4* shared_;
  bool empty_ = true;
  float4 values_[warp_tiles][groups] = {};  // of totals in registers
};

// Writes sums [rows of a warp, block_outputs], which lie in shared memory, row by row.
template <int row_tile, bool wide>
__device__ __forceinline__ void write_sums(const LinearSums& a, int part, int rows, const float* block_sums,
                                           int first_row, int first_output) {
  const int output = first_output + lane_index() * 4;
  const int count = a.outputs - output;
  if (count <= 0) return;
  using Tile = RowTile<row_tile>;
  for (int i = warp_index(); i < Tile::warp_rows && first_row + i < rows; i += Tile::threads / 32) {
    const float4 loaded = load_shared(reinterpret_cast<const float4*>(block_sums + i * sums_stride) + lane_index());
    float values[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
    if (a.partials != nullptr) {
      const int64_t row = static_cast<int64_t>(part) * rows + first_row + i;
      store_group<wide>(a.partials + row * a.outputs + output, values, count);
    } else {
      scale_group<wide>(values, a.scales, output, count);
      finish_group<wide>(a.epilogue, first_row + i, output, a.outputs, values, count);
    }
  }
}

// Grid: tiles of rows; blocks of outputs, those of one part behind those of another, of the first product and then of
// the second. A block makes one slice of a product in several parts; of a product in one part all slices, one after
// the other, and adds them up itself, which gives the same bits.
template <class Weights, int row_tile>
__global__ void __launch_bounds__(RowTile<row_tile>::threads, RowTile<row_tile>::blocks)
    linear_tensor_kernel(const TensorLinear a) {
  using Stage = TensorStage<Weights, row_tile>;
  constexpr int load_inner = Weights::load_tiles * 16;
  uint4* const ring = shared_memory<uint4>();
  const int first_row = static_cast<int>(blockIdx.x) * row_tile;
  const int number = static_cast<int>(blockIdx.y);
  const bool second = number >= a.first_blocks;
  const TensorProduct& product = a.products[second];
  const int outputs = product.sums.outputs, output_blocks = (outputs + block_outputs - 1) / block_outputs;
  const int number_in_product = second ? number - a.first_blocks : number;
  const int part = number_in_product / output_blocks;
  const int first_output = number_in_product % output_blocks * block_outputs;
  const int lane = lane_index();
  const int output_warp = warp_index() % output_warps, row_warp = warp_index() / output_warps;

  const int inner_loads = (a.inputs + load_inner - 1) / load_inner;
  const int slice_loads = product.slices.slice_chunks * chunk_loads;
  const int first_load = part * slice_loads;
  const int end_load = product.sums.parts == 1 ? inner_loads : min(first_load + slice_loads, inner_loads);
  const int steps = (end_load - first_load + stage_loads - 1) / stage_loads;
  const int first_tile = first_output / 16 + output_warp * warp_tiles;
  const int output_tiles = (outputs + 15) / 16 - first_tile;  // from there to the matrix's end

  const CachePolicy policy = evict_first_policy();
  const uint4* next_weights[warp_tiles];  // the lane's part of the first load of the step that is asked for next
#pragma unroll
  for (int tile = 0; tile < warp_tiles; ++tile) {
    // Beyond the last tile of outputs it is multiplied once more, and not written.
    const int64_t row_of_tiles = first_tile + max(min(tile, output_tiles - 1), 0);
    next_weights[tile] = product.weights + (row_of_tiles * inner_loads + first_load) * 32 + lane;
  }
  const int own_weights = output_warp * (warp_tiles * stage_loads * 32) + lane;  // in a stage
  const auto bring_weights = [&](uint4* stage, int step) {
    if (output_tiles <= 0) return;
    constexpr int brought = stage_loads / Stage::warps;  // of each tile, by this warp
#pragma unroll
    for (int i = 0; i < warp_tiles * brought; ++i) {
      const int tile = i / brought, inside = i % brought + row_warp * brought;
      const bool valid = first_load + step * stage_loads + inside < inner_loads;
      cp_async_16_or_zero(stage + own_weights + (tile * stage_loads + inside) * 32, next_weights[tile] + inside * 32,
                          valid, policy);
    }
#pragma unroll
    for (int tile = 0; tile < warp_tiles; ++tile) next_weights[tile] += stage_loads * 32;
  };

  const int ahead = a.stages - 1;
#pragma unroll 1
  for (int step = 0; step < ahead; ++step) {
    if (step < steps) bring_weights(ring + step * Stage::size, step);
    cp_async_commit();
  }
  wait_for_earlier_kernels();
  allow_next_kernel();
  const ThreadRows<Weights, row_tile> rows(a, first_row, first_load * load_inner);
  rows.bring_first(ring, min(ahead, steps));

  const bool multiplies = output_tiles > 0 && first_row + row_warp * Stage::warp_rows < a.rows;
  WarpSums<row_tile> sums = {};
  Totals<row_tile> totals(reinterpret_cast<float4*>(ring + a.stages * Stage::size));
  int steps_of_slice = slice_loads / stage_loads;  // that are left
  uint4* stage = ring;
  uint4* stage_to_fill = ring + ahead * Stage::size;
  const auto following = [&](uint4* one) { return one == ring + ahead * Stage::size ? ring : one + Stage::size; };
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_stage(a.stages);
    __syncthreads();  // this stage's rows are there, and the one before has been read
    if (step + ahead < steps) {
      bring_weights(stage_to_fill, step + ahead);
      rows.bring(stage_to_fill, step + ahead);
    }
    cp_async_commit();

    if (multiplies) {
      uint4 weights[stage_loads][warp_tiles];
#pragma unroll
      for (int i = 0; i < warp_tiles * stage_loads; ++i)
        weights[i % stage_loads][i / stage_loads] = load_shared(stage + own_weights + i * 32);
#pragma unroll
      for (int inside = 0; inside < stage_loads; ++inside) {
#pragma unroll
        for (int half = 0; half < Weights::load_tiles; ++half) {
          uint32_t fragments[warp_tiles][4];
#pragma unroll
          for (int tile = 0; tile < warp_tiles; ++tile) Weights::unpack(fragments[tile], weights[inside][tile], half);
          multiply_tile<Weights, row_tile>(sums, fragments, stage + row_warp * Stage::warp_rows * Stage::row_parts,
                                           inside * Weights::load_tiles + half);
        }
      }
    }
    stage = following(stage);
    stage_to_fill = following(stage_to_fill);
    if (--steps_of_slice == 0) {
      totals.add(sums);
      steps_of_slice = slice_loads / stage_loads;
    }
  }
  totals.add(sums);  // of the last slice, or zeros

  float* block_sums = shared_memory<float>();
#pragma unroll 1
  for (int rows_of_warp = 0; rows_of_warp < Stage::warps; ++rows_of_warp) {
    __syncthreads();  // what lay there, the last stage or other rows' sums, has been read
    if (row_warp == rows_of_warp) {
#pragma unroll
      for (int tile = 0; tile < warp_tiles; ++tile) {
#pragma unroll
        for (int i = 0; i < Stage::warp_rows / 8; ++i) {
          float* const corner =
              block_sums + (i * 8 + lane % 4 * 2) * sums_stride + (output_warp * warp_tiles + tile) * 16 + lane / 4;
          const float4 total = totals.at(tile, i);
          store_shared(corner, total.x);
          store_shared(corner + sums_stride, total.y);
          store_shared(corner + 8, total.z);
          store_shared(corner + sums_stride + 8, total.w);
        }
      }
    }
    __syncthreads();
    const int first = first_row + rows_of_warp * Stage::warp_rows;
    if (a.wide_outputs) {
      write_sums<row_tile, true>(product.sums, part, a.rows, block_sums, first, first_output);
    } else {
      write_sums<row_tile, false>(product.sums, part, a.rows, block_sums, first, first_output);
    }
  }
}

}  // namespace mask_predict::cuda
