// The optimiser over all weights at once: the gradient's norm, and AdamW (Loshchilov and Hutter, 2019). With g the
// gradient times min(1, limit / (norm + 1e-6)) and t the number of this update, from 1:
//   m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g²
//   w = w (1 - rate * decay) - rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon)
// The decay is decoupled, and only of the ranges that have it. Where an average of the weights is kept:
//   a = a + (1 - min(d, (1 + t) / (10 + t))) (w - a), after the update
// with its decay d; the first averages are short, so that they do not keep the weights of the beginning.
#pragma once

#include <vector>

#include "ops/training_context.h"

namespace mask_predict::training {

// A range of all weights, gradients and moments, which lie alike.
struct WeightRange {
  int64_t first, count;
  bool decays;
};
// The same weights in pieces that threads take, none with two kinds of decay.
std::vector<WeightRange> optimizer_pieces(const std::vector<WeightRange>& ranges);

double gradient_norm(const TrainingContext& context, const std::vector<WeightRange>& pieces, const float* gradients);

struct AdamOptions {
  double first_decay = 0.9, second_decay = 0.98, epsilon = 1e-6;
  double weight_decay = 0.01;
  double clip_norm = 1;      // 0: no clipping
  double average_decay = 0;  // of the weights' exponential moving average, 0 <= d < 1
};
struct AdamUpdate {
  float* weights;
  const float* gradients;
  float* first;
  float* second;
  double norm;  // of the gradients
  double learning_rate;
  int64_t number;            // t
  float* average = nullptr;  // or none is kept
};
void adam_update(const TrainingContext& context, const AdamOptions& options, const std::vector<WeightRange>& pieces,
                 const AdamUpdate& update);

}  // namespace mask_predict::training
