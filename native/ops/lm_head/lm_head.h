// The language-model head after its dense layer, GELU and LayerNorm: logits = states . weightᵀ + bias.
//
// lm_head_argmax never stores the logits: what it keeps of each row is the largest logit of all real ids, the sum
// of exponentials relative to it, the best allowed id and its logit. Rows of the weight behind the real ids take no
// part. Special ids are never the answer but stay in the sum. A tie goes to the lower id.
#pragma once

#include "base/special_ids.h"
#include "ops/context.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict {

// The four values of one row over one range of the vocabulary.
struct LmHeadPartial {
  float largest;
  float sum;
  float best_logit;
  int32_t best_id;  // -1: no allowed id was a number
};

// Ranges of the vocabulary that are reduced apart, at most: how many partials a row needs.
inline constexpr int64_t lm_head_ranges = 264;

struct LmHeadArguments {
  const void* states;  // [rows, width]
  int64_t rows;
  const PackedMatrix* weight;  // [vocabulary, width]
  const float* bias;           // [vocabulary rounded up to 16]
  HeadIds head_ids;
  LmHeadPartial* partials;  // [lm_head_ranges * rows], working memory
  int32_t* ids;             // [rows]: the best allowed id, or -1 where no logit is a number
  float* log_probs;         // [rows]: its log-probability
  float* log_sums;          // [rows]: log-sum-exp over the real ids
};

struct LogitsAtArguments {
  const void* states;
  const PackedMatrix* weight;
  const float* bias;
  const int32_t* rows;  // [count], rows of states
  const int32_t* ids;   // [count]
  int64_t count;
  float* logits;  // [count]
};

}  // namespace mask_predict
