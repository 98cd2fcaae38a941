// Softmax, LayerNorm, sums, other order and rotation of rows.
#pragma once

#include <cstdint>

#include "cpu/kernels_math.h"

namespace {

inline float largest_of(const float* row, int64_t count) {
  Vector most = Vector::all(row[0]);
  int64_t k = 0;
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
    for (int64_t i = 0; i < keys; i += Vector::lanes) {
      const int count = keys - i < Vector::lanes ? static_cast<int>(keys - i) : Vector::lanes;
      exponential(multiply_add(Vector::load(row + i, count), factor, offset)).store(row + i, count);
      sums = sums + Vector::load(row + i, count);
    }
    const Vector inverse = Vector::all(1.0f / sums.sum());
    for (int64_t i = 0; i < keys; i += Vector::lanes) {
      const int count = keys - i < Vector::lanes ? static_cast<int>(keys - i) : Vector::lanes;
      (Vector::load(row + i, count) * inverse).store(row + i, count);
    }
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
    for (int64_t i = 0; i < width; i += Vector::lanes) {
      const int count = width - i < Vector::lanes ? static_cast<int>(width - i) : Vector::lanes;
      sums = sums + Vector::load(x + i, count);
    }
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
    for (i = 0; i < width; i += Vector::lanes) {
      const int count = width - i < Vector::lanes ? static_cast<int>(width - i) : Vector::lanes;
      const Vector normal = (Vector::load(x + i, count) - mean) * factor;
      if constexpr (Shifted)
        multiply_add(normal, Vector::load(gain + i, count), Vector::load(shift + i, count)).store(y + i, count);
      else
        (normal * Vector::load(gain + i, count)).store(y + i, count);
    }
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
    for (int64_t i = 0; i < width; i += Vector::lanes) {
      const int count = width - i < Vector::lanes ? static_cast<int>(width - i) : Vector::lanes;
      Vector::load(input + r * stride + i, count).store(output + r * output_stride + i, count);
    }
  }
}

void add(float* sum, const float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += Vector::lanes) {
    const int count = width - i < Vector::lanes ? static_cast<int>(width - i) : Vector::lanes;
    (Vector::load(sum + i, count) + Vector::load(row + i, count)).store(sum + i, count);
  }
}

void rotate(float* row, int64_t heads, int64_t half, const float* cosines) {
  for (int64_t head = 0; head < heads; head++, row += 2 * half)
    for (int64_t i = 0; i < half; i += Vector::lanes) {
      const int count = half - i < Vector::lanes ? static_cast<int>(half - i) : Vector::lanes;
      const Vector x = Vector::load(row + i, count), y = Vector::load(row + half + i, count);
      const Vector cosine = Vector::load(cosines + i, count), sine = Vector::load(cosines + half + i, count);
      multiply_add(Vector::zero() - y, sine, x * cosine).store(row + i, count);
      multiply_add(x, sine, y * cosine).store(row + half + i, count);
    }
}

void exponentials(float* values, int64_t count, float largest, float inverse_temperature) {
  const Vector offset = Vector::all(largest), factor = Vector::all(inverse_temperature);
  for (int64_t i = 0; i < count; i += Vector::lanes) {
    const int n = count - i < Vector::lanes ? static_cast<int>(count - i) : Vector::lanes;
    exponential((Vector::load(values + i, n) - offset) * factor).store(values + i, n);
  }
}

}  // namespace
