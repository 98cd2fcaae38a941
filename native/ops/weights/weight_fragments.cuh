// A lane loads 16 bytes of a weight matrix in fragment order as operands of the tensor core: one tile of 16 outputs by
// 16 inputs of bfloat16, or two of int8 or fp8. Bytes become bfloat16 exactly; the outputs' scales are applied to the
// sums.
#pragma once

#include "cuda/platform.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict::cuda {

struct Bfloat16Weights {
  static constexpr int load_tiles = 1;
  // The tile with this number of those that were loaded.
  static __device__ __forceinline__ void unpack(uint32_t (&tile)[4], const uint4& loaded, int) {
    tile[0] = loaded.x, tile[1] = loaded.y, tile[2] = loaded.z, tile[3] = loaded.w;
  }
  static __device__ __forceinline__ float value(uint16_t bits) { return __uint_as_float(uint32_t{bits} << 16); }
};

// `pair`: the bytes 0 and 2 as two bfloat16, and after a shift by 8 the bytes 1 and 3.
template <class Weights>
struct ByteWeights {
  static constexpr int load_tiles = 2;
  static __device__ __forceinline__ void unpack(uint32_t (&tile)[4], const uint4& loaded, int number) {
    const uint32_t low = number == 0 ? loaded.x : loaded.z, high = number == 0 ? loaded.y : loaded.w;
    tile[0] = Weights::pair(low), tile[1] = Weights::pair(low >> 8);
    tile[2] = Weights::pair(high), tile[3] = Weights::pair(high >> 8);
  }
  static __device__ __forceinline__ float value(uint8_t byte) { return unpack_bfloat16(Weights::pair(byte)).x; }
};

struct Int8Weights : ByteWeights<Int8Weights> {
  // With the low seven bits l and the sign bit s of two's complement: l - 128 s = (128 + l) - (128 + 128 s). Below 256
  // bfloat16 has a whole number for each pattern of its lowest bits: 128 is 0x4300, and 256 differs by one bit.
  static __device__ __forceinline__ uint32_t pair(uint32_t bytes) {
    const uint32_t larger = (bytes & 0x007f007fu) | 0x43004300u, smaller = (bytes & 0x00800080u) | 0xc300c300u;
    return fma_bfloat16x2(larger, 0x3f803f80u, smaller);
  }
};

struct Fp8Weights : ByteWeights<Fp8Weights> {
  // Exponent and fraction of e4m3 at the place of bfloat16's, whose exponent counts from 127 instead of 7: 2^120 is
  // missing, also for numbers without a leading 1. Adding -0 changes nothing, not even a zero's sign.
  static __device__ __forceinline__ uint32_t pair(uint32_t bytes) {
    const uint32_t bits = (bytes << 8 & 0x80008000u) | (bytes << 4 & 0x07f007f0u);
    return fma_bfloat16x2(bits, 0x7b807b80u, 0x80008000u);
  }
};

// use(Weights{}) for the weights of a matrix in fragment order.
template <class Use>
void with_weights(WeightType type, const Use& use) {
  if (type == WeightType::I8) return use(Int8Weights{});
  if (type == WeightType::F8) return use(Fp8Weights{});
  return use(Bfloat16Weights{});
}

}  // namespace mask_predict::cuda
