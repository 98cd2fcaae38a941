// rotate: rotary positions. Turns the queries or keys of every row in place: the elements j and j + head_size / 2 of a
// head are a pair, turned by its position's angle position * theta^(-2j / head_size).
#pragma once

#include "ops/context.h"

namespace mask_predict {

struct RotateArguments {
  void* values;  // [rows, heads * head_size], row stride `stride` elements
  int64_t rows;
  int64_t stride;
  int64_t heads;
  int64_t head_size;         // even
  const int32_t* positions;  // [rows], rows of the table
  const float* table;        // [positions, head_size]: the cosines of a position's angles, then their sines
};

// Fills a table of `positions` rows for angles to the base theta, everything in float32 as the models are trained.
void fill_rotary_table(float* table, int64_t positions, int64_t head_size, double theta);

}  // namespace mask_predict
