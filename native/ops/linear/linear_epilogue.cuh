// The epilogue of a finished sum of products: if weights are bytes, it multiplies the sum by their scale; then output =
// activation(sum + bias) + residual.
//
// Values go in groups of four neighbouring outputs. `wide`: a group is one 16-byte access, for which the number of
// outputs is a multiple of 4 and the pointers are aligned; otherwise `count`, 1 to 4, of the group exist and are
// accessed one by one. Which thread has which group is the same either way.
#pragma once

#include "cuda/platform.h"

namespace mask_predict::cuda {

struct LinearEpilogue {
  const float* bias;      // [outputs], or nullptr
  const float* residual;  // [rows, outputs], or nullptr; may be the output
  void* output;           // [rows, outputs]
  bool gelu;              // exact erf form
  bool narrow;            // the output is bfloat16, else float
};

// The sums of one matrix's products, and what becomes of them.
struct LinearSums {
  int outputs;
  int parts;                // in which they are made: the slices of the inner dimension (linear_slices.h), or 1
  const float* scales;      // [outputs], of weights that are bytes, or nullptr
  float* partials;          // [parts, rows, outputs]: gets the bare sums, if not nullptr
  LinearEpilogue epilogue;  // otherwise
};

inline bool aligned_16(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.707106781f)); }

template <bool wide>
__device__ __forceinline__ void load_group(float (&values)[4], const float* from, int count) {
  if constexpr (wide) {
    const float4 loaded = load_global(reinterpret_cast<const float4*>(from));
    values[0] = loaded.x, values[1] = loaded.y, values[2] = loaded.z, values[3] = loaded.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = i < count ? load_global(from + i) : 0.0f;
  }
}

template <bool wide>
__device__ __forceinline__ void store_group(float* to, const float (&values)[4], int count) {
  if constexpr (wide) {
    store_global(reinterpret_cast<float4*>(to), make_float4(values[0], values[1], values[2], values[3]));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) store_global(to + i, values[i]);
    }
  }
}

template <bool wide>
__device__ __forceinline__ void store_group(__nv_bfloat16* to, const float (&values)[4], int count) {
  if constexpr (wide) {
    store_global(reinterpret_cast<uint2*>(to),
                 make_uint2(pack_bfloat16(values[0], values[1]), pack_bfloat16(values[2], values[3])));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) store_global(to + i, to_bfloat16(values[i]));
    }
  }
}

// `scales`: [outputs], of weights that are bytes, or nullptr.
template <bool wide>
__device__ __forceinline__ void scale_group(float (&values)[4], const float* scales, int output, int count) {
  if (scales == nullptr) return;
  float factors[4];
  load_group<wide>(factors, scales + output, count);
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = __fmul_rn(values[i], factors[i]);
}

// Finishes the sums of outputs `output` ... `output` + count - 1 of one row.
template <bool wide>
__device__ __forceinline__ void finish_group(const LinearEpilogue& epilogue, int64_t row, int output, int outputs,
                                             float (&values)[4], int count) {
  const int64_t index = row * outputs + output;
  float added[4];
  if (epilogue.bias != nullptr) {
    load_group<wide>(added, epilogue.bias + output, count);
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] += added[i];
  }
  if (epilogue.gelu) {
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = gelu(values[i]);
  }
  if (epilogue.residual != nullptr) {
    load_group<wide>(added, epilogue.residual + index, count);
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] += added[i];
  }
  if (epilogue.narrow) {
    store_group<wide>(static_cast<__nv_bfloat16*>(epilogue.output) + index, values, count);
  } else {
    store_group<wide>(static_cast<float*>(epilogue.output) + index, values, count);
  }
}

}  // namespace mask_predict::cuda
