// Everything that C++ cannot say about the device, as small functions. No other file contains asm. sm_80 and
// later.
//
// native/simt/ptx.h defines the same functions for the CPU; a function added here is added there. Loads and
// stores whose pattern matters for speed go through load_shared, load_global and their siblings, because the
// emulator counts bank conflicts and uncoalesced accesses there and checks bounds, alignment and ordering.
//
// The functions that read or write memory behind the compiler's back are volatile and clobber memory, so that
// no ordinary load or store moves across them.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace mask_predict::cuda {

// ---- shared memory ----------------------------------------------------------------------------------------

// The block's dynamic shared memory, aligned to 16 bytes.
template <class T>
__device__ __forceinline__ T* shared_memory() {
  extern __shared__ uint4 dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// One aligned access of 1, 2, 4, 8 or 16 bytes.
template <class T>
__device__ __forceinline__ T load_shared(const T* pointer) {
  return *pointer;
}

template <class T>
__device__ __forceinline__ void store_shared(T* pointer, const T& value) {
  *pointer = value;
}

// ---- global memory ----------------------------------------------------------------------------------------

template <class T>
__device__ __forceinline__ T load_global(const T* pointer) {
  return *pointer;
}

template <class T>
__device__ __forceinline__ void store_global(T* pointer, const T& value) {
  *pointer = value;
}

// How the L2 cache treats what is read with it. First to be evicted: for weights, which are read once per
// pass, so that activations stay.
using CachePolicy = uint64_t;

__device__ __forceinline__ CachePolicy evict_first_policy() {
  CachePolicy policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// 16 bytes that this block reads once: not kept in L1, treated as `policy` says in L2.
__device__ __forceinline__ uint4 load_global_once(const uint4* pointer, CachePolicy policy) {
  uint4 value;
  asm volatile("ld.global.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(pointer), "l"(policy)
               : "memory");
  return value;
}

// Asks for the cache line at `pointer`, any address of device memory.
__device__ __forceinline__ void prefetch_l2(const void* pointer) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(pointer));
}

// ---- asynchronous copies ----------------------------------------------------------------------------------

// Starts to copy 16 bytes from global to shared memory, past L1; both aligned to 16. The data is there once
// this thread has waited for the copy's group; for other threads after a barrier behind that wait.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}

__device__ __forceinline__ void cp_async_16(void* shared, const void* global, CachePolicy policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "l"(policy)
               : "memory");
}

// Writes zeros, as asynchronously, and reads nothing where `valid` is false; `global` must still be aligned.
__device__ __forceinline__ void cp_async_16_or_zero(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void cp_async_16_or_zero(void* shared, const void* global, bool valid, CachePolicy policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;" ::"r"(shared_address(shared)),
               "l"(global), "r"(valid ? 16 : 0), "l"(policy)
               : "memory");
}

// Makes a group of this thread's copies since the last commit. A group may be empty.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the `pending` latest groups of this thread are under way.
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---- tensor cores -----------------------------------------------------------------------------------------

// Loads 8 x 8 matrices of 16-bit elements. `row`: lanes 0 ... 7 give the addresses of the rows of the first
// matrix, 8 ... 15 of the second, and so on; x2 takes those of lanes 0 ... 15. A row is 16 bytes, aligned.
// Lane l receives elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4; transposed: of column l / 4.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x2(uint32_t (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

__device__ __forceinline__ void ldmatrix_x2_transposed(uint32_t (&fragment)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(fragment[0]), "=r"(fragment[1])
               : "r"(shared_address(row))
               : "memory");
}

// accumulator[16, 8] += a[16, 16] . b[16, 8], bfloat16 with float sums. In lane l, with g = l / 4 and t = l %
// 4:
//   a: rows g, g + 8, g, g + 8 at inner positions 2t, 2t + 1 (a[0], a[1]) and 2t + 8, 2t + 9 (a[2], a[3]);
//      ldmatrix_x4 of a row-major [16, 16] tile with row l % 16, inner position l / 16 * 8 gives just that.
//   b: column g at inner positions 2t, 2t + 1 (b0) and 2t + 8, 2t + 9 (b1);
//      ldmatrix_x2 of b stored as [8 columns, 16 inner] with row l % 8, inner position l / 8 * 8.
//   accumulator: row g, columns 2t, 2t + 1 ([0], [1]); row g + 8, the same columns ([2], [3]).
// The order of the 16 additions is not specified.
__device__ __forceinline__ void mma_m16n8k16(float (&accumulator)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(accumulator[0]), "+f"(accumulator[1]), "+f"(accumulator[2]), "+f"(accumulator[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- the warp ---------------------------------------------------------------------------------------------
// All 32 lanes call them together.

__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x % 32); }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / 32); }

template <class T>
__device__ __forceinline__ T shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}

template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int lane_mask) {
  return __shfl_xor_sync(0xffffffffu, value, lane_mask);
}

// The value of lane `distance` lower (up) or higher (down); one's own where there is none.
template <class T>
__device__ __forceinline__ T shuffle_up(T value, int distance) {
  return __shfl_up_sync(0xffffffffu, value, static_cast<unsigned>(distance));
}

template <class T>
__device__ __forceinline__ T shuffle_down(T value, int distance) {
  return __shfl_down_sync(0xffffffffu, value, static_cast<unsigned>(distance));
}

// Bit l: lane l's predicate.
__device__ __forceinline__ uint32_t ballot(bool predicate) { return __ballot_sync(0xffffffffu, predicate); }

// Orders the shared memory accesses of the warp's lanes.
__device__ __forceinline__ void sync_warp() { __syncwarp(); }

// ---- dependent launches -----------------------------------------------------------------------------------

// In a kernel launched as dependent: returns once all earlier kernels have ended and what they wrote is
// visible. Every thread calls it before it reads anything an earlier kernel wrote and before it writes at
// all. Without such a launch, or before sm_90, it does nothing.
__device__ __forceinline__ void wait_for_earlier_kernels() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel start once every block has called this or ended. It still waits, where it calls
// wait_for_earlier_kernels, for the end of this one.
__device__ __forceinline__ void allow_next_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- numbers ----------------------------------------------------------------------------------------------

// 2^x with a relative error of 2^-22; subnormal results are zero.
__device__ __forceinline__ float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// Nearest, ties to even.
__device__ __forceinline__ __nv_bfloat16 to_bfloat16(float x) { return __float2bfloat16_rn(x); }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

// Two bfloat16 in one register, `low` at the lower address: as mma_m16n8k16 takes and ldmatrix gives them.
__device__ __forceinline__ uint32_t pack_bfloat16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// a * b + c for both halves, rounded once, subnormal numbers included.
__device__ __forceinline__ uint32_t fma_bfloat16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

__device__ __forceinline__ float2 unpack_bfloat16(uint32_t packed) {
  return make_float2(__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u));
}

}  // namespace mask_predict::cuda
