#include "engine/target_batch.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/padding.h"

namespace mask_predict {
namespace {

bool all_numbers(const std::vector<float>& values) {
  return std::none_of(values.begin(), values.end(), [](float value) { return std::isnan(value); });
}

void append_positions(std::vector<int32_t>& positions, int64_t length, int64_t first) {
  for (int64_t i = 0; i < length; i++) positions.push_back(static_cast<int32_t>(first + i));
}

}  // namespace

Error not_numbers(const char* what) {
  return {ErrorCode::ModelFormat,
          std::string("the model's ") + what + " are not numbers (NaN): its weights are damaged or too large"};
}

void check_numbers(const std::vector<float>& values, const char* what) {
  if (!all_numbers(values)) throw not_numbers(what);
}

TargetBatch::TargetBatch(Targets targets, DeviceArena& arena, Use use, const ModelConfig& config, Sources sources)
    : targets_(std::move(targets)),
      sources_(std::move(sources)),
      arena_(arena),
      use_(use),
      offsets_{0},
      masked_offsets_{0} {
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
    append_positions(positions, length, first_position(config, source_length));
    rows_ += length;
    offsets_.push_back(static_cast<int32_t>(rows_));
    masked_offsets_.push_back(static_cast<int32_t>(masked.size()));
    maskable_count_ += target->maskable_count;
    most_rows_ = std::max(most_rows_, length);
    most_keys_ = std::max(most_keys_, length + source_length);
  }
  padded_rows_ = rows_;
  padded_targets_ = static_cast<int64_t>(targets_.size());
  if (use == Use::InGraph) {
    padded_rows_ = padded_rows(rows_);
    padded_targets_ = padded_sequences(padded_targets_);
    most_rows_ = padded_length(most_rows_);
    const auto rows = static_cast<size_t>(padded_rows_);
    tokens.resize(rows);  // any real id
    positions.resize(rows, static_cast<int32_t>(first_position(config, 0)));
    scores.resize(rows);
    maskable.resize(rows);
    sequences_.resize(static_cast<size_t>(padded_targets_), AttentionSequence{0, 0, 0, 0, nullptr, 0});
  }
  most_queries_ = most_rows_;
  for (const std::shared_ptr<Source>& source : sources_) {
    const int64_t length = source->length(), row = rows_ + source_rows_;
    sequences_.push_back({row, length, row, length, nullptr, 0});
    tokens.insert(tokens.end(), source->ids.begin(), source->ids.end());
    append_positions(positions, length, first_position(config, 0));
    source_rows_ += length;
    most_queries_ = std::max(most_queries_, length);
    most_keys_ = std::max(most_keys_, length);
    for (const int32_t position : source->wanted)
      masked.push_back(static_cast<int32_t>(row + position));  // wanted in the last layer too
    wanted_source_rows_ += static_cast<int64_t>(source->wanted.size());
  }
  tokens_ = arena.put(tokens);
  positions_ = arena.put(positions);
  scores_ = arena.put(scores);
  maskable_ = arena.put(maskable);
  // Space for any later set of masks; behind them any row.
  masked.resize(static_cast<size_t>(padded_rows_ + wanted_source_rows_));
  masked_rows_ = arena.put(masked);
  device_offsets_ = put_offsets(offsets_);
  device_sequences_ = arena.put(sequences_);
}

int32_t* TargetBatch::put_offsets(std::vector<int32_t> offsets) const {
  offsets.resize(static_cast<size_t>(padded_targets_) + 1, offsets.back());
  return arena_.put(offsets);
}

StackPass TargetBatch::pass() const {
  StackPass pass;
  pass.rows = padded_rows_ + source_rows_;
  pass.ids = tokens_;
  pass.positions = positions_;
  pass.sequences = device_sequences_;
  pass.sequence_count = static_cast<int64_t>(sequences_.size());
  pass.most_queries = most_queries_;
  pass.most_keys = most_keys_;
  for (size_t i = 0; i < sources_.size(); i++) {
    const AttentionSequence& rows = sequences_[targets_.size() + i];
    if (sources_[i]->keys_values)
      pass.keep.push_back({rows.first_own, rows.own_rows, rows.first_own, sources_[i]->keys_values.as<char>()});
  }
  return pass;
}

