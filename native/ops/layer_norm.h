// layer_norm: (x - mean) / sqrt(variance + epsilon) * gain + shift for every row, population variance.
#pragma once

#include "ops/context.h"

#include <cstdint>

namespace mask_predict {

struct LayerNormArguments {
  const float* input;  // [rows, width]
  int64_t rows;
  int64_t width;
  const float* gain;   // [width]
  const float* shift;  // [width]
  float epsilon;
  float* output;       // [rows, width]; may be input
};

void layer_norm(const Context& context, const LayerNormArguments& arguments);

}  // namespace mask_predict
