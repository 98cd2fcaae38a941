// dropout: an element is 0 with the given probability and x / (1 - probability) otherwise. Each draw is 16 bits of
// Philox keyed by the seed, its counter (column / 8, row, site, step): the same on any number of threads, in any order,
// and again on the way back, so that no mask is kept.
//
// Forward: y = residual + mask * x. Backward: dx = mask * d, and the residual's gradient is d itself.
#pragma once

#include "ops/training_context.h"

namespace mask_predict::training {

// The draws of one optimiser step, or none.
struct DropoutDraws {
  double probability = 0;  // 0 <= p < 1, rounded to 1/65536
  uint64_t seed = 0;
  uint32_t step = 0;
};

struct DropoutArguments {
  const float* input;               // [rows, width]
  const float* residual = nullptr;  // added after; may be the output
  float* output;                    // may be the input
  int64_t rows, width;
  uint32_t site;       // which of the model's dropouts
  uint32_t first_row;  // number, within the step, of the first row
};
void dropout(const TrainingContext& context, const DropoutDraws& draws, const DropoutArguments& a);

}  // namespace mask_predict::training
