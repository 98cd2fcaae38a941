// Narrow numbers: quantizing rows of activations, and the tile of the matrix product that takes four bytes of a row at a
// time (`Steps`, from vector_*.h). They are
// - four activations by four weights that are bytes, whose sums are 32-bit integers. Where a set multiplies unsigned
//   activations, the 128 that makes them so is taken back by beginning each sum at -128 times the sum of the column's
//   weights;
// - or two bfloat16 by two, whose sums are float32.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_tile.h"

namespace {

using mask_predict::cpu::group_columns;

// The range of a row, found before it is quantized.
struct Range {
  Vector most = Vector::zero(), least = Vector::zero();
  Vector nothing = Vector::zero();  // 0 * x: NaN if x is not a finite number
  void add(Vector x) {
    most = larger(most, x);
    least = smaller(least, x);
    nothing = multiply_add(x, Vector::zero(), nothing);
  }
  void add(const Range& other) {
    most = larger(most, other.most);
    least = smaller(least, other.least);
    nothing = nothing + other.nothing;
  }
};

template <class Bytes>
void quantize(const float* input, int64_t rows, int64_t width, void* steps, int64_t stride, float* scales) {
  for (int64_t r = 0; r < rows; r++) {
    const float* x = input + r * width;
    Range range, second;  // two chains, neither of which waits for the other
    int64_t at = 0;
    for (; at + 2 * Vector::lanes <= width; at += 2 * Vector::lanes) {
      range.add(Vector::load(x + at));
      second.add(Vector::load(x + at + Vector::lanes));
    }
    for (; at < width; at += Vector::lanes)
      range.add(Vector::load(x + at, width - at < Vector::lanes ? static_cast<int>(width - at) : Vector::lanes));
    range.add(second);
    const float largest = larger(range.most, Vector::zero() - range.least).largest();
    scales[r] = largest / 127.0f + range.nothing.sum();
    // A row of zeros or of values that small: 127 / largest has no float, and any factor does.
    const float inverse = 127.0f / largest;
    const Vector factor = Vector::all(inverse < __FLT_MAX__ ? inverse : __FLT_MAX__);
    auto* row = static_cast<uint8_t*>(steps) + r * stride * Bytes::input_bytes;
    int64_t i = 0;
    for (; i + Vector::lanes <= width; i += Vector::lanes)
      Bytes::store_steps(Vector::load(x + i) * factor, row + i * Bytes::input_bytes);
    for (; i < (width + 15) / 16 * 16; i += Vector::lanes) {
      const int count = i < width ? static_cast<int>(width - i) : 0;
      Bytes::store_steps(Vector::load(x + i, count) * factor, row + i * Bytes::input_bytes);
    }
  }
}

// How sums of bytes begin and end, over a set's products of them.
template <class Bytes>
struct ByteSteps : Bytes {
  static constexpr bool steps = true;
  static typename Bytes::Sum begin(const MultiplyTask& t, int column, const float*) {
    return Bytes::first_sum(t.weight_sums + column);
  }
  static Vector end(const MultiplyTask& t, int64_t row, int column, typename Bytes::Sum sum) {
    return Bytes::to_float(sum) * (Vector::all(t.input_scales[row]) * Vector::load(t.weight_scales + column));
  }
};

template <int Rows, int Vectors, class Steps>
__attribute__((noinline)) void step_tile(const MultiplyTask& t, int64_t row, int column, float* totals, Prefetch& all) {
  constexpr int weight_bytes = 4, step_bytes = Steps::inputs_together * Steps::input_bytes;
  const int64_t stride = t.input_stride * Steps::input_bytes;
  const auto* input = static_cast<const uint8_t*>(t.input) + row * stride;
  const auto* b = static_cast<const int8_t*>(t.group) + column * weight_bytes;
  const int64_t b_stride = (Vectors * Vector::lanes == group_columns ? group_columns : t.columns) * weight_bytes;
  const int64_t bytes = t.inner * Steps::input_bytes;
  const uint8_t* const fifth = input + 4 * stride;  // so that two registers reach all rows
  Prefetch prefetch = all;                          // in registers too
  typename Steps::Sum sums[Rows][Vectors];
#pragma GCC unroll 4
  for (int c = 0; c < Vectors; c++)
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
      sums[r][c] = Steps::begin(t, column + c * Vector::lanes, totals + r * t.sums_stride + c * Vector::lanes);
  for (int64_t k = 0; k < bytes; k += step_bytes, b += b_stride) {
    prefetch.step();
    typename Steps::Weights weights[Vectors];
#pragma GCC unroll 4
    for (int c = 0; c < Vectors; c++) weights[c] = Steps::weights(b + c * Vector::lanes * weight_bytes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const typename Steps::Input x = Steps::input((r < 4 ? input : fifth) + r % 4 * stride + k);
#pragma GCC unroll 4
      for (int c = 0; c < Vectors; c++) Steps::add_products(sums[r][c], x, weights[c]);
    }
  }
  all = prefetch;
#pragma GCC unroll 4
  for (int c = 0; c < Vectors; c++)
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++)
      Steps::end(t, row + r, column + c * Vector::lanes, sums[r][c])
          .store(totals + r * t.sums_stride + c * Vector::lanes);
}

}  // namespace
