// Eight floats in a 256-bit register.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct Vector {
  static constexpr int lanes = 8;
  static constexpr int tile_rows = 6;  // 6 x 2 accumulators, 2 of B and one of A: 15 of 16 registers
  static constexpr int tile_vectors = 2;
  __m256 v;

  static Vector zero() { return {_mm256_setzero_ps()}; }
  static Vector all(float x) { return {_mm256_set1_ps(x)}; }
  static Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vector load(const float* p, int count) {
    return count == lanes ? load(p) : Vector{_mm256_maskload_ps(p, mask(count))};
  }
  // The first or the second of each of 8 pairs.
  static Vector load_bf16(const uint16_t* p, bool second) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_castsi256_ps(second ? _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000))
                                       : _mm256_slli_epi32(pairs, 16))};
  }
  static Vector load_fp16(const uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, int count) const {
    if (count == lanes) return store(p);
    _mm256_maskstore_ps(p, mask(count), v);
  }
  // The nearest integers, from -127 to 127, as signed bytes XOR `flip`; anything for NaN.
  void store_bytes(uint8_t* p, uint8_t flip) const {
    const __m128i words = short_integers();
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p),
                     _mm_xor_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(static_cast<char>(flip))));
  }

  // The nearest integers as 16 bits each.
  __m128i short_integers() const {
    const __m256i integers = _mm256_cvtps_epi32(v);
    return _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
  }

  // `scale` where one of 8 numbers of 16 bits is at least `threshold`, else 0.
  static Vector kept(const uint16_t* p, uint32_t threshold, float scale) {
    const __m256i numbers = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i keep = _mm256_cmpgt_epi32(numbers, _mm256_set1_epi32(static_cast<int>(threshold) - 1));
    return {_mm256_and_ps(_mm256_castsi256_ps(keep), _mm256_set1_ps(scale))};
  }

  static __m256i mask(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  float sum() const {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  float largest() const {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
};

inline Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vector operator/(Vector a, Vector b) { return {_mm256_div_ps(a.v, b.v)}; }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
// Where one is not a number: the second.
inline Vector larger(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vector smaller(Vector a, Vector b) { return {_mm256_min_ps(a.v, b.v)}; }
inline bool any_above(Vector a, Vector b) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)) != 0; }
inline Vector square_root(Vector a) { return {_mm256_sqrt_ps(a.v)}; }
inline Vector nearest_integer(Vector a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// x times 2 to the power of an integral value in -126 ... 127.
inline Vector times_power_of_two(Vector x, Vector n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  return x * Vector{_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
}
inline float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float half_to_float(uint16_t h) { return _cvtsh_ss(h); }

// 32-bit words, each in the low half of 64 bits; what the high halves hold is nobody's business.
struct Words {
  static constexpr int count = 4;
  __m256i v;

  static Words all(uint32_t x) { return {_mm256_set1_epi64x(x)}; }
  static Words rising(uint32_t first) {
    return {_mm256_add_epi64(_mm256_set1_epi64x(first), _mm256_set_epi64x(3, 2, 1, 0))};
  }
  // The 64 bits of a product; its high word as a word.
  friend Words operator*(Words a, uint32_t b) { return {_mm256_mul_epu32(a.v, _mm256_set1_epi64x(b))}; }
  Words high() const { return {_mm256_srli_epi64(v, 32)}; }
  friend Words operator^(Words a, Words b) { return {_mm256_xor_si256(a.v, b.v)}; }
  // Words a[i], b[i], c[i], d[i] one behind the other, for i = 0 ... count - 1.
  static void store(Words a, Words b, Words c, Words d, uint32_t* to) {
    const __m256i ab = _mm256_blend_epi32(a.v, _mm256_slli_epi64(b.v, 32), 0xaa),
                  cd = _mm256_blend_epi32(c.v, _mm256_slli_epi64(d.v, 32), 0xaa);
    const __m256i even = _mm256_unpacklo_epi64(ab, cd), odd = _mm256_unpackhi_epi64(ab, cd);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), _mm256_permute2x128_si256(even, odd, 0x31));
  }
};

