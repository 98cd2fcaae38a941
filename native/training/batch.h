// The rows of one part of an optimiser step: its sources and corrupted targets one behind the other, without padding.
// With dynamic attention each source is followed by its targets, and one way through the layers takes all rows. With plain
// mixed attention all sources come first: they go through the layers before the targets do.
#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "ops/mixed_attention/mixed_attention_training.h"

namespace mask_predict::training {

// As the caller gives it; checked (trainer_arguments.h). Every array has <s> and </s>.
struct StepPart {
  std::vector<std::vector<int32_t>> sources;  // corrupted
  std::vector<std::vector<int32_t>> targets;  // corrupted
  std::vector<std::vector<int32_t>> golds;    // what the targets were
  std::vector<int32_t> source_of;             // of each target
};

// Rows that go through the layers together, and who attends to whom.
struct Passage {
  RowRange rows;
  std::vector<AttentionGroup> groups;
  bool reads_final_states = false;  // eq. (6): its sources' keys and values are made of their final states
};

struct Batch {
  int64_t rows = 0;
  int64_t source_rows = 0;  // of plain mixed attention, whose sources come first
  int64_t targets = 0;
  int64_t most_keys = 0;
  std::vector<int32_t> ids, positions;  // [rows]
  std::vector<AttentionGroup> groups;   // in the order of the sources
  std::vector<Passage> passages;        // in the order of the forward
  std::vector<int32_t> masked_rows;     // rows that are predicted, rising
  std::vector<int32_t> gold;            // their ids

  int64_t masked() const { return static_cast<int64_t>(masked_rows.size()); }
};

// A position is predicted where target and gold differ or the target is <mask>.
Batch make_batch(const StepPart& part, int32_t mask_token_id, TargetAttention attention);

}  // namespace mask_predict::training
