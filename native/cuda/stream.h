// One engine's stream of work on one device, and the memory its operations share.
#pragma once

#include <cstdint>
#include <memory>

#include "cuda/cublaslt.h"
#include "cuda/platform.h"

namespace mask_predict::cuda {

struct Stream {
  cudaStream_t handle = nullptr;
  int device = 0;
  int processors = 132;              // multiprocessors of the device
  int64_t shared_bytes = 227 << 10;  // shared memory that a block may have; a multiprocessor has 1 KiB more
  // Marks in the stream that pace() (operations_cuda.cu) puts and waits for in turn.
  cudaEvent_t marks[2] = {nullptr, nullptr};
  int next_mark = 0;
  // Sums of parts of an inner dimension (linear) until they are added up; used by one operation at a time.
  float* partials = nullptr;
  int64_t partial_floats = 0;
  std::unique_ptr<CublasLt> cublaslt;  // where there is one and the engine need not be deterministic
  // From this many rows on cuBLASLt multiplies, if it may. mma.sync reaches some 60 % of what wgmma does, so that our
  // products stop being limited by memory near 110 rows; to be set by what bench/gpu measures (bench-linear).
  int64_t library_rows = 128;
};

}  // namespace mask_predict::cuda
