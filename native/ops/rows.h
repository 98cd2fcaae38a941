// gather_rows: the rows an index names, in its order. mean_rows: the mean of each sequence's rows.
#pragma once

#include "ops/context.h"

#include <cstdint>

namespace mask_predict {

struct GatherRowsArguments {
  const float* input;    // [?, width]
  const int32_t* index;  // [rows]
  int64_t rows;
  int64_t width;
  float* output;         // [rows, width]
};

void gather_rows(const Context& context, const GatherRowsArguments& arguments);

struct MeanRowsArguments {
  const float* input;      // [offsets[sequences], width]
  const int32_t* offsets;  // [sequences + 1]; every sequence has a row
  int64_t sequences;
  int64_t width;
  float* output;           // [sequences, width]
};

void mean_rows(const Context& context, const MeanRowsArguments& arguments);

}  // namespace mask_predict
