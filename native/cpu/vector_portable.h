// Four floats in the vector type of GCC and Clang, which becomes whatever the baseline of the machine has.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstdint>
#include <cstring>

namespace {

inline float bits_to_float(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// IEEE half precision: shifting exponent and mantissa into place and multiplying by 2^112 is exact, subnormal
// halves included; only infinity and NaN need their exponent set.
inline float half_to_float(uint16_t h) {
  const uint32_t magnitude = h & 0x7fffu;
  const float scaled = bits_to_float(magnitude << 13) * bits_to_float((127u + 112u) << 23);
  uint32_t bits;
  std::memcpy(&bits, &scaled, sizeof bits);
  if (magnitude >= 0x7c00u) bits = 0x7f800000u | (magnitude << 13);
  return bits_to_float(bits | (static_cast<uint32_t>(h & 0x8000u) << 16));
}

struct Vector {
  static constexpr int lanes = 4;
  static constexpr int tile_rows = 2;  // 2 x 4 accumulators, 4 of B and one of A: 13 of 16 registers
  static constexpr int tile_vectors = 4;
  using Lanes = float __attribute__((vector_size(16)));
  Lanes v;

  static Vector zero() { return {Lanes{0, 0, 0, 0}}; }
  static Vector all(float x) { return {Lanes{x, x, x, x}}; }
  static Vector load(const float* p) {
    Vector r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  static Vector load(const float* p, int count) {
    Vector r = zero();
    for (int i = 0; i < count && i < lanes; i++) r.v[i] = p[i];
    return r;
  }
  // The first or the second of each of 4 pairs.
  static Vector load_bf16(const uint16_t* p, bool second) {
    Vector r;
    for (int i = 0; i < lanes; i++) r.v[i] = bits_to_float(static_cast<uint32_t>(p[2 * i + second]) << 16);
    return r;
  }
  static Vector load_fp16(const uint16_t* p) {
    Vector r;
    for (int i = 0; i < lanes; i++) r.v[i] = half_to_float(p[i]);
    return r;
  }
  void store(float* p) const { std::memcpy(p, &v, sizeof v); }
  void store(float* p, int count) const {
    for (int i = 0; i < count && i < lanes; i++) p[i] = v[i];
  }
  // The nearest integers, from -127 to 127, as signed bytes XOR `flip`; anything for NaN.
  void store_bytes(uint8_t* p, uint8_t flip) const;
  // `scale` where one of 4 numbers of 16 bits is at least `threshold`, else 0.
  static Vector kept(const uint16_t* p, uint32_t threshold, float scale) {
    Vector r;
    for (int i = 0; i < lanes; i++) r.v[i] = p[i] >= threshold ? scale : 0.0f;
    return r;
  }
  float sum() const { return (v[0] + v[1]) + (v[2] + v[3]); }
  float largest() const {
    float m = v[0];
    for (int i = 1; i < lanes; i++) m = v[i] > m ? v[i] : m;
    return m;
  }
};

inline Vector operator+(Vector a, Vector b) { return {a.v + b.v}; }
inline Vector operator-(Vector a, Vector b) { return {a.v - b.v}; }
inline Vector operator*(Vector a, Vector b) { return {a.v * b.v}; }
inline Vector operator/(Vector a, Vector b) { return {a.v / b.v}; }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return {a.v * b.v + c.v}; }
// Where one is not a number: the second.
inline Vector larger(Vector a, Vector b) { return {a.v > b.v ? a.v : b.v}; }
inline Vector smaller(Vector a, Vector b) { return {a.v < b.v ? a.v : b.v}; }
inline bool any_above(Vector a, Vector b) {
  const auto above = a.v > b.v;
  return (above[0] | above[1] | above[2] | above[3]) != 0;
}
inline Vector square_root(Vector a) {
  Vector r;
  for (int i = 0; i < Vector::lanes; i++) r.v[i] = __builtin_sqrtf(a.v[i]);
  return r;
}
// Adding 1.5 * 2^23 leaves the nearest integer in the low bits; good below 2^22.
inline Vector nearest_integer(Vector a) {
  const Vector shift = Vector::all(12582912.0f);
  return (a + shift) - shift;
}
// x times 2 to the power of an integral value in -126 ... 127.
inline Vector times_power_of_two(Vector x, Vector n) {
  Vector r;
  for (int i = 0; i < Vector::lanes; i++)
    r.v[i] = x.v[i] * bits_to_float(static_cast<uint32_t>(static_cast<int32_t>(n.v[i]) + 127) << 23);
  return r;
}
inline float multiply_add(float a, float b, float c) { return a * b + c; }

inline void Vector::store_bytes(uint8_t* p, uint8_t flip) const {
  const Vector limited = larger(smaller(nearest_integer(*this), all(127)), all(-127));
  for (int i = 0; i < lanes; i++) p[i] = static_cast<uint8_t>(static_cast<int32_t>(limited.v[i]) ^ flip);
}

// One 32-bit word in the low half of 64 bits; what the high half holds is nobody's business.
struct Words {
  static constexpr int count = 1;
  uint64_t v;

  static Words all(uint32_t x) { return {x}; }
  static Words rising(uint32_t first) { return {first}; }
  // The 64 bits of a product; its high word as a word.
  friend Words operator*(Words a, uint32_t b) { return {static_cast<uint64_t>(static_cast<uint32_t>(a.v)) * b}; }
  Words high() const { return {v >> 32}; }
  friend Words operator^(Words a, Words b) { return {a.v ^ b.v}; }
  static void store(Words a, Words b, Words c, Words d, uint32_t* to) {
    to[0] = static_cast<uint32_t>(a.v);
    to[1] = static_cast<uint32_t>(b.v);
    to[2] = static_cast<uint32_t>(c.v);
    to[3] = static_cast<uint32_t>(d.v);
  }
};

// Rows become columns.
inline void transpose(Vector (&rows)[4]) {
  for (int r = 0; r < 4; r++)
    for (int c = r + 1; c < 4; c++) {
      const float other = rows[r].v[c];
      rows[r].v[c] = rows[c].v[r];
      rows[c].v[r] = other;
    }
}

// Sums of products of bytes, four to a lane: even and odd bytes apart as 16-bit numbers. A product is at most 127 * 127, so
// that two of them fit into 16 bits: 16-bit products are what every baseline multiplies quickly, 32-bit ones are not.
// x86-64's has an instruction that adds two of them up in 32 bits.
struct PlainBytes {
  using Sum = int32_t __attribute__((vector_size(16)));
  using Halves = int16_t __attribute__((vector_size(16)));
  using Words = uint16_t __attribute__((vector_size(16)));
  struct Weights {
    Halves even, odd;  // of each column the first byte and the third, the second and the fourth
  };
  using Input = Weights;
  static constexpr int tile_rows = 2;
  static constexpr int tile_vectors = 4, least_vectors = 4;
  static constexpr int inputs_together = 4;
  static constexpr uint8_t flip = 0, input_bytes = 1;
  static void store_steps(Vector x, uint8_t* p) { x.store_bytes(p, flip); }
  static Sum first_sum(const int32_t*) { return Sum{0, 0, 0, 0}; }
  static Vector to_float(Sum sum) { return {__builtin_convertvector(sum, Vector::Lanes)}; }
  static Weights split(Halves pairs) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bytes lie in memory as a little-endian machine reads them"
#endif
    return {reinterpret_cast<Halves>(reinterpret_cast<Words>(pairs) << 8) >> 8, pairs >> 8};
  }
  static Weights weights(const int8_t* p) {
    Halves pairs;
    std::memcpy(&pairs, p, sizeof pairs);
    return split(pairs);
  }
  static Input input(const uint8_t* p) {
    uint32_t bits;
    std::memcpy(&bits, p, sizeof bits);
    using Bits = uint32_t __attribute__((vector_size(16)));
    return split(reinterpret_cast<Halves>(Bits{bits, bits, bits, bits}));
  }
  static void add_products(Sum& sum, const Input& x, const Weights& w) {
#if defined(__SSE2__)
    const auto pairs = [](Halves a, Halves b) {
      return reinterpret_cast<Sum>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
    };
    sum += pairs(x.even, w.even) + pairs(x.odd, w.odd);
#else
    const Sum pairs = reinterpret_cast<Sum>(x.even * w.even + x.odd * w.odd);
    using Bits = uint32_t __attribute__((vector_size(16)));
    sum += reinterpret_cast<Sum>(reinterpret_cast<Bits>(pairs) << 16) >> 16;
    sum += pairs >> 16;
#endif
  }
};

}  // namespace
