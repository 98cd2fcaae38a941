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

// One vector of rows at `rows` (row_stride apart), `steps` elements of each (at most lanes), becomes a vector for each
// element. Missing rows are zeros.
inline void load_transposed(const float* from, int64_t row_stride, int rows, int steps, Vector (&block)[lanes]) {
  for (int i = 0; i < lanes; i++)
    block[i] = i < rows
                   ? (steps == lanes ? Vector::load(from + i * row_stride) : Vector::load(from + i * row_stride, steps))
                   : Vector::zero();
  transpose(block);
}

// Panels that are packed side by side where a row of theirs lies in one piece: more would crowd each other out of the
// first-level cache, into whose sets they fall alike.
constexpr int packed_together = 4;

// Only the first tile_rows lanes of a vector are a panel's row; the others are overwritten by the next one.
inline void store_row(Vector row, float* panel, int64_t k, int64_t inner) {
  if (k + 1 < inner)
    row.store(panel + k * tile_rows);
  else
    row.store(panel + k * tile_rows, tile_rows);
}

void pack_rows(const float* a, int64_t row_stride, int64_t inner_stride, int64_t rows, int64_t inner, float* packed) {
  const int64_t panel = tile_rows * inner;
  if (row_stride == 1) {
    constexpr int64_t together = packed_together * tile_rows;
    for (int64_t first = 0; first < rows; first += together)
      for (int64_t k = 0; k < inner; k++)
        for (int64_t r = first; r < first + together && r < rows; r += tile_rows)
          store_row(Vector::load(a + k * inner_stride + r, at_most(rows - r, tile_rows)), packed + r * inner, k, inner);
    return;
  }
  for (int64_t r = 0; r < rows; r += tile_rows, packed += panel)
    for (int64_t k = 0; k < inner; k += lanes) {
      const int steps = at_most(inner - k, lanes);
      Vector block[lanes];
      load_transposed(a + r * row_stride + k, row_stride, at_most(rows - r, tile_rows), steps, block);
      for (int i = 0; i < steps; i++) store_row(block[i], packed, k + i, inner);
    }
}

// One vector of a row of B, zeros beyond its end.
inline Vector load_columns(const float* row, int64_t column, int64_t columns) {
  if (columns - column >= lanes) return Vector::load(row + column);
  return columns > column ? Vector::load(row + column, static_cast<int>(columns - column)) : Vector::zero();
}

void pack_columns(const float* b, int64_t inner_stride, int64_t column_stride, int64_t inner, int64_t columns,
                  float* packed) {
  if (column_stride == 1) {
    constexpr int64_t together = packed_together * tile_columns;
    for (int64_t first = 0; first < columns; first += together)
      for (int64_t k = 0; k < inner; k++)
        for (int64_t c = first; c < first + together && c < columns; c += tile_columns)
          for (int v = 0; v < tile_vectors; v++)
            load_columns(b + k * inner_stride, c + v * lanes, columns)
                .store(packed + c * inner + k * tile_columns + v * lanes);
    return;
  }
  for (int64_t c = 0; c < columns; c += tile_columns, packed += tile_columns * inner)
    for (int v = 0; v < tile_vectors; v++) {
      const int64_t first = c + v * lanes;
      const int count = at_most(columns - first > 0 ? columns - first : 0, lanes);
      for (int64_t k = 0; k < inner; k += lanes) {
        const int steps = at_most(inner - k, lanes);
        Vector block[lanes];
        load_transposed(b + first * column_stride + k, column_stride, count, steps, block);
        for (int i = 0; i < steps; i++) block[i].store(packed + v * lanes + (k + i) * tile_columns);
      }
    }
}

void multiply_tile(const float* a, const float* b, int64_t inner, float* result, int64_t stride, bool accumulate) {
  Vector sums[tile_rows][tile_vectors];
#pragma GCC unroll 12
  for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) sums[r][v] = Vector::zero();
  for (int64_t k = 0; k < inner; k++, a += tile_rows, b += tile_columns) {
    Vector columns[tile_vectors];
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; v++) columns[v] = Vector::load(b + v * lanes);
#pragma GCC unroll 12
    for (int r = 0; r < tile_rows; r++) {
      const Vector x = Vector::all(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < tile_vectors; v++) sums[r][v] = multiply_add(x, columns[v], sums[r][v]);
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
void multiply_edge(const float* a, const float* b, int64_t inner, int rows, int columns, float* result, int64_t stride,
                   bool accumulate) {
  float tile[tile_rows * tile_columns];
  multiply_tile(a, b, inner, tile, tile_columns, false);
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c += lanes) {
      const int count = at_most(columns - c, lanes);
      float* const to = result + r * stride + c;
      const Vector sum = Vector::load(tile + r * tile_columns + c);
      (accumulate ? Vector::load(to, count) + sum : sum).store(to, count);
    }
}

void multiply(const float* a, const float* b, int64_t rows, int64_t columns, int64_t inner, float* result,
              int64_t stride, bool accumulate) {
  // A panel of B stays in the first-level cache while the panels of A pass it from the second.
  for (int64_t c = 0; c < columns; c += tile_columns, b += tile_columns * inner)
    for (int64_t r = 0; r < rows; r += tile_rows) {
      float* const to = result + r * stride + c;
      if (rows - r >= tile_rows && columns - c >= tile_columns)
        multiply_tile(a + r * inner, b, inner, to, stride, accumulate);
      else
        multiply_edge(a + r * inner, b, inner, at_most(rows - r, tile_rows), at_most(columns - c, tile_columns), to,
                      stride, accumulate);
    }
}

}  // namespace
