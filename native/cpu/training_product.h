// The matrix product of training: result (+)= op(A) . op(B), both packed into panels first, so that the innermost loop
// reads one after the other. A tile's sums stay in registers over the whole inner dimension of the panels.
#pragma once

#include "cpu/training_kernels.h"

namespace {

constexpr int lanes = Vector::lanes;
// Rows and vectors of a tile: accumulators, a row of B and one element of A fill the registers.
constexpr int tile_rows = lanes == 16 ? 12 : lanes == 8 ? 6 : 4;
constexpr int tile_vectors = 2;
constexpr int tile_columns = tile_vectors * lanes;
static_assert(tile_rows <= lanes, "a column of a tile is one vector");

inline int at_most(int64_t count, int most) { return count < most ? static_cast<int>(count) : most; }

// A step of a panel has one float32 here; training_avx512.cpp has the steps of two bfloat16.
struct FloatSteps {
  static constexpr int together = 1;  // values of the inner dimension in a step
  // One step of `count` neighbours, from the inner dimension's value `first` and, where there are two, `second`, which is
  // nullptr behind the last.
  static Vector across(const float* first, const float*, int count) { return Vector::load(first, count); }
  // The steps of one row, up to `lanes` of them, from `values` values; zeros behind.
  static Vector along(const float* from, int64_t values) {
    return values >= lanes ? Vector::load(from) : Vector::load(from, static_cast<int>(values));
  }
  static Vector input(const float* step) { return Vector::all(*step); }
  static Vector multiply_add(Vector input, Vector columns, Vector sums) { return ::multiply_add(input, columns, sums); }
};

template <class Steps>
int64_t steps_of(int64_t inner) {
  return (inner + Steps::together - 1) / Steps::together;
}

// The steps of `rows` rows at `from` (row_stride apart) become a vector for each step. Missing rows are zeros.
template <class Steps>
void load_transposed(const float* from, int64_t row_stride, int rows, int64_t values, Vector (&block)[lanes]) {
  for (int i = 0; i < lanes; i++) block[i] = i < rows ? Steps::along(from + i * row_stride, values) : Vector::zero();
  transpose(block);
}

// Panels that are packed side by side where a row of theirs lies in one piece: more would crowd each other out of the
// first-level cache, into whose sets they fall alike.
constexpr int packed_together = 4;

// Only the first tile_rows lanes of a vector are a panel's row; the others are overwritten by the next one.
inline void store_row(Vector row, float* panel, int64_t step, int64_t steps) {
  if (step + 1 < steps)
    row.store(panel + step * tile_rows);
  else
    row.store(panel + step * tile_rows, tile_rows);
}

template <class Steps>
void pack_rows(const float* a, int64_t row_stride, int64_t inner_stride, int64_t rows, int64_t inner, float* packed) {
  const int64_t steps = steps_of<Steps>(inner), panel = tile_rows * steps;
  if (row_stride == 1) {
    constexpr int64_t together = packed_together * tile_rows;
    for (int64_t first = 0; first < rows; first += together)
      for (int64_t step = 0; step < steps; step++) {
        const int64_t k = step * Steps::together;
        for (int64_t r = first; r < first + together && r < rows; r += tile_rows) {
          const float* const from = a + k * inner_stride + r;
          const float* const second = k + 1 < inner ? from + inner_stride : nullptr;
          store_row(Steps::across(from, second, at_most(rows - r, tile_rows)), packed + r * steps, step, steps);
        }
      }
    return;
  }
  for (int64_t r = 0; r < rows; r += tile_rows, packed += panel)
    for (int64_t step = 0; step < steps; step += lanes) {
      const int64_t k = step * Steps::together;
      Vector block[lanes];
      load_transposed<Steps>(a + r * row_stride + k, row_stride, at_most(rows - r, tile_rows), inner - k, block);
      for (int i = 0; i < at_most(steps - step, lanes); i++) store_row(block[i], packed, step + i, steps);
    }
}

template <class Steps>
void pack_columns(const float* b, int64_t inner_stride, int64_t column_stride, int64_t inner, int64_t columns,
                  float* packed) {
  const int64_t steps = steps_of<Steps>(inner);
  // Counts the columns that a vector from `column` on has: 0 behind the last one.
  const auto left = [&](int64_t column) { return at_most(columns > column ? columns - column : 0, lanes); };
  if (column_stride == 1) {
    constexpr int64_t together = packed_together * tile_columns;
    for (int64_t first = 0; first < columns; first += together)
      for (int64_t step = 0; step < steps; step++) {
        const int64_t k = step * Steps::together;
        for (int64_t c = first; c < first + together && c < columns; c += tile_columns)
          for (int v = 0; v < tile_vectors; v++) {
            const float* const from = b + k * inner_stride + c + v * lanes;
            const float* const second = k + 1 < inner ? from + inner_stride : nullptr;
            const int count = left(c + v * lanes);
            (count > 0 ? Steps::across(from, second, count) : Vector::zero())
                .store(packed + c * steps + step * tile_columns + v * lanes);
          }
      }
    return;
  }
  for (int64_t c = 0; c < columns; c += tile_columns, packed += tile_columns * steps)
    for (int v = 0; v < tile_vectors; v++) {
      const int64_t first = c + v * lanes;
      for (int64_t step = 0; step < steps; step += lanes) {
        const int64_t k = step * Steps::together;
        Vector block[lanes];
        load_transposed<Steps>(b + first * column_stride + k, column_stride, left(first), inner - k, block);
        for (int i = 0; i < at_most(steps - step, lanes); i++)
          block[i].store(packed + v * lanes + (step + i) * tile_columns);
      }
    }
}

template <class Steps>
void multiply_tile(const float* a, const float* b, int64_t steps, float* result, int64_t stride, bool accumulate) {
  // The result of a large product lies in memory, and is wanted when the sums are done.
  for (int r = 0; r < tile_rows; r++)
    for (int v = 0; v < tile_vectors; v++) __builtin_prefetch(result + r * stride + v * lanes, 1);
  Vector sums[tile_rows][tile_vectors];
#pragma GCC unroll 12
  for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) sums[r][v] = Vector::zero();
  for (int64_t step = 0; step < steps; step++, a += tile_rows, b += tile_columns) {
    Vector columns[tile_vectors];
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) columns[v] = Vector::load(b + v * lanes);
#pragma GCC unroll 12
    for (int r = 0; r < tile_rows; r++) {
      const Vector x = Steps::input(a + r);
#pragma GCC unroll 2
      for (int v = 0; v < tile_vectors; v++) sums[r][v] = Steps::multiply_add(x, columns[v], sums[r][v]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) {
      float* const to = result + r * stride + v * lanes;
      (accumulate ? Vector::load(to) + sums[r][v] : sums[r][v]).store(to);
    }
}

// A tile that reaches beyond the result is computed whole and copied in part.
template <class Steps>
void multiply_edge(const float* a, const float* b, int64_t steps, int rows, int columns, float* result, int64_t stride,
                   bool accumulate) {
  float tile[tile_rows * tile_columns];
  multiply_tile<Steps>(a, b, steps, tile, tile_columns, false);
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c += lanes) {
      const int count = at_most(columns - c, lanes);
      float* const to = result + r * stride + c;
      const Vector sum = Vector::load(tile + r * tile_columns + c);
      (accumulate ? Vector::load(to, count) + sum : sum).store(to, count);
    }
}

template <class Steps>
void multiply(const float* a, const float* b, int64_t rows, int64_t columns, int64_t inner, float* result,
              int64_t stride, bool accumulate) {
  const int64_t steps = steps_of<Steps>(inner);
  // A panel of B stays in the first-level cache while the panels of A pass it from the second.
  for (int64_t c = 0; c < columns; c += tile_columns, b += tile_columns * steps)
    for (int64_t r = 0; r < rows; r += tile_rows) {
      float* const to = result + r * stride + c;
      if (rows - r >= tile_rows && columns - c >= tile_columns)
        multiply_tile<Steps>(a + r * steps, b, steps, to, stride, accumulate);
      else
        multiply_edge<Steps>(a + r * steps, b, steps, at_most(rows - r, tile_rows), at_most(columns - c, tile_columns),
                             to, stride, accumulate);
    }
}

}  // namespace
