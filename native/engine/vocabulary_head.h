// The rows of the LM head a model answers from: all of them, or those of a subset of the ids in a smaller matrix of
// its own. The subset has the special ids too, and its rows rise with the ids, so that the operations need not know: they
// answer with rows, which are ids of a full head and are looked up in a table for a subset.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/weights.h"

namespace mask_predict {

class VocabularyHead {
 public:
  // `allowed`: the ids that may be answered, rising, each a real one that is not special; empty: all. Throws
  // Error(InvalidArgument) for other ids, Error(OutOfMemory).
  VocabularyHead(const Weights& weights, const std::vector<int32_t>& allowed, const Context& context,
                 const std::shared_ptr<MemoryBudget>& budget);

  const PackedMatrix& matrix() const { return subset_ ? subset_ : weights_.decoder(); }
  const float* bias() const { return subset_ ? bias_.as<float>() : weights_.head_bias.as<float>(); }
  // Which rows are real and which are never answered.
  const HeadIds& rows() const { return head_rows_; }

  // The ids of `count` rows, in the device's memory: written to `ids`, or `rows` itself where the head has all ids. Row -1,
  // where no logit is a number, stays -1.
  int32_t* ids_of(const Context& context, int32_t* rows, int64_t count, int32_t* ids) const;
  // The row of an id, or -1 if the subset does not have it: an id of probability 0.
  int32_t row_of(int32_t id) const { return subset_ ? rows_[static_cast<size_t>(id)] : id; }

 private:
  const Weights& weights_;
  HeadIds head_rows_;
  PackedMatrix subset_;
  Buffer bias_;                // float32, padded to a multiple of 16
  Buffer ids_;                 // int32 [1 + rows]: -1, then the id of each row
  std::vector<int32_t> rows_;  // by id; -1 where there is none
};

}  // namespace mask_predict
