// Sixteen floats in a 512-bit register.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/kernels.h"

namespace {

struct Vector {
  static constexpr int lanes = 16;
  static constexpr int tile_rows = 8;  // 8 x 3 accumulators, 3 of B and one of A: 28 of 32 registers
  static constexpr int tile_vectors = 3;
  __m512 v;

  static Vector zero() { return {_mm512_setzero_ps()}; }
  static Vector all(float x) { return {_mm512_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vector load(const float* p, int count) {
    return count == lanes ? load(p) : Vector{_mm512_maskz_loadu_ps(mask(count), p)};
  }
  // The first or the second of each of 16 pairs.
  static Vector load_bf16(const uint16_t* p, bool second) {
    const __m512i pairs = _mm512_loadu_si512(p);
    return {_mm512_castsi512_ps(second ? _mm512_and_si512(pairs, _mm512_set1_epi32(-0x10000))
                                       : _mm512_slli_epi32(pairs, 16))};
  }
  static Vector load_fp16(const uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, int count) const {
    if (count == lanes) return store(p);
    _mm512_mask_storeu_ps(p, mask(count), v);
  }
  // The nearest integers, from -127 to 127, as signed bytes XOR `flip`; anything for NaN.
  void store_bytes(uint8_t* p, uint8_t flip) const {
    const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_xor_si128(bytes, _mm_set1_epi8(static_cast<char>(flip))));
  }

  // `scale` where one of 16 numbers of 16 bits is at least `threshold`, else 0.
  static Vector kept(const uint16_t* p, uint32_t threshold, float scale) {
    const __m512i numbers = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    const __mmask16 keep = _mm512_cmpge_epu32_mask(numbers, _mm512_set1_epi32(static_cast<int>(threshold)));
    return {_mm512_maskz_mov_ps(keep, _mm512_set1_ps(scale))};
  }

  static __mmask16 mask(int count) { return static_cast<__mmask16>((1u << count) - 1); }

  float sum() const { return _mm512_reduce_add_ps(v); }
  float largest() const { return _mm512_reduce_max_ps(v); }
};

inline Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vector operator/(Vector a, Vector b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// Where one is not a number: the second.
inline Vector larger(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vector smaller(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
inline bool any_above(Vector a, Vector b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ) != 0; }
inline Vector square_root(Vector a) { return {_mm512_sqrt_ps(a.v)}; }
inline Vector nearest_integer(Vector a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// x times 2 to the power of an integral value in -126 ... 127.
inline Vector times_power_of_two(Vector x, Vector n) { return {_mm512_scalef_ps(x.v, n.v)}; }
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float half_to_float(uint16_t h) { return _cvtsh_ss(h); }

// 32-bit words, each in the low half of 64 bits; what the high halves hold is nobody's business.
struct Words {
  static constexpr int count = 8;
  __m512i v;

  static Words all(uint32_t x) { return {_mm512_set1_epi64(x)}; }
  static Words rising(uint32_t first) {
    return {_mm512_add_epi64(_mm512_set1_epi64(first), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0))};
  }
  // The 64 bits of a product; its high word as a word.
  friend Words operator*(Words a, uint32_t b) { return {_mm512_mul_epu32(a.v, _mm512_set1_epi64(b))}; }
  Words high() const { return {_mm512_srli_epi64(v, 32)}; }
  friend Words operator^(Words a, Words b) { return {_mm512_xor_si512(a.v, b.v)}; }
  // Words a[i], b[i], c[i], d[i] one behind the other, for i = 0 ... count - 1.
  static void store(Words a, Words b, Words c, Words d, uint32_t* to) {
    const __m512i odd = _mm512_set_epi32(14, 14, 12, 12, 10, 10, 8, 8, 6, 6, 4, 4, 2, 2, 0, 0);
    const __m512i ab = _mm512_mask_permutexvar_epi32(a.v, 0xaaaa, odd, b.v),
                  cd = _mm512_mask_permutexvar_epi32(c.v, 0xaaaa, odd, d.v);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi64(ab, _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), cd));
    _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi64(ab, _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4), cd));
  }
};

