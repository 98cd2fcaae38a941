// Bytes: quantizing rows of activations, and the tile of the matrix product whose sums are 32-bit integers. The set of
// instructions (`Bytes`, from vector_*.h) multiplies unsigned activations by signed weights; the 128 that makes an
// activation unsigned is taken back by beginning each sum at -128 times the sum of the column's weights.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_tile.h"

namespace {

using mask_predict::cpu::bytes_per_step;
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

void quantize(const float* input, int64_t rows, int64_t width, uint8_t* bytes, int64_t stride, float* scales) {
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
    uint8_t* row = bytes + r * stride;
    int64_t i = 0;
    for (; i + Vector::lanes <= width; i += Vector::lanes) (Vector::load(x + i) * factor).store_bytes(row + i);
    for (; i < (width + 15) / 16 * 16; i += Vector::lanes) {
      const int count = i < width ? static_cast<int>(width - i) : 0;
      (Vector::load(x + i, count) * factor).store_bytes(row + i);
    }
  }
}

template <int Rows, int Panels, class Bytes>
void byte_tile(const MultiplyTask& t, int64_t row, int column, float* totals, Prefetch& all) {
  constexpr int vectors = Panels * panel_vectors;
  const auto* input = static_cast<const uint8_t*>(t.input) + row * t.input_stride;
  const auto* b = static_cast<const int8_t*>(t.group) + column * bytes_per_step;
  const int64_t stride = t.input_stride, b_stride = (Panels == 3 ? group_columns : t.columns) * bytes_per_step;
  const uint8_t* const fifth = input + 4 * stride;  // so that two registers reach all rows
  Prefetch prefetch = all;                          // in registers too
  typename Bytes::Sum sums[Rows][vectors];
#pragma GCC unroll 4
  for (int c = 0; c < vectors; c++) {
    const auto begin = Bytes::times_minus_128(t.weight_sums + column + c * Vector::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) sums[r][c] = begin;
  }
  for (int64_t k = 0; k < t.inner; k += bytes_per_step, b += b_stride) {
    prefetch.step();
    typename Bytes::Weights weights[vectors];
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++) weights[c] = Bytes::weights(b + c * Vector::lanes * bytes_per_step);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const typename Bytes::Input x = Bytes::input((r < 4 ? input : fifth) + r % 4 * stride + k);
#pragma GCC unroll 4
      for (int c = 0; c < vectors; c++) Bytes::add_products(sums[r][c], x, weights[c]);
    }
  }
  all = prefetch;
#pragma GCC unroll 4
  for (int c = 0; c < vectors; c++) {
    const Vector scale = Vector::load(t.weight_scales + column + c * Vector::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const Vector product = Vector::all(t.input_scales[row + r]) * scale;
      (Bytes::to_float(sums[r][c]) * product).store(totals + r * t.sums_stride + c * Vector::lanes);
    }
  }
}

}  // namespace
