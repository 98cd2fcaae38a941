// The dense product of training over the loops of training_kernels.h: cut into pieces of the inner dimension, packed,
// and shared among threads.
//
// Each element is a sum of `product_steps` steps at a time, in their order, added up in the order of the pieces: it
// does not depend on the number of threads, nor on the rows and columns beside it.
#pragma once

#include <cstdint>

#include "cpu/thread_pool.h"
#include "cpu/training_kernels.h"

namespace mask_predict::cpu {

// A float32 matrix in row-major order, or its transpose.
struct MatrixView {
  const float* data = nullptr;
  int64_t stride = 0;  // between rows as they lie in memory
  bool transposed = false;

  int64_t row_stride() const { return transposed ? 1 : stride; }
  int64_t column_stride() const { return transposed ? stride : 1; }
};

// result [rows, columns] (+)= a [rows, inner] . b [inner, columns], then += bias; and gelu of that.
struct MatrixProduct {
  MatrixView a{}, b{};
  float* result = nullptr;
  int64_t stride = 0;  // of the result, and of `gelu`
  int64_t rows = 0, columns = 0, inner = 0;
  bool accumulate = false;
  const float* bias = nullptr;  // [columns]
  float* gelu = nullptr;        // [rows, columns]
};

void multiply(ThreadPool& pool, const TrainingKernels& kernels, const MatrixProduct& product);

// The same on the calling thread, for small products inside a loop that is shared already. `scratch` has
// serial_product_floats of the largest sizes.
void multiply_serially(const TrainingKernels& kernels, const MatrixProduct& product, float* scratch);
int64_t serial_product_floats(const TrainingKernels& kernels, int64_t rows, int64_t columns);

}  // namespace mask_predict::cpu
