// embed: the word embedding of each id plus the embedding of its position, where there is a table of them. (Row 0 of the
// token types, the same for every token, is already part of the position table.)
#pragma once

#include "ops/context.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict {

struct EmbedArguments {
  const int32_t* ids;        // [rows], each in 0 ... words.outputs - 1
  const int32_t* positions;  // [rows], rows of the position table
  int64_t rows;
  const PackedMatrix* words;    // [vocabulary, width]
  const float* position_table;  // [positions, width]; on the CPU nullptr: none
  float* output;                // [rows, width]
};

}  // namespace mask_predict
