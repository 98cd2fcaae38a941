// How the tensor core linear cuts the inner dimension. Every product is a sum over slices of the inner dimension,
// added up in their order, so that enough blocks read a weight matrix at once even if it has few outputs. The cut
// depends on the matrix alone: a row's bits are the same whatever rows are beside it and whoever adds the slices.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mask_predict::cuda {

inline constexpr int block_outputs = 128;  // of one block of threads
inline constexpr int chunk_loads = 8;      // of 16 bytes for each tile of outputs: what slices are measured in
inline constexpr int most_slices = 8;

// Slices are whole chunks; a load covers 16 inner positions of bfloat16, 32 of bytes.
struct InnerSlices {
  int chunks;        // in the inner dimension; the last one may reach beyond it
  int slice_chunks;  // in each slice but the last one, which may have fewer
  int slices;
};

inline InnerSlices inner_slices(int64_t outputs, int64_t inputs, int64_t weight_bytes) {
  const int64_t chunk_inner = chunk_loads * 32 / weight_bytes;
  // With 32 KiB of weights on their way for each block, 4.3 TB/s and about a microsecond of latency take some 130 blocks;
  // each further slice is only more sums to write and to read again. A ring (linear_tensor.cuh) has 64 KiB on their way,
  // but the number of slices is part of the results' bits: it stays until a GPU shows that fewer are faster.
  constexpr int64_t wanted_blocks = 160;
  const int64_t blocks = (outputs + block_outputs - 1) / block_outputs;
  const int64_t chunks = std::max<int64_t>((inputs + chunk_inner - 1) / chunk_inner, 1);
  const int64_t wanted =
      std::clamp<int64_t>((wanted_blocks + blocks - 1) / blocks, 1, std::min<int64_t>(chunks, most_slices));
  const int64_t slice_chunks = (chunks + wanted - 1) / wanted;
  return {static_cast<int>(chunks), static_cast<int>(slice_chunks),
          static_cast<int>((chunks + slice_chunks - 1) / slice_chunks)};
}

}  // namespace mask_predict::cuda
