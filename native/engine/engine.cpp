#include "engine/engine.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/room.h"

namespace mask_predict {
namespace {

// Rows of one pass. Beyond a few hundred a row costs the same however many there are; more would only take memory
// and delay a cancelled call.
constexpr int64_t pass_rows = 1024;
// Rows whose logits are in memory at once where they have to be (sampling).
constexpr int64_t logit_rows = 8;

// Iterations whose arrays are in memory together.
constexpr int64_t planned_iterations = 32;

// What disposed sources leave behind, at most, from one call to the next: some forty XL sources of 64 ids.
constexpr uint64_t most_spare_bytes = uint64_t{1} << 30;

std::atomic<uint64_t> next_number{1};

uint64_t left_of(uint64_t limit, uint64_t taken) { return limit > taken ? limit - taken : 0; }

}  // namespace

Engine::Engine(std::shared_ptr<const Weights> weights, const Context& context, std::shared_ptr<void> resources,
               uint64_t limit)
    : weights_(std::move(weights)),
      resources_(std::move(resources)),
      context_(context),
      budget_(std::make_shared<MemoryBudget>(left_of(limit, weights_->budget->used()))),
      workspace_(weights_->config, context_, budget_),
      arena_(context_, budget_),
      recordings_(context_),
      number_(next_number.fetch_add(1)) {
  if (context_.operations->memory == &host_memory) return;
  spares_ = std::make_shared<SpareBuffers>();
  budget_->set_reclaim([spares = std::weak_ptr(spares_)] {
    const auto there = spares.lock();
    return there && there->trim(0);
  });
}

std::shared_ptr<Source> Engine::new_source(const std::vector<int32_t>& ids) {
  const ModelConfig& c = config();
  const auto put_aside = [spares = std::weak_ptr(spares_)](Source* source) {
    if (const auto there = spares.lock(); there && source->keys_values) there->put(std::move(source->keys_values));
    delete source;
  };
  const std::shared_ptr<Source> source(new Source, put_aside);
  source->engine = number_;
  source->ids = ids;
  const int64_t values = source->length() * c.hidden;
  const auto bytes = static_cast<uint64_t>(values * 2 * c.layers * bytes_of(context_.activations));
  if (spares_) source->keys_values = spares_->take(bytes);
  if (!source->keys_values)
    source->keys_values = Buffer(bytes, budget_, "a source's cache", *context_.operations->memory);
  source->states = Buffer(static_cast<uint64_t>(values) * sizeof(float), budget_, "a source's states");
  return source;
}

template <class Body>
void Engine::in_passes(const Targets& targets, const Body& body) {
  if (spares_) spares_->trim(most_spare_bytes);
  for (size_t first = 0; first < targets.size();) {
    int64_t rows = targets[first]->length();
    size_t end = first + 1;
    while (end < targets.size() && rows + targets[end]->length() <= pass_rows) rows += targets[end++]->length();
    arena_.rewind({});
    body(Targets(targets.begin() + static_cast<std::ptrdiff_t>(first), targets.begin() + static_cast<std::ptrdiff_t>(end)));
    first = end;
  }
}

std::vector<std::shared_ptr<Source>> Engine::encode(const std::vector<std::vector<int32_t>>& ids,
                                                    const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  const ModelConfig& c = config();
  std::vector<std::shared_ptr<Source>> sources;
  for (const std::vector<int32_t>& source_ids : ids) sources.push_back(new_source(source_ids));
  if (spares_) spares_->trim(most_spare_bytes);
  for (size_t first = 0; first < sources.size();) {
    arena_.rewind({});
    std::vector<int32_t> offsets = {0}, all_ids, positions;
    std::vector<AttentionSequence> sequences;
    StackPass pass;
    size_t end = first;
    while (end < sources.size() && (end == first || offsets.back() + sources[end]->length() <= pass_rows)) {
      const Source& source = *sources[end++];
      const int64_t length = source.length(), row = offsets.back();
      all_ids.insert(all_ids.end(), source.ids.begin(), source.ids.end());
      for (int64_t i = 0; i < length; i++) positions.push_back(static_cast<int32_t>(i) + first_position);
      sequences.push_back({row, length, row, length, nullptr, 0});
      pass.keep.push_back({row, length, source.keys_values.as<char>()});
      pass.most_queries = std::max(pass.most_queries, length);
      offsets.push_back(static_cast<int32_t>(row + length));
    }
    const int64_t count = static_cast<int64_t>(end - first);
    pass.rows = offsets.back();
    pass.ids = arena_.put(all_ids);
    pass.positions = arena_.put(positions);
    pass.sequences = arena_.put(sequences);
    pass.sequence_count = count;
    pass.most_keys = pass.most_queries;
    run_stack(context_, *weights_, pass, true, workspace_);

    for (size_t i = first; i < end; i++)
      context_.operations->download(context_, sources[i]->states.as<void>(),
                                    workspace_.states + offsets[i - first] * c.hidden, sources[i]->states.bytes());
    if (weights_->lengths) {
      context_.operations->mean_rows(context_, {workspace_.states, arena_.put(offsets), count, c.hidden,
                                                workspace_.attention});
      float* logits = arena_.take<float>(count * c.lengths);
      context_.operations->linear(context_, {workspace_.attention, count, &weights_->lengths, nullptr, false, nullptr,
                                             logits, ValueType::F32});
      for (size_t i = first; i < end; i++)
        sources[i]->length_logits = arena_.get(logits + static_cast<int64_t>(i - first) * c.lengths, c.lengths);
    }
    first = end;
  }
  throw_if_cancelled();
  return sources;
}

void Engine::transform_states(int64_t rows) {
  const ModelConfig& c = config();
  context_.operations->linear(context_, {workspace_.normed, rows, &weights_->head_dense.matrix,
                                         weights_->head_dense.bias_values(), true, nullptr, workspace_.states,
                                         ValueType::F32});
  context_.operations->layer_norm(context_, {workspace_.states, rows, c.hidden, weights_->head_norm.gain.as<float>(),
                                             weights_->head_norm.shift.as<float>(),
                                             static_cast<float>(c.layer_norm_epsilon), nullptr, workspace_.normed});
}

TargetBatch::Use Engine::use_of_iterations() const {
  return context_.operations->begin_recording != nullptr ? TargetBatch::Use::Recorded : TargetBatch::Use::Once;
}

void Engine::throw_if_cancelled() const {
  if (context_.is_cancelled()) throw Cancelled();
}

float* Engine::reserve_head(int64_t floats) {
  const uint64_t bytes = static_cast<uint64_t>(floats) * sizeof(float);
  if (head_memory_.bytes() < bytes) {
    head_memory_ = Buffer();
    head_memory_ = Buffer(bytes, budget_, "the head's working memory", *context_.operations->memory);
  }
  return head_memory_.as<float>();
}

LmHeadPartial* Engine::reserve_partials(int64_t rows) {
  constexpr auto partial_floats = static_cast<int64_t>(sizeof(LmHeadPartial) / sizeof(float));
  return reinterpret_cast<LmHeadPartial*>(reserve_head(lm_head_ranges * rows * partial_floats));
}

Engine::Head Engine::best_ids(int64_t rows) {
  LmHeadPartial* partials = reserve_partials(rows);
  const Head head{arena_.take<int32_t>(rows), arena_.take<float>(rows), arena_.take<float>(rows)};
  context_.operations->lm_head_argmax(
      context_, {workspace_.normed, rows, &weights_->decoder(), weights_->head_bias.as<float>(),
                 static_cast<int32_t>(config().mask_token_id), partials, head.ids, head.log_probs, head.log_sums});
  return head;
}

Engine::Head Engine::drawn_ids(const TargetBatch& batch, const TargetBatch::Iteration& iteration,
                               const Sampling& sampling) {
  std::vector<int32_t> sequences, positions;
  batch.masked_positions(iteration, sequences, positions);
  const int32_t* device_sequences = arena_.put(sequences);
  const int32_t* device_positions = arena_.put(positions);
  const int64_t rows = iteration.masked, vocabulary = config().vocabulary;
  const int64_t row_bytes = config().hidden * bytes_of(context_.activations);
  float* logits = reserve_head(logit_rows * vocabulary);
  const Head head{arena_.take<int32_t>(rows), arena_.take<float>(rows), nullptr};
  for (int64_t row = 0; row < rows; row += logit_rows) {
    const int64_t count = std::min(logit_rows, rows - row);
    context_.operations->linear(context_, {static_cast<char*>(workspace_.normed) + row * row_bytes, count,
                                           &weights_->decoder(), weights_->head_bias.as<float>(), false, nullptr,
                                           logits, ValueType::F32});
    throw_if_cancelled();
    context_.operations->sample(
        context_, {logits, count, vocabulary, static_cast<int32_t>(config().mask_token_id), sampling.temperature(),
                   Sampling::nucleus, sampling.seed, device_sequences + row, device_positions + row,
                   static_cast<int32_t>(sampling.iteration), head.ids + row, head.log_probs + row});
  }
  return head;
}

void Engine::run_iteration(const TargetBatch& batch, const TargetBatch::Iteration& iteration,
                           const std::optional<Sampling>& sampling) {
  run_stack(context_, *weights_, iteration.pass, false, workspace_);
  transform_states(iteration.masked_room);
  const Head head = sampling ? drawn_ids(batch, iteration, *sampling) : best_ids(iteration.masked_room);
  throw_if_cancelled();
  batch.finish(context_, iteration, head.ids, head.log_probs);
}

void Engine::run_iterations(const TargetBatch& batch, const std::vector<TargetBatch::Iteration>& iterations,
                            std::optional<Sampling> sampling, int64_t first) {
  const auto all = [&] {
    for (size_t i = 0; i < iterations.size(); i++) {
      if (sampling) sampling->iteration = first + static_cast<int64_t>(i);
      run_iteration(batch, iterations[i], sampling);
    }
  };
  // Sampling asks the device for positions in between: it cannot be recorded.
  if (sampling || use_of_iterations() == TargetBatch::Use::Once) return all();
  const auto address = [](const void* pointer) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)); };
  // First what the shape says the place of.
  workspace_.reserve(iterations.front().pass.rows);
  reserve_partials(iterations.front().masked_room);
  Recordings::Shape shape = batch.shape();
  shape.insert(shape.end(), {workspace_.address(), address(head_memory_.as<void>())});
  for (const TargetBatch::Iteration& iteration : iterations)
    shape.insert(shape.end(), {static_cast<uint64_t>(iteration.masked_room), iteration.masks_again,
                               address(iteration.masked_on_device), address(iteration.pass.last_sequences),
                               address(iteration.remask.counts)});
  throw_if_cancelled();
  recordings_.run(shape, all);
}

