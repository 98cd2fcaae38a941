// The work of one block of an attention kernel, eq. (7): one head of some query rows of one sequence, and the place of
// that head in its keys and values.
//
// The grid is (sequences, heads, tiles of query rows). A sequence has the same number of tiles in the grid as the
// longest one; its blocks beyond its own rows have nothing to do. Keys are counted through the source and on
// through the sequence's own rows, so a kernel cuts tiles of keys as if they lay in one piece.
#pragma once

#include <limits>

#include "cuda/platform.h"
#include "ops/mixed_attention/mixed_attention.h"

namespace mask_predict::cuda {

// Less than any score; its exponential is zero.
constexpr float no_score = -std::numeric_limits<float>::infinity();

template <class Element>
struct AttentionParameters {
  const Element* query;
  const Element* own;
  Element* output;
  const AttentionSequence* sequences;
  int64_t layer;
  int head_size;
};

template <class Element>
struct AttentionBlock {
  const Element* query;   // of the block's first row; rows are `width` apart
  Element* output;        // the same
  const Element* source;  // key 0; rows are 2 * width apart, a row's values lie `width` behind its keys
  const Element* own;     // key source_rows; the same
  int64_t width;
  int rows;  // of query; 0 or fewer: there is nothing to do
  int source_rows;
  int keys;  // of the source and own

  __device__ __forceinline__ const Element* key(int index) const {
    const bool from_source = index < source_rows;
    const Element* first = from_source ? source : own;
    return first + static_cast<int64_t>(from_source ? index : index - source_rows) * 2 * width;
  }
};

// The work of this block, if a tile has `tile_rows` query rows.
template <class Element>
__device__ __forceinline__ AttentionBlock<Element> attention_block(const AttentionParameters<Element>& parameters,
                                                                   int tile_rows) {
  const AttentionSequence* sequence = parameters.sequences + blockIdx.x;
  const int64_t width = static_cast<int64_t>(gridDim.y) * parameters.head_size;
  const int64_t offset = static_cast<int64_t>(blockIdx.y) * parameters.head_size;
  const int64_t skipped_rows = static_cast<int64_t>(blockIdx.z) * tile_rows;
  const int64_t first_query = load_global(&sequence->first_query) + skipped_rows;
  const int64_t source_rows = load_global(&sequence->source_rows);

  AttentionBlock<Element> block;
  block.query = parameters.query + first_query * width + offset;
  block.output = parameters.output + first_query * width + offset;
  block.source = nullptr;
  if (source_rows > 0) {
    const Element* source = static_cast<const Element*>(load_global(&sequence->source));
    block.source = source + parameters.layer * source_rows * 2 * width + offset;
  }
  block.own = parameters.own + load_global(&sequence->first_own) * 2 * width + offset;
  block.width = width;
  block.rows = min(static_cast<int>(load_global(&sequence->queries) - skipped_rows), tile_rows);
  block.source_rows = static_cast<int>(source_rows);
  block.keys = static_cast<int>(source_rows + load_global(&sequence->own_rows));
  return block;
}

}  // namespace mask_predict::cuda
