// mixed_attention, forward and backward: dynamic mixed attention, eq. (7), over source and targets together; and, with
// `source_queries` false, plain mixed attention, eq. (6), of targets over keys and values that the caller made.
//
// Rows lie in groups: a source's rows, and those of each of its targets. A source row sees the source's keys, a target
// row the source's keys and those of its own target; there is no mask and no padding. With s = scale * q . k:
//   p = exp(s - log_sum)        o = sum of p v
// The log-sum of each row and head is kept; p is computed from it again on the way back. With d the gradient of o:
//   dv += p d        ds = p (d . v - d . o) scale        dq = sum of ds k        dk += ds q
//
// A source's keys and values have gradient from its own rows and from the rows of all of its targets, in this order. One
// thread goes through a group's head, so that the sums are the same for any threads.
#pragma once

#include <vector>

#include "ops/training_context.h"

namespace mask_predict::training {

struct RowRange {
  int64_t first, count;
};

struct AttentionGroup {
  RowRange source;
  std::vector<RowRange> targets;
  bool source_queries = true;  // false: the source's rows are keys and values only, and their outputs are left alone
};

struct AttentionForward {
  const float* query_key_value;  // [rows, 3 * width]: queries, keys, values
  const std::vector<AttentionGroup>* groups;
  int64_t rows, heads, head_size;
  float* output;    // [rows, width]
  float* log_sums;  // [heads, rows]
};
void attention_forward(const TrainingContext& context, const AttentionForward& a);

struct AttentionBackward {
  const float* query_key_value;  // of the forward
  const std::vector<AttentionGroup>* groups;
  int64_t rows, heads, head_size;
  const float* output;              // of the forward
  const float* log_sums;            // of the forward
  const float* output_gradient;     // [rows, width]
  float* query_key_value_gradient;  // [rows, 3 * width], overwritten where the groups have rows
};
void attention_backward(const TrainingContext& context, const AttentionBackward& a);

// Bytes of working memory for each thread, with at most `keys` keys for a query.
uint64_t attention_scratch_bytes(const cpu::TrainingKernels& kernels, int64_t keys, int64_t head_size);

}  // namespace mask_predict::training
