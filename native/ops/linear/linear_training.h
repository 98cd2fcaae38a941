// linear, forward and backward. Y = X . Wᵀ + b with W [outputs, inputs], and where asked G = gelu(Y).
//
// Backward, with D the gradient of Y:
//   dX = D . W              dW += Dᵀ . X              db += sum of the rows of D
//
// dW and db are sums over the rows, whose order is that of the rows in blocks (training_kernels.h): the same for any
// number of threads.
#pragma once

#include "ops/training_context.h"

namespace mask_predict::training {

struct LinearForward {
  const float* input;  // [rows, inputs]
  int64_t rows, inputs, outputs;
  const float* weight;
  const float* bias;      // [outputs], or nullptr
  float* output;          // [rows, outputs]
  float* gelu = nullptr;  // [rows, outputs]
};
void linear_forward(const TrainingContext& context, const LinearForward& a);

struct LinearBackward {
  const float* input;            // [rows, inputs]; of the forward
  const float* output_gradient;  // [rows, outputs]
  int64_t rows, inputs, outputs;
  const float* weight;
  float* input_gradient;             // [rows, inputs], or nullptr
  bool accumulate_input = false;     // input_gradient += instead of =
  float* weight_gradient = nullptr;  // +=, or nullptr: the weight is frozen
  float* bias_gradient = nullptr;    // +=, or nullptr
  float* partial_sums;               // [ceil(rows / sum_rows), outputs]
};
void linear_backward(const TrainingContext& context, const LinearBackward& a);

// sum [width] += the rows of values [rows, width], in blocks of sum_rows. partial_sums as above.
void add_row_sums(const TrainingContext& context, const float* values, int64_t rows, int64_t width, float* partial_sums,
                  float* sum);
inline int64_t sum_blocks(int64_t rows) { return (rows + cpu::sum_rows - 1) / cpu::sum_rows; }

}  // namespace mask_predict::training