// Rows become columns: pairs of rows, fours, then halves of registers.
inline void transpose(Vector (&rows)[8]) {
  __m256 fours[8];
#pragma GCC unroll 2
  for (int g = 0; g < 8; g += 4) {
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(rows[g].v, rows[g + 1].v));
    const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(rows[g].v, rows[g + 1].v));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(rows[g + 2].v, rows[g + 3].v));
    const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(rows[g + 2].v, rows[g + 3].v));
    fours[g] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    fours[g + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    fours[g + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    fours[g + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    rows[c].v = _mm256_permute2f128_ps(fours[c], fours[c + 4], 0x20);
    rows[c + 4].v = _mm256_permute2f128_ps(fours[c], fours[c + 4], 0x31);
  }
}

// Sums of products of bytes with AVX-VNNI's one instruction for four of them; as assembly, because the compiler is not told
// that it may use the set.
struct VnniBytes {
  using Sum = __m256i;
  using Weights = __m256i;
  using Input = __m256i;
  static constexpr uint8_t flip = 128, input_bytes = 1;
  static constexpr int inputs_together = 4;
  static constexpr int tile_rows = 6;  // 6 x 2 accumulators, 2 of weights and one of input: 15 of 16 registers
  static constexpr int tile_vectors = 2, least_vectors = 2;
  static void store_steps(Vector x, uint8_t* p) { x.store_bytes(p, flip); }
  static Sum first_sum(const int32_t* sums) {
    const __m256i s = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
    return _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), s), 7);
  }
  static Vector to_float(Sum sum) { return {_mm256_cvtepi32_ps(sum)}; }
  static Weights weights(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Input input(const uint8_t* p) {
    int32_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return _mm256_set1_epi32(bits);
  }
  static void add_products(Sum& sum, Input x, Weights w) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
  }
};

// Without: 16-bit numbers, of which the inputs are such from the start and the weights become such on the way; two products
// of four columns to each register. The instructions for products of bytes would need others for their signs, and on AMD's
// processors only two of four units execute any of these: they took 1.25 times as long.
struct WideBytes {
  struct Sum {
    __m256i columns_0, columns_4;  // each two sums of columns 0 to 3, of 4 to 7
  };
  using Weights = Sum;
  using Input = __m256i;
  static constexpr uint8_t flip = 0, input_bytes = 2;
  static constexpr int inputs_together = 4;
  static constexpr int tile_rows = 6;  // 6 x 2 accumulators, 2 of weights, one of input and a product: 16 registers
  static constexpr int tile_vectors = 1, least_vectors = 1;
  static void store_steps(Vector x, uint8_t* p) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x.short_integers()); }
  static Sum first_sum(const int32_t*) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Vector to_float(const Sum& sum) {
    const __m256i added = _mm256_hadd_epi32(sum.columns_0, sum.columns_4);  // columns 0, 1, 4, 5, 2, 3, 6, 7
    return {_mm256_cvtepi32_ps(_mm256_permute4x64_epi64(added, 0xd8))};
  }
  static Weights weights(const int8_t* p) {
    const auto* four = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtepi8_epi16(_mm_loadu_si128(four)), _mm256_cvtepi8_epi16(_mm_loadu_si128(four + 1))};
  }
  static Input input(const uint8_t* p) {
    int64_t bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return _mm256_set1_epi64x(bits);
  }
  static void add_products(Sum& sum, Input x, const Weights& w) {
    add(sum.columns_0, _mm256_madd_epi16(x, w.columns_0));
    add(sum.columns_4, _mm256_madd_epi16(x, w.columns_4));
  }
  // As assembly: GCC would put sums into other registers, run out of them and keep some in memory.
  static void add(__m256i& sum, __m256i products) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products)); }
};

}  // namespace
