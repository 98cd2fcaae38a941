// How much room a batch gets where its iterations are recorded: sizes are rounded up, and the room behind the batch
// holds rows that belong to no target. One recording then fits every batch with the same room. What the rows behind a
// batch cost is little, because kernels work on tiles of rows anyway; and since no row depends on those beside it, no
// result does.
#pragma once

#include <cstdint>

#include "base/numbers.h"

namespace mask_predict {

// For rows that are multiplied by weights, which come in tiles of 8, 16, 32 and 64.
inline int64_t room_for_rows(int64_t rows) {
  return rows <= 8 ? 8 : rows <= 256 ? round_up(rows, 16) : round_up(rows, 64);
}

// For the rows of one sequence, whose number only says how many blocks look whether there is work for them.
inline int64_t room_for_length(int64_t length) { return round_up(length, 64); }

// For sequences: the next power of two.
inline int64_t room_for_sequences(int64_t count) {
  int64_t room = 1;
  while (room < count) room *= 2;
  return room;
}

}  // namespace mask_predict
