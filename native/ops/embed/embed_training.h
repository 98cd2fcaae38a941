// embed, forward and backward: x = words[id] + positions[position] + token type row 0, row by row.
//
// Backward: a table's row gets the sum of the gradients of all rows that read it. Rows are grouped by what they read
// before, each group in its rows' order: one thread adds up one table row, and the sum is the same for any threads.
#pragma once

#include <vector>

#include "ops/training_context.h"

namespace mask_predict::training {

struct EmbedForward {
  const int32_t* ids;        // [rows]
  const int32_t* positions;  // [rows]
  int64_t rows, width;
  const float* words;           // [vocabulary, width]
  const float* position_table;  // [positions, width]
  const float* token_type;      // [width], or nullptr
  float* output;
};
void embed_forward(const TrainingContext& context, const EmbedForward& a);

// gradients of table[index[r]] += gradient[r]. `order` [count] is working memory.
void scatter_rows(const TrainingContext& context, const int32_t* index, int64_t count, int64_t width,
                  const float* gradient, float* table_gradient, int32_t* order);

}  // namespace mask_predict::training
