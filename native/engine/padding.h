// The padding of a batch whose iterations run in a CUDA graph: sizes are rounded up to buckets, and the padding rows
// behind the batch belong to no target. One graph then serves every batch of the same bucket. Padding rows cost little,
// because kernels work on tiles of rows anyway, and they change no result, because no row depends on its neighbours.
#pragma once

#include <cstdint>

#include "base/numbers.h"

namespace mask_predict {

// For rows that are multiplied by weights, which come in tiles of 8, 16, 32 and 64.
inline int64_t padded_rows(int64_t rows) {
  return rows <= 8 ? 8 : rows <= 256 ? round_up(rows, 16) : round_up(rows, 64);
}

// For the rows of one sequence, whose number only says how many blocks look whether there is work for them.
inline int64_t padded_length(int64_t length) { return round_up(length, 64); }

// For sequences: the next power of two.
inline int64_t padded_sequences(int64_t count) {
  int64_t padded = 1;
  while (padded < count) padded *= 2;
  return padded;
}

}  // namespace mask_predict