void Engine::predict(const Targets& all, const std::optional<Sampling>& sampling, const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  Targets targets;
  for (const ActiveTarget& target : all)
    if (target->masked_count > 0) targets.push_back(target);
  in_passes(targets, [&](Targets part) {
    const std::vector<int32_t> none(part.size(), 0);
    TargetBatch batch(std::move(part), arena_, use_of_iterations());
    const int64_t iteration = sampling ? sampling->iteration : 1, masked = batch.masked_count();
    const int64_t room = use_of_iterations() == TargetBatch::Use::Recorded ? room_for_rows(masked) : masked;
    run_iterations(batch, {batch.plan(none, mask_token_id(), room)}, sampling, iteration);
    batch.publish(mask_token_id());
  });
}

void Engine::remask(const Targets& targets, const std::vector<int32_t>& counts) {
  context_.cancelled = nullptr;
  size_t first = 0;
  in_passes(targets, [&](Targets part) {
    const auto begin = counts.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<int32_t> part_counts(begin, begin + static_cast<std::ptrdiff_t>(part.size()));
    first += part.size();
    TargetBatch batch(std::move(part), arena_, TargetBatch::Use::Once);
    batch.remask(context_, part_counts, mask_token_id());
    batch.publish(mask_token_id());
  });
}

std::vector<int32_t> Engine::decode(const Targets& targets, int64_t iterations, std::optional<Sampling> sampling,
                                    const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  std::vector<int32_t> passes;
  for (const ActiveTarget& target : targets) {
    // The last pass is the first one after which floor(N (T - t) / T) is 0.
    const int64_t n = target->maskable_count;
    int64_t last = 0;
    if (target->masked_count > 0) last = n == 0 ? 1 : iterations - (iterations + n - 1) / n + 1;
    passes.push_back(static_cast<int32_t>(last));
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < targets.size(); i++)
    if (passes[i] > 0) order.push_back(i);
  // Targets that end together go together, so that a batch keeps its rows until its end.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return passes[a] > passes[b]; });
  Targets ordered;
  for (const size_t i : order) ordered.push_back(targets[i]);

  size_t done = 0;
  in_passes(ordered, [&](Targets part) {
    std::vector<int32_t> lasts;
    for (size_t i = 0; i < part.size(); i++) lasts.push_back(passes[order[done + i]]);
    done += part.size();
    for (int64_t t = 1; !part.empty();) {
      arena_.rewind({});
      TargetBatch batch(part, arena_, use_of_iterations());
      const int64_t maskable = batch.maskable_count();
      // Up to where the first target ends, or as many iterations as are worth recording together.
      const int64_t end = std::min<int64_t>(lasts.back() + 1, t + planned_iterations);
      std::vector<TargetBatch::Iteration> planned;
      for (const int64_t first = t; t < end || t == first; t++) {
        std::vector<int32_t> counts;
        for (size_t i = 0; i < part.size(); i++)
          counts.push_back(t < lasts[i] ? static_cast<int32_t>(part[i]->maskable_count * (iterations - t) / iterations) : 0);
        // Of N positions at most N (T - t + 1) / T are masked in pass t: the room depends on that of N, and on t and T.
        int64_t room = batch.masked_count();
        if (use_of_iterations() == TargetBatch::Use::Recorded)
          room = room_for_rows((room_for_rows(maskable) * (iterations - t + 1) + iterations - 1) / iterations);
        planned.push_back(batch.plan(counts, mask_token_id(), room));
      }
      run_iterations(batch, planned, sampling, t - static_cast<int64_t>(planned.size()));
      batch.publish(mask_token_id());
      while (!part.empty() && lasts.back() < t) {
        part.pop_back();
        lasts.pop_back();
      }
    }
  });
  return passes;
}

