// sample: draws one allowed id per row of logits. The logits are divided by the temperature, the smallest set of
// allowed ids with at least the nucleus' share of their probability is kept (ties to the lower id), and one is
// drawn: the first, in rising order of ids, at which the kept probability passes a uniform number of Philox4x32-10
// keyed by the seed with the counter (sequence, position, iteration, 0): the same draw in any batch. log_probs are
// without temperature, over all real ids.
#pragma once

#include <cstdint>

#include "base/special_ids.h"
#include "ops/context.h"

namespace mask_predict {

struct SampleArguments {
  const float* logits;  // [rows, vocabulary]
  int64_t rows;
  int64_t vocabulary;  // row stride
  HeadIds head_ids;
  float temperature;  // > 0
  float nucleus;      // 0 < nucleus <= 1
  uint64_t seed;
  const int32_t* sequences;  // [rows]
  const int32_t* positions;  // [rows]
  int32_t iteration;
  int32_t* ids;      // [rows]; -1 where no logit is a number
  float* log_probs;  // [rows]
};

}  // namespace mask_predict
