// linear: output = activation(input . weightᵀ + bias) + residual.
//
// The inner dimension is added up in its order for every output of every row, so a row's result does not depend
// on the rows beside it, the threads, or the blocking.
#pragma once

#include "ops/context.h"
#include "ops/packed_matrix.h"

namespace mask_predict {

struct LinearArguments {
  const float* input;            // [rows, weight.inputs]
  int64_t rows;
  const PackedMatrix* weight;
  const float* bias = nullptr;   // [weight.outputs rounded up to 16], or none
  bool gelu = false;             // exact erf form
  const float* residual = nullptr;  // [rows, weight.outputs], or none; may be output
  float* output;                 // [rows, weight.outputs]
};

void linear(const Context& context, const LinearArguments& arguments);

}  // namespace mask_predict
