#include "engine/target_batch.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/error.h"
#include "engine/room.h"

namespace mask_predict {

void check_numbers(const std::vector<float>& values, const char* what) {
  for (const float value : values)
    if (std::isnan(value))
      throw Error(ErrorCode::ModelFormat,
                  std::string("the model's ") + what + " are not numbers (NaN): its weights are damaged or too large");
}

TargetBatch::TargetBatch(Targets targets, DeviceArena& arena, Use use)
    : targets_(std::move(targets)), arena_(arena), offsets_{0}, masked_offsets_{0} {
  std::vector<int32_t> tokens, positions, masked;
  std::vector<float> scores;
  std::vector<uint8_t> maskable;
  for (const ActiveTarget& target : targets_) {
    const int64_t length = target->length(), source_length = target.source->length();
    for (size_t i = 0; i < target->masked.size(); i++)
      if (target->masked[i]) masked.push_back(static_cast<int32_t>(tokens.size() + i));
    sequences_.push_back({rows_, length, rows_, length, target.source->keys_values.as<void>(), source_length});
    tokens.insert(tokens.end(), target->tokens.begin(), target->tokens.end());
    scores.insert(scores.end(), target->scores.begin(), target->scores.end());
    maskable.insert(maskable.end(), target->maskable.begin(), target->maskable.end());
    for (int64_t i = 0; i < length; i++) positions.push_back(static_cast<int32_t>(i) + first_position);
    rows_ += length;
    offsets_.push_back(static_cast<int32_t>(rows_));
    masked_offsets_.push_back(static_cast<int32_t>(masked.size()));
    maskable_count_ += target->maskable_count;
    most_rows_ = std::max(most_rows_, length);
    most_keys_ = std::max(most_keys_, length + source_length);
  }
  row_room_ = rows_;
  sequence_room_ = static_cast<int64_t>(sequences_.size());
  if (use == Use::Recorded) {
    row_room_ = room_for_rows(rows_);
    sequence_room_ = room_for_sequences(sequence_room_);
    most_rows_ = room_for_length(most_rows_);
    const auto room = static_cast<size_t>(row_room_);
    tokens.resize(room);  // any real id
    positions.resize(room, first_position);
    scores.resize(room);
    maskable.resize(room);
    sequences_.resize(static_cast<size_t>(sequence_room_), AttentionSequence{0, 0, 0, 0, nullptr, 0});
  }
  tokens_ = arena.put(tokens);
  positions_ = arena.put(positions);
  scores_ = arena.put(scores);
  maskable_ = arena.put(maskable);
  masked.resize(static_cast<size_t>(row_room_));  // room for any later set of masks; behind them any row
  masked_rows_ = arena.put(masked);
  device_offsets_ = put_offsets(offsets_);
  device_masked_offsets_ = put_offsets(masked_offsets_);
  device_sequences_ = arena.put(sequences_);
}

int32_t* TargetBatch::put_offsets(std::vector<int32_t> offsets) const {
  offsets.resize(static_cast<size_t>(sequence_room_) + 1, offsets.back());
  return arena_.put(offsets);
}

StackPass TargetBatch::pass() const {
  StackPass pass;
  pass.rows = row_room_;
  pass.ids = tokens_;
  pass.positions = positions_;
  pass.sequences = device_sequences_;
  pass.sequence_count = sequence_room_;
  pass.most_queries = most_rows_;
  pass.most_keys = most_keys_;
  return pass;
}

StackPass TargetBatch::pass_of_masked(int64_t masked_room) const {
  StackPass pass = this->pass();
  std::vector<AttentionSequence> last = sequences_;
  for (size_t i = 0; i < targets_.size(); i++) {
    last[i].first_query = masked_offsets_[i];
    last[i].queries = masked_offsets_[i + 1] - masked_offsets_[i];
  }
  pass.last_most_queries = std::min(most_rows_, masked_room);
  pass.wanted = masked_rows_;
  pass.wanted_rows = masked_room;
  pass.last_sequences = arena_.put(last);
  return pass;
}

RemaskArguments TargetBatch::masks_again(const std::vector<int32_t>& counts, int32_t mask_token_id) {
  for (size_t i = 0; i < counts.size(); i++) masked_offsets_[i + 1] = masked_offsets_[i] + counts[i];
  std::vector<int32_t> all_counts = counts;
  all_counts.resize(static_cast<size_t>(sequence_room_));
  device_masked_offsets_ = put_offsets(masked_offsets_);
  return {tokens_, scores_, maskable_, device_offsets_, arena_.put(all_counts), device_masked_offsets_,
          sequence_room_, most_rows_, mask_token_id, masked_rows_};
}

TargetBatch::Iteration TargetBatch::plan(const std::vector<int32_t>& counts, int32_t mask_token_id,
                                         int64_t masked_room) {
  Iteration iteration{pass_of_masked(masked_room), masked_count(), masked_room, masked_offsets_,
                      device_masked_offsets_ + sequence_room_, {}, false};
  iteration.remask = masks_again(counts, mask_token_id);
  iteration.masks_again = masked_count() > 0;
  return iteration;
}

void TargetBatch::masked_positions(const Iteration& iteration, std::vector<int32_t>& sequences,
                                   std::vector<int32_t>& positions) const {
  const std::vector<int32_t> rows = arena_.get(masked_rows_, iteration.masked);
  for (size_t i = 0; i < targets_.size(); i++)
    for (int32_t m = iteration.masked_offsets[i]; m < iteration.masked_offsets[i + 1]; m++) {
      sequences.push_back(static_cast<int32_t>(targets_[i]->sequence));
      positions.push_back(rows[static_cast<size_t>(m)] - offsets_[i]);
    }
}

void TargetBatch::finish(const Context& context, const Iteration& iteration, const int32_t* ids,
                         const float* log_probs) const {
  context.operations->fill_masks(context, {masked_rows_, iteration.masked_on_device, iteration.masked_room, ids,
                                           log_probs, tokens_, scores_});
  if (iteration.masks_again) context.operations->remask(context, iteration.remask);
}

void TargetBatch::remask(const Context& context, const std::vector<int32_t>& counts, int32_t mask_token_id) {
  context.operations->remask(context, masks_again(counts, mask_token_id));
}

std::vector<uint64_t> TargetBatch::shape() const {
  const auto address = [](const void* pointer) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)); };
  return {static_cast<uint64_t>(row_room_), static_cast<uint64_t>(sequence_room_), static_cast<uint64_t>(most_rows_),
          address(tokens_), address(positions_), address(scores_),
          address(maskable_), address(masked_rows_), address(device_offsets_), address(device_sequences_)};
}

void TargetBatch::publish(int32_t mask_token_id) const {
  const std::vector<int32_t> tokens = arena_.get(tokens_, rows_);
  const std::vector<float> scores = arena_.get(scores_, rows_);
  check_numbers(scores, "logits");
  for (size_t t = 0; t < targets_.size(); t++) {
    Target& target = *targets_[t];
    const std::lock_guard<std::mutex> lock(target.mutex);
    target.tokens.assign(tokens.begin() + offsets_[t], tokens.begin() + offsets_[t + 1]);
    target.scores.assign(scores.begin() + offsets_[t], scores.begin() + offsets_[t + 1]);
    for (size_t i = 0; i < target.masked.size(); i++)
      target.masked[i] = target.maskable[i] && target.tokens[i] == mask_token_id;
    target.masked_count = masked_offsets_[t + 1] - masked_offsets_[t];
  }
}

}  // namespace mask_predict
