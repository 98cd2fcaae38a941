// gather_rows: the rows an index names, in its order. mean_rows: the mean of each sequence's rows. round_rows: float32 as
// bfloat16, on the CPU alone, with kernels that have `round`.
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

struct RoundRowsArguments {
  const float* input;  // [rows, width]
  int64_t rows;
  int64_t width;     // even
  uint16_t* output;  // [rows, width]
};

}  // namespace mask_predict
