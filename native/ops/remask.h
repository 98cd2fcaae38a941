// remask: masks again the `counts[i]` maskable positions of sequence i with the lowest scores; a tie goes to the
// lower position. Their tokens become <mask> and their scores 0.
#pragma once

#include "ops/context.h"

#include <cstdint>

namespace mask_predict {

struct RemaskSequence {
  int32_t* tokens;           // [length], changed in place
  float* scores;             // [length], changed in place; not NaN
  const uint8_t* maskable;   // [length], 1 where a position competes
  uint8_t* masked;           // [length]: 1 where a position was chosen, else 0
  int64_t length;
  int64_t count;             // at most the number of maskable positions
};

void remask(const Context& context, const RemaskSequence* sequences, int64_t count, int32_t mask_token_id);

}  // namespace mask_predict
