// layer_norm, forward and backward. y = h * gain + shift with h = (x - mean) * inverse, inverse = 1 / sqrt(variance +
// epsilon); mean and inverse of each row are kept for the way back.
//
// Backward, with d the gradient of y and g = d * gain:
//   dx = inverse * (g - mean(g) - h * mean(g * h))        dgain += sum of d * h        dshift += sum of d
#pragma once

#include "ops/training_context.h"

namespace mask_predict::training {

struct NormForward {
  const float* input;  // [rows, width]
  int64_t rows, width;
  const float* gain;
  const float* shift;
  float epsilon;
  float* output;    // [rows, width]
  float* means;     // [rows]
  float* inverses;  // [rows]
};
void norm_forward(const TrainingContext& context, const NormForward& a);

struct NormBackward {
  const float* input;  // of the forward
  const float* means;
  const float* inverses;
  const float* gain;
  const float* output_gradient;
  int64_t rows, width;
  float* input_gradient;  // may be output_gradient, without accumulate_input
  bool accumulate_input = false;
  float* gain_gradient;  // +=; nullptr: the norm is frozen
  float* shift_gradient;
  float* partial_sums;  // [ceil(rows / sum_rows), 2 * width]
};
void norm_backward(const TrainingContext& context, const NormBackward& a);

}  // namespace mask_predict::training
