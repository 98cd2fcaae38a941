// The rows of one part of an optimiser step: its sources and corrupted targets one behind the other, without padding,
// each source followed by its targets.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/mixed_attention/mixed_attention_training.h"

namespace mask_predict::training {

// As the caller gives it; checked (trainer_arguments.h). Every array has <s> and </s>.
struct StepPart {
  std::vector<std::vector<int32_t>> sources;  // corrupted
  std::vector<std::vector<int32_t>> targets;  // corrupted
  std::vector<std::vector<int32_t>> golds;    // what the targets were
  std::vector<int32_t> source_of;             // of each target
};

struct Batch {
  int64_t rows = 0;
  int64_t targets = 0;
  int64_t most_keys = 0;
  std::vector<int32_t> ids, positions;  // [rows]
  std::vector<AttentionGroup> groups;   // in the order of the sources
  std::vector<int32_t> masked_rows;     // rows that are predicted, rising
  std::vector<int32_t> gold;            // their ids

  int64_t masked() const { return static_cast<int64_t>(masked_rows.size()); }
};

// A position is predicted where target and gold differ or the target is <mask>.
Batch make_batch(const StepPart& part, int32_t mask_token_id);

}  // namespace mask_predict::training
