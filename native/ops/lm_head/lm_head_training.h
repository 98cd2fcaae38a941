// The head's loss over the masked rows (section 3.3), forward and backward, in chunks of the vocabulary: the logits of
// a large one are never in memory together. With z = states . decoderᵀ + bias over the V real ids and log p = z -
// log_sum:
//   loss of a row = (1 - smoothing) (-log p[gold]) + smoothing * mean over the real ids of (-log p)
// Backward, with `factor` the weight of a row's loss in the whole:
//   dz = factor (p - smoothing / V - (1 - smoothing) [id = gold])
//   dstates = dz . decoder        ddecoder += dzᵀ . states        dbias += sum of dz
//
// The forward keeps each row's log-sum; the backward computes a chunk's logits again, unless there is only one.
#pragma once

#include <vector>

#include "ops/training_context.h"

namespace mask_predict::training {

struct HeadLoss {
  const float* states;  // [rows, width]
  int64_t rows, width;
  const float* decoder;  // [real_ids or more, width]
  const float* bias;     // [real_ids or more]
  int64_t real_ids;
  const int32_t* gold;  // [rows]
  double smoothing;
  int64_t chunk;    // ids whose logits are in memory together: head_chunk() of a model
  float* logits;    // [rows, chunk]
  float* log_sums;  // [rows]
};

// Sums over the rows.
struct HeadLossSums {
  double negative_log_likelihood = 0;
  double smoothed = 0;  // the loss above
};

HeadLossSums head_loss_forward(const TrainingContext& context, const HeadLoss& a);

struct HeadLossGradients {
  double factor;
  float* state_gradient;    // [rows, width], overwritten
  float* decoder_gradient;  // +=, or nullptr: the decoder is frozen
  float* bias_gradient;     // +=
  float* partial_sums;      // [ceil(rows / sum_rows), chunk]
};
void head_loss_backward(const TrainingContext& context, const HeadLoss& a, const HeadLossGradients& gradients);

// How many ids a chunk has: a function of the sizes alone.
int64_t head_chunk(int64_t rows, int64_t real_ids);
// Floats that `logits` and `partial_sums` need for up to so many rows.
int64_t head_logit_floats(int64_t most_rows, int64_t real_ids);
int64_t head_partial_sum_floats(int64_t most_rows, int64_t real_ids);

}  // namespace mask_predict::training
