// The part of the CUDA language that kernels use, for a C++ compiler: qualifiers, vectors, built-in
// variables, the block barrier, mathematical functions. Values of the built-in variables are those of the
// thread that runs.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
// Nobody can ask a function for its attributes, so the bounds are written into its code: as many instructions that do
// nothing as marks_of says come first, and simt/limits.cpp counts them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MASK_PREDICT_SIMT_MARKS_BOUNDS
#define __launch_bounds__(...) __attribute__((patchable_function_entry(mask_predict::simt::marks_of(__VA_ARGS__), 0)))
#else
#define __launch_bounds__(...)
#endif
#define __align__(bytes) alignas(bytes)
#define __grid_constant__

namespace mask_predict::simt {

inline constexpr int marks_of_a_block = 33;  // one for each warp of threads, at most 32, and so many for each block
constexpr int marks_of(int threads, int blocks = 1) { return (threads + 31) / 32 + blocks * marks_of_a_block; }

}  // namespace mask_predict::simt

// ---- vectors ----------------------------------------------------------------------------------------------

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define MASK_PREDICT_VECTOR_2(name, type) \
  struct alignas(2 * sizeof(type)) name { \
    type x, y;                            \
  };                                      \
  constexpr name make_##name(type x, type y) { return {x, y}; }
#define MASK_PREDICT_VECTOR_4(name, type) \
  struct alignas(4 * sizeof(type)) name { \
    type x, y, z, w;                      \
  };                                      \
  constexpr name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }

MASK_PREDICT_VECTOR_2(float2, float)
MASK_PREDICT_VECTOR_2(int2, int)
MASK_PREDICT_VECTOR_2(uint2, unsigned)
MASK_PREDICT_VECTOR_2(ushort2, unsigned short)
MASK_PREDICT_VECTOR_4(float4, float)
MASK_PREDICT_VECTOR_4(int4, int)
MASK_PREDICT_VECTOR_4(uint4, unsigned)
MASK_PREDICT_VECTOR_4(ushort4, unsigned short)
MASK_PREDICT_VECTOR_4(uchar4, unsigned char)
MASK_PREDICT_VECTOR_4(char4, signed char)
#undef MASK_PREDICT_VECTOR_2
#undef MASK_PREDICT_VECTOR_4

// ---- built-in variables and the block ---------------------------------------------------------------------

inline uint3 threadIdx;
inline uint3 blockIdx;
inline dim3 blockDim;
inline dim3 gridDim;
inline constexpr int warpSize = 32;

// All threads of the block, from the same line.
void __syncthreads(std::source_location site = std::source_location::current());

// Ends the kernel with an error.
[[noreturn]] void __trap();

// Threads take turns only where they wait, so an ordinary addition is atomic.
template <class T>
requires(sizeof(T) >= 4 && !std::is_floating_point_v<T>)  // the order of float sums would change their bits
    T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old + value;
  return old;
}

inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- numbers ----------------------------------------------------------------------------------------------

constexpr int min(int a, int b) { return a < b ? a : b; }
constexpr int max(int a, int b) { return a > b ? a : b; }
constexpr unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
constexpr unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
constexpr long min(long a, long b) { return a < b ? a : b; }
constexpr long max(long a, long b) { return a > b ? a : b; }
constexpr long long min(long long a, long long b) { return a < b ? a : b; }
constexpr long long max(long long a, long long b) { return a > b ? a : b; }
constexpr unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
constexpr unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }

inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
// Byte i of the result is byte (selector >> 4i) & 7 of b:a.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> 4 * i & 7)) & 0xff) << 8 * i;
  }
  return result;
}
template <class T>
T __ldg(const T* pointer) {
  return *pointer;
}