std::vector<std::vector<float>> Engine::states(const Targets& targets, const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  std::vector<std::vector<float>> all;
  in_passes(targets, [&](Targets part) {
    const TargetBatch batch(part, arena_, TargetBatch::Use::Once);
    run_stack(context_, *weights_, batch.pass(), true, workspace_);
    const float* next = workspace_.states;
    for (const ActiveTarget& target : part) {
      const int64_t values = target->length() * config().hidden;
      all.push_back(arena_.get(next, values));
      next += values;
    }
  });
  return all;
}

std::vector<std::vector<float>> Engine::logits(const Targets& targets, const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  std::vector<std::vector<float>> all;
  in_passes(targets, [&](Targets part) {
    const TargetBatch batch(part, arena_, TargetBatch::Use::Once);
    run_stack(context_, *weights_, batch.pass(), false, workspace_);
    transform_states(batch.rows());
    const char* next = static_cast<const char*>(workspace_.normed);
    for (const ActiveTarget& target : part) {
      const int64_t length = target->length(), vocabulary = config().vocabulary;
      float* logits = reserve_head(length * vocabulary);
      context_.operations->linear(context_, {next, length, &weights_->decoder(), weights_->head_bias.as<float>(), false,
                                             nullptr, logits, ValueType::F32});
      throw_if_cancelled();
      all.push_back(arena_.get(logits, length * vocabulary));
      next += length * config().hidden * bytes_of(context_.activations);
    }
  });
  return all;
}

