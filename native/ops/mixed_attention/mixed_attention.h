// mixed_attention: dynamic mixed attention, eq. (7). Every query row of a sequence attends to all rows of its
// source and to all rows of its own sequence, in one softmax over both; scores are scaled by 1/sqrt(head size).
//
// There is no mask: a source attends to itself only (no source rows, its own as own rows), a target to its cached
// source and itself. Query rows may be fewer than own rows (the last layer needs only the masked positions).
//
// With a window, which the CPU alone has, a query attends only to the keys at most that far from it. The keys of a
// sequence, its source's and then its own, are counted from 0; `query_keys` says at which of them a query stands.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace mask_predict {

struct AttentionSequence {
  int64_t first_query, queries;  // rows of `query` and `output`
  int64_t first_own, own_rows;   // rows of `own`
  const void* source;            // like `own`, [layers, source_rows, 2 * width]; or nullptr
  int64_t source_rows;           // source_rows + own_rows >= 1
};

struct MixedAttentionArguments {
  const void* query;  // [query rows, width]
  const void* own;    // [own rows, 2 * width]: keys, then values, of the type of the context's keys and values
  const AttentionSequence* sequences;
  int64_t sequence_count;
  int64_t layer;         // of the sources to attend to
  int64_t most_queries;  // of any sequence, or more
  int64_t most_keys;     // source_rows + own_rows of any sequence, or more
  int64_t heads;
  int64_t head_size;                    // width = heads * head_size
  void* output;                         // [query rows, width]
  int64_t window = -1;                  // keys on either side, 0 or more; -1: all
  const int32_t* query_keys = nullptr;  // [query rows], rising in each sequence; with a window
};

}  // namespace mask_predict
