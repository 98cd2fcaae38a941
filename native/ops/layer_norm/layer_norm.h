// layer_norm: (x - mean) / sqrt(variance + epsilon) * gain + shift for every row, population variance.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace mask_predict {

struct LayerNormArguments {
  const float* input;  // [rows, width]
  int64_t rows;
  int64_t width;
  const float* gain;   // [width]
  const float* shift;  // [width], or nullptr on the CPU: none
  float epsilon;
  float* output;  // [rows, width], or nullptr; may be input
  void* normed;   // [rows, width], or nullptr: the same as activations; may be output where they are float32
};

}  // namespace mask_predict
