// Code that the dense operations share: the rows of a product in the form that its weight needs, and the task that
// multiplies some of them by one group of the weight's columns.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"
#include "ops/context.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict::cpu {

// Activations [rows, inputs]: float32 as they are, bytes where the weight is bytes, or bfloat16.
struct ProductRows {
  const char* values;
  int64_t stride;       // elements
  int64_t element;      // bytes of one
  const float* scales;  // of bytes: [rows]
};

// True where the product needs activations in another form than float32.
bool narrows_rows(const Context& context, const PackedMatrix& weight);

// Rows are narrowed once for all columns, by all threads; they are good until the next call with the same pool.
ProductRows product_rows(const Context& context, const float* input, int64_t rows, const PackedMatrix& weight);
// The same for a single row of a product that narrows rows, in memory of narrow_row_bytes(context, weight).
ProductRows narrow_row(const Context& context, const float* input, const PackedMatrix& weight, void* memory);
uint64_t narrow_row_bytes(const Context& context, const PackedMatrix& weight);

// Rows first_row ... + count - 1 times inputs first_input ... + inputs - 1 of a group (of bytes: all inputs); the caller
// adds what it wants prefetched, accumulated and done with the sums [count][group_columns].
MultiplyTask product_task(const ProductRows& rows, int64_t first_row, int64_t count, const PackedMatrix& weight,
                          int64_t group, int64_t first_input, int64_t inputs, float* sums);

}  // namespace mask_predict::cpu
