// Targets on their way through passes together: their tokens, scores and masks laid one behind the other in the
// device's memory, where they stay from iteration to iteration. The host knows at any time how many positions of
// each are masked, because that depends on lengths alone.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/device_arena.h"
#include "engine/layer_stack.h"
#include "engine/sequence.h"

namespace mask_predict {

// Throws Error(ModelFormat) if one of the values, which the message calls `what`, is not a number.
void check_numbers(const std::vector<float>& values, const char* what);

class TargetBatch {
 public:
  // Recorded: with room around it (room.h), so that a recording of its iterations fits other batches.
  enum class Use { Once, Recorded };
  TargetBatch(Targets targets, DeviceArena& arena, Use use);

  int64_t rows() const { return rows_; }
  // Positions that are masked now, of all targets.
  int64_t masked_count() const { return masked_offsets_.back(); }
  // Positions that were masked at the start, of all targets.
  int64_t maskable_count() const { return maskable_count_; }
  const int32_t* masked_rows() const { return masked_rows_; }

  // What run_stack needs, for all rows; for the last layer with only the masked rows, of which at most `masked_room`
  // (at least masked_count()) are computed.
  StackPass pass() const;
  StackPass pass_of_masked(int64_t masked_room) const;

  // One iteration: predict the positions that are masked, then mask again some. Its arrays are in place when it has
  // been planned; iterations can be planned ahead of being run.
  struct Iteration {
    StackPass pass;
    int64_t masked;                       // rows to predict
    int64_t masked_room;                  // rows for which there is room: at least as many
    std::vector<int32_t> masked_offsets;  // [targets + 1]: which of them are whose
    const int32_t* masked_on_device;      // `masked`
    RemaskArguments remask;
    bool masks_again;
  };
  // The next iteration, in which counts[i] positions of target i are masked again. `masked_room`: at least
  // masked_count(); a batch that is not recorded needs no more.
  Iteration plan(const std::vector<int32_t>& counts, int32_t mask_token_id, int64_t masked_room);

  // Sequence and position of each row to predict, for sampling. The iteration's turn must have come.
  void masked_positions(const Iteration& iteration, std::vector<int32_t>& sequences, std::vector<int32_t>& positions) const;

  // Writes predictions, one per masked row, into tokens and scores, and masks again.
  void finish(const Context& context, const Iteration& iteration, const int32_t* ids, const float* log_probs) const;

  // Masks again the counts[i] lowest-scored maskable positions of target i; none may be masked.
  void remask(const Context& context, const std::vector<int32_t>& counts, int32_t mask_token_id);

  // What the arguments of an iteration's operations depend on, beside what the iteration itself has.
  std::vector<uint64_t> shape() const;

  // Writes tokens, scores and masks back to the targets. Error(ModelFormat) if a score is not a number; the
  // targets are unchanged then.
  void publish(int32_t mask_token_id) const;

 private:
  // With the last value repeated, one for each sequence there is room for and one more.
  int32_t* put_offsets(std::vector<int32_t> offsets) const;
  RemaskArguments masks_again(const std::vector<int32_t>& counts, int32_t mask_token_id);

  const Targets targets_;
  DeviceArena& arena_;
  int64_t rows_ = 0;
  int64_t maskable_count_ = 0;
  int64_t row_room_ = 0;                 // at least rows_
  int64_t sequence_room_ = 0;            // at least one for each target
  std::vector<int32_t> offsets_;         // [targets + 1]
  std::vector<int32_t> masked_offsets_;  // [targets + 1]
  std::vector<AttentionSequence> sequences_;  // [sequence_room_]: the last ones are empty
  int64_t most_rows_ = 0;                // of a target, or the room for them
  int64_t most_keys_ = 0;
  int32_t* tokens_;                      // from here on in the device's memory, [rows]
  int32_t* positions_;
  float* scores_;
  uint8_t* maskable_;
  int32_t* masked_rows_;
  int32_t* device_offsets_;              // [sequence_room_ + 1]
  int32_t* device_masked_offsets_;       // [sequence_room_ + 1]
  AttentionSequence* device_sequences_;
};

}  // namespace mask_predict
