// The length predictor's loss (sections 3.2 and 3.3), forward and backward. For a source with final states h of S rows
// (<s> and </s> included):
//   m = mean of h        z = lengths . m        loss of a target of L ids = log_sum(z) - z[L]
// Backward, with `factor` the weight of a target's loss in the whole, over the targets of a source:
//   dz = factor * sum of (p - [class = L])        dlengths += dz m        dm = dz . lengths        dh += dm / S
#pragma once

#include <vector>

#include "ops/mixed_attention/mixed_attention_training.h"
#include "ops/training_context.h"

namespace mask_predict::training {

struct LengthLoss {
  const float* states;  // [rows, width]: final states, the groups' rows
  int64_t width;
  const std::vector<AttentionGroup>* groups;
  const float* weight;  // [lengths, width]
  int64_t lengths;
  float* means;   // [groups, width]
  float* logits;  // [groups, lengths]; the backward leaves their gradient
};

// Sum over the targets.
double length_loss_forward(const TrainingContext& context, const LengthLoss& a);

struct LengthLossGradients {
  double factor;
  float* mean_gradient;    // [groups, width], working memory
  float* state_gradient;   // [rows, width], +=
  float* weight_gradient;  // +=
};
void length_loss_backward(const TrainingContext& context, const LengthLoss& a, const LengthLossGradients& gradients);

}  // namespace mask_predict::training
