// The two steps that end an iteration of Mask-Predict, section 3.3. fill_masks writes the head's predictions into the
// masked rows. It reads their number from the device's memory, so that a call in a CUDA graph serves any number up to
// its capacity. remask masks again the `counts[s]` maskable rows of sequence s with the lowest scores, a tie going to
// the lower row: their tokens become <mask>, their scores 0, and the list of masked rows is made anew for the next
// prediction.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace mask_predict {

struct FillMasksArguments {
  const int32_t* masked_rows;  // [*count]
  const int32_t* count;        // in the device's memory
  int64_t capacity;            // at least *count
  const int32_t* ids;          // [*count]; -1, where no logit was a number, becomes <unk>
  const float* log_probs;      // [*count]; NaN there
  int32_t* tokens;             // [rows]
  float* scores;               // [rows]
};

struct RemaskArguments {
  int32_t* tokens;                // [rows], changed in place
  float* scores;                  // [rows], changed in place; not NaN
  const uint8_t* maskable;        // [rows], 1 where a row competes
  const int32_t* offsets;         // [sequences + 1]: rows of each sequence, which may have none
  const int32_t* counts;          // [sequences], at most the maskable rows of each
  const int32_t* masked_offsets;  // [sequences + 1]: sums of counts, where each sequence's masked rows begin
  int64_t sequences;
  int64_t most_rows;  // of any sequence, or more
  int32_t mask_token_id;
  int32_t* masked_rows;  // [masked_offsets[sequences]]: the rows masked now, rising
};

}  // namespace mask_predict
