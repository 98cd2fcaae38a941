// The functions of cuda/ptx.cuh, whose comments are their contract, for the emulator. Stricter than the
// hardware: an asynchronous copy destroys its destination when it starts and arrives, with what its source
// then holds, when its group is waited for; warp functions need all 32 lanes at the same place.
#pragma once

#include <cstring>

#include "simt/access_counts.h"
#include "simt/bfloat16.h"
#include "simt/block.h"
#include "simt/dependency.h"
#include "simt/language.h"
#include "simt/memory.h"
#include "simt/races.h"
#include "simt/warp.h"

namespace mask_predict::cuda {

using simt::Site;

// ---- memory -----------------------------------------------------------------------------------------------

template <class T>
T* shared_memory() {
  return reinterpret_cast<T*>(simt::shared_memory_begin());
}

template <class T>
T load_shared(const T* pointer, Site site = Site::current()) {
  simt::check_shared("load_shared", pointer, sizeof(T), site);
  simt::may_pause();
  simt::note_read("load_shared", pointer, sizeof(T), site);
  simt::count_access(simt::Space::Shared, "load_shared", pointer, sizeof(T), site);
  return *pointer;
}

template <class T>
void store_shared(T* pointer, const T& value, Site site = Site::current()) {
  simt::check_shared("store_shared", pointer, sizeof(T), site);
  simt::note_write("store_shared", pointer, sizeof(T), site);
  simt::count_access(simt::Space::Shared, "store_shared", pointer, sizeof(T), site);
  *pointer = value;
  simt::may_pause();
}

template <class T>
T load_global(const T* pointer, Site site = Site::current()) {
  simt::check_global("load_global", pointer, sizeof(T), site);
  simt::note_global_read("load_global", pointer, sizeof(T), site);
  simt::count_access(simt::Space::Global, "load_global", pointer, sizeof(T), site);
  return *pointer;
}

template <class T>
void store_global(T* pointer, const T& value, Site site = Site::current()) {
  simt::check_global("store_global", pointer, sizeof(T), site);
  simt::note_global_write("store_global", pointer, sizeof(T), site);
  simt::count_access(simt::Space::Global, "store_global", pointer, sizeof(T), site);
  *pointer = value;
}

using CachePolicy = uint64_t;
inline CachePolicy evict_first_policy() { return 0; }

inline uint4 load_global_once(const uint4* pointer, CachePolicy, Site site = Site::current()) {
  simt::check_global("load_global_once", pointer, sizeof(uint4), site);
  simt::note_global_read("load_global_once", pointer, sizeof(uint4), site);
  simt::count_access(simt::Space::Global, simt::load_of_weights, pointer, sizeof(uint4), site);
  return *pointer;
}

inline void prefetch_l2(const void* pointer, Site site = Site::current()) {
  simt::check_global("prefetch_l2", pointer, 1, site);
}

// ---- asynchronous copies ----------------------------------------------------------------------------------

inline void cp_async_16_or_zero(void* shared, const void* global, bool valid, Site site = Site::current()) {
  simt::start_copy(shared, global, valid, site);
}
inline void cp_async_16_or_zero(void* shared, const void* global, bool valid, CachePolicy,
                                Site site = Site::current()) {
  simt::start_copy(shared, global, valid, site, simt::copy_of_weights);
}
inline void cp_async_16(void* shared, const void* global, Site site = Site::current()) {
  simt::start_copy(shared, global, true, site);
}
inline void cp_async_16(void* shared, const void* global, CachePolicy, Site site = Site::current()) {
  simt::start_copy(shared, global, true, site, simt::copy_of_weights);
}
inline void cp_async_commit() { simt::commit_copies(); }

template <int pending>
void cp_async_wait(Site site = Site::current()) {
  static_assert(pending >= 0);
  simt::wait_for_copies(pending, site);
}

// ---- tensor cores -----------------------------------------------------------------------------------------

inline void ldmatrix_x4(uint32_t (&fragment)[4], const void* row, Site site = Site::current()) {
  simt::load_matrices("ldmatrix_x4", 4, false, fragment, row, site);
}
inline void ldmatrix_x2(uint32_t (&fragment)[2], const void* row, Site site = Site::current()) {
  simt::load_matrices("ldmatrix_x2", 2, false, fragment, row, site);
}
inline void ldmatrix_x4_transposed(uint32_t (&fragment)[4], const void* row, Site site = Site::current()) {
  simt::load_matrices("ldmatrix_x4_transposed", 4, true, fragment, row, site);
}
inline void ldmatrix_x2_transposed(uint32_t (&fragment)[2], const void* row, Site site = Site::current()) {
  simt::load_matrices("ldmatrix_x2_transposed", 2, true, fragment, row, site);
}

inline void mma_m16n8k16(float (&accumulator)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                         Site site = Site::current()) {
  simt::multiply_add(accumulator, a, b0, b1, site);
}

// ---- the warp ---------------------------------------------------------------------------------------------

inline int lane_index() { return static_cast<int>(threadIdx.x % 32); }
inline int warp_index() { return static_cast<int>(threadIdx.x / 32); }

template <class T>
T shuffle(T value, int lane, Site site = Site::current()) {
  return simt::exchange("shuffle", value, lane & 31, site);
}
template <class T>
T shuffle_xor(T value, int lane_mask, Site site = Site::current()) {
  return simt::exchange("shuffle_xor", value, (simt::running_thread_number() ^ lane_mask) & 31, site);
}
template <class T>
T shuffle_up(T value, int distance, Site site = Site::current()) {
  const int lane = simt::running_thread_number() % 32;
  return simt::exchange("shuffle_up", value, lane < distance ? lane : lane - distance, site);
}
template <class T>
T shuffle_down(T value, int distance, Site site = Site::current()) {
  const int lane = simt::running_thread_number() % 32;
  return simt::exchange("shuffle_down", value, lane + distance > 31 ? lane : lane + distance, site);
}

inline uint32_t ballot(bool predicate, Site site = Site::current()) { return simt::vote(predicate, site); }
inline void sync_warp(Site site = Site::current()) { simt::synchronize_warp(site); }

// ---- dependent launches -----------------------------------------------------------------------------------

inline void wait_for_earlier_kernels() { simt::running_thread().waited_for_earlier_kernels = true; }
inline void allow_next_kernel() { simt::note_next_kernel_allowed(); }

// ---- numbers ----------------------------------------------------------------------------------------------

inline float exp2_approximate(float x) {
  const float result = std::exp2(x);
  return std::fpclassify(result) == FP_SUBNORMAL ? 0.0f : result;
}

inline __nv_bfloat16 to_bfloat16(float x) { return __float2bfloat16_rn(x); }
inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

inline uint32_t pack_bfloat16(float low, float high) {
  return static_cast<uint32_t>(to_bfloat16(high).bits) << 16 | to_bfloat16(low).bits;
}
inline float2 unpack_bfloat16(uint32_t packed) {
  return {std::bit_cast<float>(packed << 16), std::bit_cast<float>(packed & 0xffff0000u)};
}

// The products of 8 by 8 bits and their sums are exact in double, but for sums that lie too far apart to matter to the
// rounding that follows.
inline uint32_t fma_bfloat16x2(uint32_t a, uint32_t b, uint32_t c) {
  const float2 x = unpack_bfloat16(a), y = unpack_bfloat16(b), z = unpack_bfloat16(c);
  const auto one = [](float p, float q, float r) {
    return static_cast<float>(static_cast<double>(p) * static_cast<double>(q) + static_cast<double>(r));
  };
  return pack_bfloat16(one(x.x, y.x, z.x), one(x.y, y.y, z.y));
}

}  // namespace mask_predict::cuda
