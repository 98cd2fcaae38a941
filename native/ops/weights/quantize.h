// Rows of weights as bytes: a weight is its row's scale times what the byte stands for. int8: -127 ... 127, the scale
// the largest magnitude / 127, rounded as on the CPU (cpu/kernels_step_tile.h). fp8: the numbers of e4m3 (sign, four
// bits of exponent, three of fraction, no infinity), the scale the largest magnitude / 448.
#pragma once

#include <cstdint>

#include "ops/weights/packed_matrix.h"

namespace mask_predict {

// The byte of e4m3 nearest to the value, ties to even; beyond 448 the largest. And what a byte stands for.
uint8_t float_to_fp8(float value);
float fp8_to_float(uint8_t byte);

// Fills bytes [count] and returns the scale: NaN where a value is no finite number. `type`: I8 or F8.
float quantize_row(WeightType type, const float* values, int64_t count, uint8_t* bytes);

}  // namespace mask_predict