std::vector<std::vector<std::vector<float>>> Engine::log_probs(
    const Targets& targets, const std::vector<std::vector<std::vector<int32_t>>>& candidates,
    const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  std::vector<std::vector<std::vector<float>>> all;
  in_passes(targets, [&](Targets part) {
    const TargetBatch batch(part, arena_, TargetBatch::Use::Once);
    const int64_t rows = batch.masked_count();
    Head head{};
    if (rows > 0) {
      run_stack(context_, *weights_, batch.pass_of_masked(rows), false, workspace_);
      transform_states(rows);
      head = best_ids(rows);
      throw_if_cancelled();
    }
    const std::vector<float> log_sums = arena_.get(head.log_sums, rows);
    check_numbers(log_sums, "logits");
    int32_t row = 0;
    for (const ActiveTarget& target : part) {
      std::vector<int32_t> positions, state_rows;
      for (size_t p = 0; p < target->masked.size(); p++)
        if (target->masked[p]) {
          positions.push_back(static_cast<int32_t>(p));
          state_rows.push_back(row++);
        }
      const int64_t count = static_cast<int64_t>(positions.size());
      const int32_t* device_rows = arena_.put(state_rows);
      std::vector<std::vector<float>> results;
      for (const std::vector<int32_t>& candidate : candidates[all.size()]) {
        std::vector<int32_t> ids;
        for (const int32_t p : positions) ids.push_back(candidate[static_cast<size_t>(p)]);
        float* device_logits = arena_.take<float>(count);
        context_.operations->logits_at(context_, {workspace_.normed, &weights_->decoder(),
                                                  weights_->head_bias.as<float>(), device_rows, arena_.put(ids), count,
                                                  device_logits});
        const std::vector<float> logits = arena_.get(device_logits, count);
        std::vector<float> result(target->masked.size(), 0.0f);
        for (size_t n = 0; n < ids.size(); n++)
          result[static_cast<size_t>(positions[n])] = logits[n] - log_sums[static_cast<size_t>(state_rows[n])];
        results.push_back(std::move(result));
      }
      all.push_back(std::move(results));
    }
  });
  return all;
}

}  // namespace mask_predict
