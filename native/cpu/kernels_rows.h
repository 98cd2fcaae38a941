// Softmax, LayerNorm, sums, other order and rotation of rows.
#pragma once

#include <cstdint>

#include "cpu/kernels_math.h"

namespace {

inline float largest_of(const float* row, int64_t count) {
  Vector most = Vector::all(row[0]), second = most;  // two chains, neither of which waits for the other
  int64_t k = 0;
  for (; k + 2 * Vector::lanes <= count; k += 2 * Vector::lanes) {
    most = larger(most, Vector::load(row + k));
    second = larger(second, Vector::load(row + k + Vector::lanes));
  }
  most = larger(most, second);
  for (; k + Vector::lanes <= count; k += Vector::lanes) most = larger(most, Vector::load(row + k));
  float largest = most.largest();
  for (; k < count; k++) largest = row[k] > largest ? row[k] : largest;
  return largest;
}

void softmax(float* scores, int64_t rows, int64_t stride, int64_t keys, float scale) {
  for (int64_t r = 0; r < rows; r++) {
    float* row = scores + r * stride;
    const float largest = largest_of(row, keys);
    const Vector offset = Vector::all(-largest * scale), factor = Vector::all(scale);
    Vector sums = Vector::zero();
    for_vectors(keys, [&](int64_t i, int n) {
      const Vector x = exponential(multiply_add(Vector::load(row + i, n), factor, offset));
      x.store(row + i, n);
      sums = sums + (n == Vector::lanes ? x : Vector::load(row + i, n));
    });
    const Vector inverse = Vector::all(1.0f / sums.sum());
    for_vectors(keys, [&](int64_t i, int n) { (Vector::load(row + i, n) * inverse).store(row + i, n); });
  }
}

template <class Pairs>
void softmax_pairs(const float* scores, int64_t rows, int64_t stride, int64_t keys, float scale, uint16_t* output,
                   int64_t output_stride, float* inverses) {
  for (int64_t r = 0; r < rows; r++) {
    const float* row = scores + r * stride;
    uint16_t* pairs = output + r * output_stride;
    const Vector offset = Vector::all(-largest_of(row, keys) * scale), factor = Vector::all(scale);
    Vector sums = Vector::zero();
    int64_t i = 0;
    for (; i + Vector::lanes <= keys; i += Vector::lanes) {
      const Vector x = exponential(multiply_add(Vector::load(row + i), factor, offset));
      sums = sums + x;
      Pairs::store(x, pairs + i);
    }
    if (i < keys) {
      const int count = static_cast<int>(keys - i);
      float last[Vector::lanes];
      exponential(multiply_add(Vector::load(row + i, count), factor, offset)).store(last);
      const Vector x = Vector::load(last, count);
      sums = sums + x;
      Pairs::store(x, pairs + i, (count + 1) / 2 * 2);
    }
    inverses[r] = 1.0f / sums.sum();
  }
}

template <bool Shifted>
void layer_norm_with(const float* input, int64_t rows, int64_t width, const float* gain, const float* shift,
                     float epsilon, float* output) {
  const float inverse_width = 1.0f / static_cast<float>(width);
  for (int64_t r = 0; r < rows; r++) {
    const float* x = input + r * width;
    float* y = output + r * width;
    Vector sums = Vector::zero();
    for_vectors(width, [&](int64_t i, int n) { sums = sums + Vector::load(x + i, n); });
    const Vector mean = Vector::all(sums.sum() * inverse_width);
    Vector squares = Vector::zero();
    int64_t i = 0;
    for (; i + Vector::lanes <= width; i += Vector::lanes) {
      const Vector d = Vector::load(x + i) - mean;
      squares = multiply_add(d, d, squares);
    }
    float variance = squares.sum();
    for (; i < width; i++) {
      float d[Vector::lanes];
      mean.store(d);
      variance = multiply_add(x[i] - d[0], x[i] - d[0], variance);
    }
    variance *= inverse_width;
    const Vector factor = Vector::all(1.0f / __builtin_sqrtf(variance + epsilon));
    for_vectors(width, [&](int64_t i, int n) {
      const Vector normal = (Vector::load(x + i, n) - mean) * factor;
      if constexpr (Shifted)
        multiply_add(normal, Vector::load(gain + i, n), Vector::load(shift + i, n)).store(y + i, n);
      else
        (normal * Vector::load(gain + i, n)).store(y + i, n);
    });
  }
}

void layer_norm(const float* input, int64_t rows, int64_t width, const float* gain, const float* shift, float epsilon,
                float* output) {
  if (shift != nullptr)
    layer_norm_with<true>(input, rows, width, gain, shift, epsilon, output);
  else
    layer_norm_with<false>(input, rows, width, gain, shift, epsilon, output);
}

inline void fetch_next(const float* row, int64_t width) {
  for (int64_t i = width; i < 2 * width; i += 16) __builtin_prefetch(row + i, 0, 2);
}

void transpose(const float* input, int64_t rows, int64_t stride, int64_t width, float* output, int64_t output_stride) {
  constexpr int lanes = Vector::lanes;
  for (int64_t r = 0; r < rows; r += lanes) {
    const int count = rows - r < lanes ? static_cast<int>(rows - r) : lanes;
    for (int i = 0; i < count; i++) fetch_next(input + (r + i) * stride, width);
    for (int64_t c = 0; c < width; c += lanes) {
      const int columns = width - c < lanes ? static_cast<int>(width - c) : lanes;
      Vector block[lanes];
      for (int i = 0; i < lanes; i++)
        block[i] = i < count ? Vector::load(input + (r + i) * stride + c, columns) : Vector::zero();
      transpose(block);
      for (int i = 0; i < columns; i++) block[i].store(output + (c + i) * output_stride + r, count);
    }
  }
}

void copy_rows(const float* input, int64_t rows, int64_t stride, int64_t width, float* output, int64_t output_stride) {
  for (int64_t r = 0; r < rows; r++) {
    fetch_next(input + r * stride, width);
    const float* from = input + r * stride;
    float* to = output + r * output_stride;
    for_vectors(width, [&](int64_t i, int n) { Vector::load(from + i, n).store(to + i, n); });
  }
}

void add(float* sum, const float* row, int64_t width) {
  for_vectors(width,
              [&](int64_t i, int n) { (Vector::load(sum + i, n) + Vector::load(row + i, n)).store(sum + i, n); });
}

void rotate(float* row, int64_t heads, int64_t half, const float* cosines) {
  for (int64_t head = 0; head < heads; head++, row += 2 * half)
    for_vectors(half, [&](int64_t i, int n) {
      const Vector x = Vector::load(row + i, n), y = Vector::load(row + half + i, n);
      const Vector cosine = Vector::load(cosines + i, n), sine = Vector::load(cosines + half + i, n);
      multiply_add(Vector::zero() - y, sine, x * cosine).store(row + i, n);
      multiply_add(x, sine, y * cosine).store(row + half + i, n);
    });
}

void exponentials(float* values, int64_t count, float largest, float inverse_temperature) {
  const Vector offset = Vector::all(largest), factor = Vector::all(inverse_temperature);
  for_vectors(count, [&](int64_t i, int n) {
    exponential((Vector::load(values + i, n) - offset) * factor).store(values + i, n);
  });
}

}  // namespace
