// The CUDA language, its runtime API and the inline PTX: nvcc's, or in a test build native/simt's.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef MASK_PREDICT_SIMT
#include "simt/bfloat16.h"
#include "simt/language.h"
#include "simt/ptx.h"
#include "simt/runtime_api.h"
#else
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "cuda/ptx.cuh"
#endif
