// One engine's stream of work on one device, and the memory its operations share.
#pragma once

#include <cstdint>

#include "cuda/platform.h"

namespace mask_predict::cuda {

struct Stream {
  cudaStream_t handle = nullptr;
  int device = 0;
  int processors = 132;            // multiprocessors of the device
  // Sums of parts of an inner dimension (linear) until they are added up; used by one operation at a time.
  float* partials = nullptr;
  int64_t partial_floats = 0;
};

}  // namespace mask_predict::cuda
