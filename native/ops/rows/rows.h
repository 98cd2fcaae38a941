// gather_rows: the rows an index names, in its order. mean_rows: the mean of each sequence's rows.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace mask_predict {

struct GatherRowsArguments {
  const void* input;     // [?, width]
  ValueType type;        // of input and output
  const int32_t* index;  // [rows]
  int64_t rows;
  int64_t width;
  void* output;  // [rows, width]
};

struct MeanRowsArguments {
  const float* input;      // [offsets[sequences], width]
  const int32_t* offsets;  // [sequences + 1]; every sequence has a row
  int64_t sequences;
  int64_t width;
  void* output;  // [sequences, width], activations
};

}  // namespace mask_predict