StackPass TargetBatch::pass_of_masked(int64_t padded_masked) const {
  StackPass pass = this->pass();
  if (targets_.empty() && wanted_source_rows_ == source_rows_) return pass;
  std::vector<AttentionSequence> last = sequences_;
  for (size_t i = 0; i < targets_.size(); i++) {
    last[i].first_query = masked_offsets_[i];
    last[i].queries = masked_offsets_[i + 1] - masked_offsets_[i];
  }
  pass.last_most_queries = std::min(most_rows_, padded_masked);
  int64_t next = masked_count();
  auto keep = pass.keep.begin();
  for (size_t i = 0; i < sources_.size(); i++) {
    AttentionSequence& source = last[targets_.size() + i];
    source.first_query = next;
    source.queries = static_cast<int64_t>(sources_[i]->wanted.size());
    if (sources_[i]->keys_values) (keep++)->first_final = next;
    next += source.queries;
    pass.last_most_queries = std::max(pass.last_most_queries, source.queries);
  }
  pass.wanted = masked_rows_;
  pass.wanted_rows = padded_masked + wanted_source_rows_;
  pass.last_sequences = arena_.put(last);
  return pass;
}

RemaskArguments TargetBatch::masks_again(const std::vector<int32_t>& counts, int32_t mask_token_id) {
  // Behind the counts the number of rows masked until then, which fill_masks wants: one array to upload instead of two.
  std::vector<int32_t> numbers = counts;
  numbers.resize(static_cast<size_t>(padded_targets_));
  numbers.push_back(static_cast<int32_t>(masked_count()));
  for (size_t i = 0; i < counts.size(); i++) masked_offsets_[i + 1] = masked_offsets_[i] + counts[i];
  return {
      tokens_,         scores_,    maskable_,     device_offsets_, arena_.put(numbers), put_offsets(masked_offsets_),
      padded_targets_, most_rows_, mask_token_id, masked_rows_};
}

TargetBatch::Iteration TargetBatch::plan(const std::vector<int32_t>& counts, int32_t mask_token_id,
                                         int64_t padded_masked) {
  Iteration iteration{pass_of_masked(padded_masked),
                      masked_count(),
                      padded_masked,
                      masked_offsets_,
                      {},
                      nullptr,
                      {},
                      false,
                      {},
                      nullptr};
  iteration.remask = masks_again(counts, mask_token_id);
  iteration.masked_on_device = iteration.remask.counts + padded_targets_;
  iteration.masks_again = masked_count() > 0;
  iteration.head = {arena_.take<int32_t>(padded_masked), arena_.take<float>(padded_masked),
                    arena_.take<float>(padded_masked)};
  iteration.ids = arena_.take<int32_t>(padded_masked);
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
  context.operations->fill_masks(
      context, {masked_rows_, iteration.masked_on_device, iteration.padded_masked, ids, log_probs, tokens_, scores_});
  if (iteration.masks_again) context.operations->remask(context, iteration.remask);
}

void TargetBatch::remask(const Context& context, const std::vector<int32_t>& counts, int32_t mask_token_id) {
  const RemaskArguments arguments = masks_again(counts, mask_token_id);
  if (masked_count() > 0) context.operations->remask(context, arguments);
}

std::vector<uint64_t> TargetBatch::graph_key() const {
  const auto address = [](const void* pointer) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)); };
  return {static_cast<uint64_t>(padded_rows_),
          static_cast<uint64_t>(padded_targets_),
          static_cast<uint64_t>(most_rows_),
          address(tokens_),
          address(positions_),
          address(scores_),
          address(maskable_),
          address(masked_rows_),
          address(device_offsets_),
          address(device_sequences_)};
}

TargetBatch::Values TargetBatch::values() const { return {arena_.get(tokens_, rows_), arena_.get(scores_, rows_)}; }

TargetBatch::Values TargetBatch::of_target(size_t i, const Values& all) const {
  const int32_t first = offsets_[i], end = offsets_[i + 1];
  return {{all.tokens.begin() + first, all.tokens.begin() + end},
          {all.scores.begin() + first, all.scores.begin() + end}};
}

bool TargetBatch::publish(size_t i, const Values& all, int32_t mask_token_id) const {
  Values own = of_target(i, all);
  if (!all_numbers(own.scores)) return false;
  Target& target = *targets_[i];
  const std::lock_guard<std::mutex> lock(target.mutex);
  target.tokens = std::move(own.tokens);
  target.scores = std::move(own.scores);
  for (size_t p = 0; p < target.masked.size(); p++)
    target.masked[p] = target.maskable[p] && target.tokens[p] == mask_token_id;
  target.masked_count = masked_offsets_[i + 1] - masked_offsets_[i];
  return true;
}

}  // namespace mask_predict
