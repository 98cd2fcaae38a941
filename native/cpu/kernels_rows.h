// Softmax, LayerNorm and sums of rows. Included after kernels_math.h.
#pragma once

#include <cstdint>

namespace {

void softmax(float* scores, int64_t rows, int64_t stride, int64_t keys, float scale) {
  for (int64_t r = 0; r < rows; r++) {
    float* row = scores + r * stride;
    float largest = row[0];
    for (int64_t i = 1; i < keys; i++) largest = row[i] > largest ? row[i] : largest;
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

void layer_norm(const float* input, int64_t rows, int64_t width, const float* gain, const float* shift,
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
      multiply_add(normal, Vector::load(gain + i, count), Vector::load(shift + i, count)).store(y + i, count);
    }
  }
}

void add(float* sum, const float* row, int64_t width) {
  for (int64_t i = 0; i < width; i += Vector::lanes) {
    const int count = width - i < Vector::lanes ? static_cast<int>(width - i) : Vector::lanes;
    (Vector::load(sum + i, count) + Vector::load(row + i, count)).store(sum + i, count);
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
