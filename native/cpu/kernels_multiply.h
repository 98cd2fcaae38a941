// The matrix product every dense operation is made of, tile by tile. The last tile of an odd number of rows is a
// smaller one: each sum is the same chain of additions in any tile.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_step_tile.h"
#include "cpu/kernels_tile.h"

namespace {

using mask_predict::WeightType;
using mask_predict::cpu::Epilogue;
using mask_predict::cpu::group_columns;
using mask_predict::cpu::inputs_together;

template <int Rows, int Vectors, class Weight>
void tile_of(const MultiplyTask& t, int64_t row, int rows, int column, Prefetch& prefetch) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return tile_of<Rows - 1, Vectors, Weight>(t, row, rows, column, prefetch);
  }
  float* sums = t.sums + row * t.sums_stride + column;
  if constexpr (Weight::steps) {
    step_tile<Rows, Vectors, Weight>(t, row, column, sums, prefetch);
  } else {
    const auto* group = static_cast<const typename Weight::Element*>(t.group) + column * Weight::together;
    tile<Rows, Vectors, Weight>(static_cast<const float*>(t.input) + row * t.input_stride, t.input_stride, group,
                                t.columns, t.inner, sums, t.sums_stride, t.accumulate, prefetch);
  }
}

// One row of the result; all but the last group have a number of columns that is known here.
inline void apply_row(const Epilogue& e, const float* sums, int64_t row, int columns) {
  for (int c = 0; c < columns; c += Vector::lanes) {
    const int count = columns - c < Vector::lanes ? columns - c : Vector::lanes;
    Vector x = Vector::load(sums + c);
    if (e.bias != nullptr) x = x + Vector::load(e.bias + c);
    if (e.gelu) x = gelu(x);
    if (e.residual != nullptr) x = x + Vector::load(e.residual + row * e.residual_stride + c, count);
    x.store(e.result + row * e.result_stride + c, count);
  }
}

inline void apply_gate(const Epilogue& e, const float* sums, int64_t row) {
  for (int c = 0; c < e.columns; c += Vector::lanes) {
    const int count = e.columns - c < Vector::lanes ? e.columns - c : Vector::lanes;
    const Vector gated = gelu(Vector::load(sums + c, count)) * Vector::load(sums + e.columns + c, count);
    gated.store(e.result + row * e.result_stride + c, count);
  }
}

void apply(const Epilogue& e, const float* sums, int64_t stride, int64_t first_row, int64_t rows) {
  if (e.gate)
    for (int64_t r = 0; r < rows; r++) apply_gate(e, sums + r * stride, first_row + r);
  else if (e.columns == group_columns)
    for (int64_t r = 0; r < rows; r++) apply_row(e, sums + r * stride, first_row + r, group_columns);
  else
    for (int64_t r = 0; r < rows; r++) apply_row(e, sums + r * stride, first_row + r, e.columns);
}

template <class Weight>
void multiply_with(const MultiplyTask& t) {
  // Tiles of nearly equal height: 30 rows are 8 + 8 + 7 + 7, not 8 + 8 + 8 + 6.
  const int64_t tiles = (t.rows + Weight::tile_rows - 1) / Weight::tile_rows;
  constexpr int most = Weight::tile_vectors * Vector::lanes, least = Weight::least_vectors * Vector::lanes;
  const bool whole = t.columns % most == 0;
  const int passes = t.columns / (whole ? most : least);
  Prefetch prefetch(t, tiles * passes * (Weight::steps ? t.inner / inputs_together(t.type) : t.inner));
  int64_t row = 0;
  for (int64_t i = 0; i < tiles; i++) {
    const int rows = static_cast<int>((t.rows - row + (tiles - i) - 1) / (tiles - i));
    for (int pass = 0; pass < passes; pass++) {
      if (whole)
        tile_of<Weight::tile_rows, Weight::tile_vectors, Weight>(t, row, rows, pass * most, prefetch);
      else
        tile_of<Weight::tile_rows, Weight::least_vectors, Weight>(t, row, rows, pass * least, prefetch);
    }
    if (t.epilogue != nullptr) apply(*t.epilogue, t.sums + row * t.sums_stride, t.sums_stride, row, rows);
    row += rows;
  }
}

// `Pairs` multiplies bfloat16 by bfloat16; where the set cannot, it is WeightBF16.
template <class Bytes, class Pairs = WeightBF16>
void multiply(const MultiplyTask& t) {
  switch (t.type) {
    case WeightType::F32: return multiply_with<WeightF32>(t);
    case WeightType::F16: return multiply_with<WeightF16>(t);
    case WeightType::BF16: return t.rounded ? multiply_with<Pairs>(t) : multiply_with<WeightBF16>(t);
    case WeightType::I8: return multiply_with<ByteSteps<Bytes>>(t);
    case WeightType::F8: break;  // not on the CPU
  }
}

template <class Weight>
float dot_with(const float* input, const void* weights, int64_t stride, int64_t inner) {
  const auto* w = static_cast<const typename Weight::Element*>(weights);
  float sum = 0;
  constexpr int together = Weight::together;
  for (int64_t k = 0; k < inner; k++)
    sum = multiply_add(input[k], Weight::value(w[k / together * together * stride + k % together]), sum);
  return sum;
}

float dot(const float* input, const void* weights, WeightType type, int64_t stride, int64_t inner) {
  switch (type) {
    case WeightType::F32: return dot_with<WeightF32>(input, weights, stride, inner);
    case WeightType::F16: return dot_with<WeightF16>(input, weights, stride, inner);
    case WeightType::BF16: return dot_with<WeightBF16>(input, weights, stride, inner);
    case WeightType::I8:
    case WeightType::F8: break;
  }
  return __builtin_nanf("");
}

}  // namespace
