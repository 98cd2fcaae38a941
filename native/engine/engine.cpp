#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/remask.h"
#include "ops/rows.h"
#include "ops/sample.h"

namespace mask_predict {
namespace {

// Rows of one pass. Beyond a few hundred a row costs the same however many there are; more would only take memory
// and delay a cancelled call.
constexpr int64_t pass_rows = 1024;
// Rows whose logits are in memory at once where they have to be (sampling).
constexpr int64_t logit_rows = 8;

std::atomic<uint64_t> next_number{1};

uint64_t left_of(uint64_t limit, uint64_t taken) { return limit > taken ? limit - taken : 0; }

}  // namespace

// What the head says of each masked row.
struct Engine::Head {
  std::vector<int32_t> ids;
  std::vector<float> log_probs;
  std::vector<float> log_sums;
};

Engine::Engine(std::shared_ptr<const Weights> weights, std::shared_ptr<cpu::ThreadPool> pool,
               const cpu::Kernels& kernels, uint64_t limit)
    : weights_(std::move(weights)),
      pool_(std::move(pool)),
      context_{&kernels, pool_.get()},
      budget_(std::make_shared<MemoryBudget>(left_of(limit, weights_->budget->used()))),
      workspace_(weights_->config, budget_),
      number_(next_number.fetch_add(1)) {}

template <class Body>
void Engine::in_passes(const Targets& targets, const Body& body) {
  for (size_t first = 0; first < targets.size();) {
    int64_t rows = targets[first]->length();
    size_t end = first + 1;
    while (end < targets.size() && rows + targets[end]->length() <= pass_rows) rows += targets[end++]->length();
    body(first, end);
    first = end;
  }
}

std::vector<std::shared_ptr<Source>> Engine::encode(const std::vector<std::vector<int32_t>>& ids,
                                                    const std::atomic<bool>& cancelled) {
  const ModelConfig& c = config();
  std::vector<std::shared_ptr<Source>> sources;
  for (const std::vector<int32_t>& source_ids : ids) {
    auto source = std::make_shared<Source>();
    source->engine = number_;
    source->ids = source_ids;
    const uint64_t values = static_cast<uint64_t>(source->length() * c.hidden);
    source->keys_values = Buffer(values * 2 * static_cast<uint64_t>(c.layers) * sizeof(float), budget_, "a source's cache");
    source->states = Buffer(values * sizeof(float), budget_, "a source's states");
    sources.push_back(std::move(source));
  }
  for (size_t first = 0; first < sources.size();) {
    std::vector<StackSequence> sequences;
    std::vector<int32_t> offsets = {0};
    size_t end = first;
    while (end < sources.size() && (end == first || offsets.back() + sources[end]->length() <= pass_rows)) {
      const Source& source = *sources[end++];
      sequences.push_back({source.ids.data(), source.length(), nullptr, 0, source.keys_values.as<float>()});
      offsets.push_back(offsets.back() + static_cast<int32_t>(source.length()));
    }
    run_stack(context_, *weights_, sequences, nullptr, workspace_, cancelled);
    const int64_t count = static_cast<int64_t>(end - first);
    for (size_t i = first; i < end; i++)
      std::memcpy(sources[i]->states.as<float>(), workspace_.states + offsets[i - first] * c.hidden,
                  static_cast<size_t>(sources[i]->length() * c.hidden) * sizeof(float));
    if (weights_->lengths) {
      mean_rows(context_, {workspace_.states, offsets.data(), count, c.hidden, workspace_.normed});
      std::vector<float> logits(static_cast<size_t>(count * c.lengths));
      linear(context_, {workspace_.normed, count, &weights_->lengths, nullptr, false, nullptr, logits.data()});
      for (size_t i = first; i < end; i++) {
        const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(i - first) * c.lengths;
        sources[i]->length_logits.assign(begin, begin + c.lengths);
      }
    }
    first = end;
  }
  return sources;
}

void Engine::forward(const Targets& targets, size_t first, size_t end, const std::vector<int32_t>* rows,
                     const std::atomic<bool>& cancelled) {
  std::vector<StackSequence> sequences;
  for (size_t i = first; i < end; i++) {
    const Target& target = *targets[i];
    sequences.push_back({target.tokens.data(), target.length(), targets[i].source->keys_values.as<float>(),
                         targets[i].source->length(), nullptr});
  }
  run_stack(context_, *weights_, sequences, rows, workspace_, cancelled);
}

std::vector<int32_t> Engine::masked_rows(const Targets& targets, size_t first, size_t end) {
  std::vector<int32_t> rows;
  int64_t row = 0;
  for (size_t i = first; i < end; i++)
    for (const uint8_t masked : targets[i]->masked) {
      if (masked) rows.push_back(static_cast<int32_t>(row));
      row++;
    }
  return rows;
}

void Engine::transform_states(int64_t rows) {
  const ModelConfig& c = config();
  linear(context_, {workspace_.states, rows, &weights_->head_dense.matrix, weights_->head_dense.bias_values(), true,
                    nullptr, workspace_.normed});
  layer_norm(context_, {workspace_.normed, rows, c.hidden, weights_->head_norm.gain.as<float>(),
                        weights_->head_norm.shift.as<float>(), static_cast<float>(c.layer_norm_epsilon),
                        workspace_.states});
}

void Engine::reserve_head(int64_t floats) {
  const uint64_t bytes = static_cast<uint64_t>(floats) * sizeof(float);
  if (head_memory_.bytes() >= bytes) return;
  head_memory_ = Buffer();
  head_memory_ = Buffer(bytes, budget_, "the head's working memory");
}

Engine::Head Engine::best_ids(int64_t rows) {
  const int64_t ranges = lm_head_ranges(config().vocabulary);
  reserve_head(ranges * rows * static_cast<int64_t>(sizeof(LmHeadPartial) / sizeof(float)));
  const size_t count = static_cast<size_t>(rows);
  Head head{std::vector<int32_t>(count), std::vector<float>(count), std::vector<float>(count)};
  lm_head_argmax(context_, {workspace_.states, rows, &weights_->decoder(), weights_->head_bias.as<float>(),
                            static_cast<int32_t>(config().mask_token_id), head_memory_.as<LmHeadPartial>(),
                            head.ids.data(), head.log_probs.data(), head.log_sums.data()});
  return head;
}

Engine::Head Engine::drawn_ids(const Targets& targets, size_t first, size_t end, int64_t rows,
                               const Sampling& sampling) {
  std::vector<int32_t> sequences, positions;
  for (size_t i = first; i < end; i++)
    for (int64_t p = 0; p < targets[i]->length(); p++)
      if (targets[i]->masked[static_cast<size_t>(p)]) {
        sequences.push_back(static_cast<int32_t>(targets[i]->sequence));
        positions.push_back(static_cast<int32_t>(p));
      }
  const int64_t vocabulary = config().vocabulary;
  reserve_head(logit_rows * vocabulary);
  Head head{std::vector<int32_t>(static_cast<size_t>(rows)), std::vector<float>(static_cast<size_t>(rows)), {}};
  for (int64_t row = 0; row < rows; row += logit_rows) {
    const int64_t count = std::min(logit_rows, rows - row);
    linear(context_, {workspace_.states + row * config().hidden, count, &weights_->decoder(),
                      weights_->head_bias.as<float>(), false, nullptr, head_memory_.as<float>()});
    sample(context_, {head_memory_.as<float>(), count, vocabulary, static_cast<int32_t>(config().mask_token_id),
                      sampling.temperature(), Sampling::nucleus, sampling.seed, sequences.data() + row,
                      positions.data() + row, static_cast<int32_t>(sampling.iteration), head.ids.data() + row,
                      head.log_probs.data() + row});
  }
  return head;
}

void Engine::predict(const Targets& all, const std::optional<Sampling>& sampling, const std::atomic<bool>& cancelled) {
  Targets targets;
  for (const ActiveTarget& target : all)
    if (target->masked_count > 0) targets.push_back(target);
  in_passes(targets, [&](size_t first, size_t end) {
    const std::vector<int32_t> rows = masked_rows(targets, first, end);
    const int64_t count = static_cast<int64_t>(rows.size());
    forward(targets, first, end, &rows, cancelled);
    transform_states(count);
    const Head head = sampling ? drawn_ids(targets, first, end, count, *sampling) : best_ids(count);
    for (size_t row = 0; row < rows.size(); row++)
      if (head.ids[row] < 0 || std::isnan(head.log_probs[row]))
        throw Error(ErrorCode::ModelFormat,
                    "the model's logits are not numbers (NaN or infinite): its weights are damaged or too large");
    size_t row = 0;
    for (size_t i = first; i < end; i++) {
      Target& target = *targets[i];
      const std::lock_guard<std::mutex> lock(target.mutex);
      for (size_t p = 0; p < target.masked.size(); p++) {
        if (!target.masked[p]) continue;
        target.tokens[p] = head.ids[row];
        target.scores[p] = head.log_probs[row++];
        target.masked[p] = 0;
      }
      target.masked_count = 0;
    }
  });
}

void Engine::remask(const Targets& targets, const std::vector<int64_t>& counts) {
  for (size_t i = 0; i < targets.size(); i++) {
    Target& target = *targets[i];
    const std::lock_guard<std::mutex> lock(target.mutex);
    const RemaskSequence sequence{target.tokens.data(), target.scores.data(), target.maskable.data(),
                                  target.masked.data(), target.length(), counts[i]};
    mask_predict::remask(context_, &sequence, 1, static_cast<int32_t>(config().mask_token_id));
    target.masked_count = counts[i];
  }
}

std::vector<int32_t> Engine::decode(const Targets& targets, int64_t iterations, std::optional<Sampling> sampling,
                                    const std::atomic<bool>& cancelled) {
  std::vector<int32_t> passes(targets.size(), 0);
  for (int64_t t = 1; t <= iterations; t++) {
    Targets active;
    std::vector<int64_t> counts;
    for (size_t i = 0; i < targets.size(); i++) {
      if (targets[i]->masked_count == 0) continue;
      passes[i]++;
      active.push_back(targets[i]);
      counts.push_back(targets[i]->maskable_count * (iterations - t) / iterations);
    }
    if (active.empty()) break;
    if (sampling) sampling->iteration = t;
    predict(active, sampling, cancelled);
    if (t < iterations) remask(active, counts);
  }
  return passes;
}

std::vector<std::vector<float>> Engine::states(const Targets& targets, const std::atomic<bool>& cancelled) {
  std::vector<std::vector<float>> all;
  in_passes(targets, [&](size_t first, size_t end) {
    forward(targets, first, end, nullptr, cancelled);
    const float* next = workspace_.states;
    for (size_t i = first; i < end; i++) {
      const int64_t values = targets[i]->length() * config().hidden;
      all.emplace_back(next, next + values);
      next += values;
    }
  });
  return all;
}

std::vector<std::vector<float>> Engine::logits(const Targets& targets, const std::atomic<bool>& cancelled) {
  std::vector<std::vector<float>> all;
  in_passes(targets, [&](size_t first, size_t end) {
    int64_t rows = 0;
    for (size_t i = first; i < end; i++) rows += targets[i]->length();
    forward(targets, first, end, nullptr, cancelled);
    transform_states(rows);
    const float* next = workspace_.states;
    for (size_t i = first; i < end; i++) {
      const int64_t length = targets[i]->length();
      // Counted like everything else, though it is about to become the caller's.
      const uint64_t bytes = static_cast<uint64_t>(length * config().vocabulary) * sizeof(float);
      budget_->reserve(bytes, "the logits of " + std::to_string(length) + " positions");
      budget_->release(bytes);
      all.emplace_back(static_cast<size_t>(length * config().vocabulary));
      linear(context_, {next, length, &weights_->decoder(), weights_->head_bias.as<float>(), false, nullptr,
                        all.back().data()});
      next += length * config().hidden;
    }
  });
  return all;
}

std::vector<std::vector<std::vector<float>>> Engine::log_probs(
    const Targets& targets, const std::vector<std::vector<std::vector<int32_t>>>& candidates,
    const std::atomic<bool>& cancelled) {
  std::vector<std::vector<std::vector<float>>> all(targets.size());
  in_passes(targets, [&](size_t first, size_t end) {
    const std::vector<int32_t> rows = masked_rows(targets, first, end);
    if (!rows.empty()) {
      forward(targets, first, end, &rows, cancelled);
      transform_states(static_cast<int64_t>(rows.size()));
    }
    const Head head = rows.empty() ? Head{} : best_ids(static_cast<int64_t>(rows.size()));
    int32_t row = 0;
    for (size_t i = first; i < end; i++) {
      const Target& target = *targets[i];
      std::vector<int32_t> positions, state_rows;
      for (size_t p = 0; p < target.masked.size(); p++)
        if (target.masked[p]) {
          positions.push_back(static_cast<int32_t>(p));
          state_rows.push_back(row++);
        }
      for (const std::vector<int32_t>& candidate : candidates[i]) {
        std::vector<int32_t> ids;
        for (const int32_t p : positions) ids.push_back(candidate[static_cast<size_t>(p)]);
        std::vector<float> logits(ids.size()), result(target.masked.size(), 0.0f);
        logits_at(context_, {workspace_.states, &weights_->decoder(), weights_->head_bias.as<float>(),
                             state_rows.data(), ids.data(), static_cast<int64_t>(ids.size()), logits.data()});
        for (size_t n = 0; n < ids.size(); n++)
          result[static_cast<size_t>(positions[n])] = logits[n] - head.log_sums[static_cast<size_t>(state_rows[n])];
        all[i].push_back(std::move(result));
      }
    }
  });
  return all;
}

}  // namespace mask_predict
