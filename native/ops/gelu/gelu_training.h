// gelu, forward and backward, in the exact form: y = x Phi(x), with Phi the normal distribution and phi its density.
// Backward: dx = d * (Phi(x) + x phi(x)). (The forward that follows a product is part of linear_forward.)
#pragma once

#include "ops/training_context.h"

namespace mask_predict::training {

void gelu_forward(const TrainingContext& context, const float* input, int64_t count, float* output);
// `gradient` is that of y before and that of x after.
void gelu_backward(const TrainingContext& context, const float* input, int64_t count, float* gradient);

}  // namespace mask_predict::training
