// Rows as vectors; exp and erf of them. The file that includes this has included one of vector_*.h before.
#pragma once

#include <cstdint>

namespace {

// Calls body(i, n) on a row's values i ... i + n - 1, a vector of them at a time. All but the last are whole vectors, and
// the compiler knows it: a load of what was just stored with a mask would wait until the store has reached the cache.
template <class Body>
inline __attribute__((always_inline)) void for_vectors(int64_t width, const Body& body) {
  int64_t i = 0;
  for (; i + Vector::lanes <= width; i += Vector::lanes) body(i, Vector::lanes);
  if (i < width) body(i, static_cast<int>(width - i));
}

// exp(x) for x <= 88, relative error below 2e-7 and exactly 1 at 0; results below 2^-126 come out as about 2^-126. NaN
// stays NaN. x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) by the polynomial of degree 5 whose largest relative error is
// least (9.2e-8; 1.6e-7 as float32 computes it).
inline Vector exponential(Vector x) {
  x = larger(Vector::all(-87.0f), x);
  const Vector n = nearest_integer(x * Vector::all(1.44269504f));
  Vector r = multiply_add(n, Vector::all(-0.693359375f), x);  // ln 2 in two parts, the first exact in 9 bits
  r = multiply_add(n, Vector::all(2.12194440e-4f), r);
  Vector p = Vector::all(0.0082903066650033f);
  p = multiply_add(p, r, Vector::all(0.0418979749083519f));
  p = multiply_add(p, r, Vector::all(0.1666763722896576f));
  p = multiply_add(p, r, Vector::all(0.4999915063381195f));
  p = multiply_add(p, r, Vector::all(0.9999997019767761f));
  p = multiply_add(p, r, Vector::all(1.0f));
  return times_power_of_two(p, n);
}

// erf(x), absolute error below 4e-7: a rational minimax approximation on [-4, 4], beyond which erf is 1 to
// float precision. NaN stays NaN.
inline Vector error_function(Vector x) {
  x = larger(Vector::all(-4.0f), smaller(Vector::all(4.0f), x));
  const Vector z = x * x;
  Vector p = Vector::all(-2.72614225801306e-10f);
  p = multiply_add(p, z, Vector::all(2.77068142495902e-08f));
  p = multiply_add(p, z, Vector::all(-2.10102402082508e-06f));
  p = multiply_add(p, z, Vector::all(-5.69250639462346e-05f));
  p = multiply_add(p, z, Vector::all(-7.34990630326855e-04f));
  p = multiply_add(p, z, Vector::all(-2.95459980854025e-03f));
  p = multiply_add(p, z, Vector::all(-1.60960333262415e-02f));
  Vector q = Vector::all(-1.45660718464996e-05f);
  q = multiply_add(q, z, Vector::all(-2.13374055278905e-04f));
  q = multiply_add(q, z, Vector::all(-1.68282697438203e-03f));
  q = multiply_add(q, z, Vector::all(-7.37332916720468e-03f));
  q = multiply_add(q, z, Vector::all(-1.42647390514189e-02f));
  return x * p / q;
}

// x/2 (1 + erf(x / sqrt 2)): the exact form, not the tanh approximation.
inline Vector gelu(Vector x) {
  const Vector half = Vector::all(0.5f) * x;
  return multiply_add(half, error_function(x * Vector::all(0.707106781f)), half);
}

}  // namespace