// Rows become columns: pairs of rows, fours, then quarters of registers.
inline void transpose(Vector (&rows)[16]) {
  __m512 fours[16];
#pragma GCC unroll 4
  for (int g = 0; g < 16; g += 4) {
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(rows[g].v, rows[g + 1].v));
    const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(rows[g].v, rows[g + 1].v));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(rows[g + 2].v, rows[g + 3].v));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(rows[g + 2].v, rows[g + 3].v));
    fours[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    fours[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    fours[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    fours[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    const __m512 even = _mm512_shuffle_f32x4(fours[c], fours[c + 4], 0x88),
                 odd = _mm512_shuffle_f32x4(fours[c], fours[c + 4], 0xdd);
    const __m512 even2 = _mm512_shuffle_f32x4(fours[c + 8], fours[c + 12], 0x88),
                 odd2 = _mm512_shuffle_f32x4(fours[c + 8], fours[c + 12], 0xdd);
    rows[c].v = _mm512_shuffle_f32x4(even, even2, 0x88);
    rows[c + 4].v = _mm512_shuffle_f32x4(odd, odd2, 0x88);
    rows[c + 8].v = _mm512_shuffle_f32x4(even, even2, 0xdd);
    rows[c + 12].v = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
  }
}

// Sums of products of bytes, four to a lane: what both ways of making them have in common.
struct ByteSums {
  using Sum = __m512i;
  static constexpr int tile_vectors = 3, least_vectors = 1;
  static constexpr int inputs_together = 4;
  static constexpr uint8_t flip = 128, input_bytes = 1;
  static void store_steps(Vector x, uint8_t* p) { x.store_bytes(p, flip); }
  static Sum first_sum(const int32_t* sums) {
    return _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(sums)), 7);
  }
  static Vector to_float(Sum sum) { return {_mm512_cvtepi32_ps(sum)}; }
  static __m512i four(const uint8_t* p) {
    int32_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return _mm512_set1_epi32(bits);
  }
};

// With VNNI's one instruction for it; as assembly, because the compiler is not told that it may use the set.
struct VnniBytes : ByteSums {
  using Weights = __m512i;
  using Input = __m512i;
  static constexpr int tile_rows = 8;
  static Weights weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static Input input(const uint8_t* p) { return four(p); }
  static void add_products(Sum& sum, Input x, Weights w) { asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w)); }
};

// Two bfloat16 by two, with AVX512-BF16's one instruction for it, as assembly for the same reason. It adds both products
// to the sum in float32, rounding as it goes, and takes subnormal numbers for 0.
struct Bf16Pairs {
  using Sum = __m512;
  using Weights = __m512i;
  using Input = __m512i;
  static constexpr bool steps = true;
  static constexpr int inputs_together = 2, input_bytes = 2;
  static constexpr int tile_rows = 8;
  static constexpr int tile_vectors = 3, least_vectors = 1;
  static Sum begin(const mask_predict::cpu::MultiplyTask& t, int, const float* totals) {
    return t.accumulate ? _mm512_loadu_ps(totals) : _mm512_setzero_ps();
  }
  static Vector end(const mask_predict::cpu::MultiplyTask&, int64_t, int, Sum sum) { return {sum}; }
  static Weights weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static Input input(const uint8_t* p) { return ByteSums::four(p); }
  static void add_products(Sum& sum, Input x, Weights w) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w)); }

  static __m256i rounded(Vector x) {
    __m256i halves;
    asm("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(x.v));
    return halves;
  }
  static void store(Vector x, uint16_t* p) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), rounded(x)); }
  static void store(Vector x, uint16_t* p, int count) { _mm256_mask_storeu_epi16(p, Vector::mask(count), rounded(x)); }

  static void round(const float* input, int64_t rows, int64_t width, uint16_t* output, int64_t stride) {
    for (int64_t r = 0; r < rows; r++) {
      const float* x = input + r * width;
      uint16_t* y = output + r * stride;
      int64_t i = 0;
      for (; i + Vector::lanes <= width; i += Vector::lanes) store(Vector::load(x + i), y + i);
      if (i == width) continue;
      const int count = static_cast<int>(width - i);
      store(Vector::load(x + i, count), y + i, (count + 1) / 2 * 2);
    }
  }

  static void interleave(const uint16_t* first, const uint16_t* second, int64_t stride, int64_t pairs, int64_t width,
                         uint16_t* output, int64_t output_stride) {
    for (int64_t p = 0; p < pairs; p++, first += stride, second += stride, output += output_stride) {
      for (int64_t i = width; i < 3 * width; i += 32) {
        __builtin_prefetch(first + i, 0, 2);
        __builtin_prefetch(second + i, 0, 2);
      }
      for (int64_t i = 0; i < width; i += Vector::lanes) {
        const __mmask16 mask = Vector::mask(width - i < Vector::lanes ? static_cast<int>(width - i) : Vector::lanes);
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, first + i)),
                      high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, second + i));
        _mm512_mask_storeu_epi32(output + 2 * i, mask, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    }
  }
};

// Without: even and odd bytes apart as 16-bit numbers, whose products are added exactly.
struct WideBytes : ByteSums {
  struct Weights {
    __m512i even, odd;
  };
  using Input = Weights;
  static constexpr int tile_rows = 6;
  static Weights weights(const int8_t* p) {
    const __m512i w = _mm512_loadu_si512(p);
    return {_mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), _mm512_srai_epi16(w, 8)};
  }
  static Input input(const uint8_t* p) {
    const __m512i x = four(p);
    return {_mm512_and_si512(x, _mm512_set1_epi16(255)), _mm512_srli_epi16(x, 8)};
  }
  static void add_products(Sum& sum, const Input& x, const Weights& w) {
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x.even, w.even));
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(x.odd, w.odd));
  }
};

}  // namespace
