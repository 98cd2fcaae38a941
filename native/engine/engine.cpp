#include "engine/engine.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace mask_predict {
namespace {

// Rows whose logits are in memory at once where they have to be (sampling).
constexpr int64_t logit_rows = 8;

// Limit for the spare buffers that disposed sources leave from one call to the next: about forty XL sources of 64 ids.
constexpr uint64_t most_spare_bytes = uint64_t{1} << 30;

std::atomic<uint64_t> next_number{1};

uint64_t left_of(uint64_t limit, uint64_t taken) { return limit > taken ? limit - taken : 0; }

std::vector<int64_t> lengths_of(const Targets& targets) {
  std::vector<int64_t> lengths;
  for (const ActiveTarget& target : targets) lengths.push_back(target->length());
  return lengths;
}

}  // namespace

Engine::Engine(std::shared_ptr<const Weights> weights, const Context& context, std::shared_ptr<void> resources,
               uint64_t limit, const std::vector<int32_t>& allowed_ids, TargetAttention attention)
    : weights_(std::move(weights)),
      resources_(std::move(resources)),
      context_(context),
      attention_(attention),
      budget_(std::make_shared<MemoryBudget>(left_of(limit, weights_->budget->used()))),
      head_(*weights_, allowed_ids, context_, budget_),
      workspace_(weights_->config, context_, budget_),
      arena_(context_, budget_),
      graphs_(context_),
      number_(next_number.fetch_add(1)) {
  if (context_.operations->host_memory) return;
  spares_ = std::make_shared<SpareBuffers>();
  budget_->set_reclaim([spares = std::weak_ptr(spares_)] {
    const auto there = spares.lock();
    return there && there->trim(0);
  });
}

std::shared_ptr<Source> Engine::new_source(const std::vector<int32_t>& ids, bool with_states) {
  const ModelConfig& c = config();
  const auto put_aside = [spares = std::weak_ptr(spares_)](Source* source) {
    if (const auto there = spares.lock(); there && source->keys_values) there->put(std::move(source->keys_values));
    delete source;
  };
  const std::shared_ptr<Source> source(new Source, put_aside);
  source->engine = number_;
  source->ids = ids;
  const int64_t values = source->length() * c.hidden;
  const auto bytes = static_cast<uint64_t>(values * 2 * c.layers * bytes_of(context_.keys_values_type()));
  if (spares_) source->keys_values = spares_->take(bytes);
  if (!source->keys_values) source->keys_values = device_buffer(context_, bytes, budget_, "a source's cache");
  if (with_states) source->states = Buffer(static_cast<uint64_t>(values) * sizeof(float), budget_, "a source's states");
  if (!with_states && attention_ == TargetAttention::Dynamic) return source;
  source->wanted.resize(ids.size());
  std::iota(source->wanted.begin(), source->wanted.end(), 0);
  return source;
}

void Engine::begin_pass() {
  arena_.rewind({});
  if (spares_) spares_->trim(most_spare_bytes);
}

const void* Engine::transform_states(int64_t first, int64_t rows) {
  const ModelConfig& c = config();
  float* const states = workspace_.states + first * c.hidden;
  void* const normed = static_cast<char*>(workspace_.normed) + first * c.hidden * bytes_of(context_.activations);
  context_.operations->linear(context_, {normed, rows, &weights_->head_dense.matrix, weights_->head_dense.bias_values(),
                                         true, nullptr, states, ValueType::F32});
  context_.operations->layer_norm(
      context_, {states, rows, c.hidden, weights_->head_norm.gain_values(), weights_->head_norm.shift_values(),
                 static_cast<float>(c.layer_norm_epsilon), nullptr, normed});
  return normed;
}

void Engine::throw_if_cancelled() const {
  if (context_.is_cancelled()) throw Cancelled();
}

float* Engine::reserve_head(int64_t floats) {
  const uint64_t bytes = static_cast<uint64_t>(floats) * sizeof(float);
  if (head_memory_.bytes() < bytes) {
    head_memory_ = Buffer();
    head_memory_ = device_buffer(context_, bytes, budget_, "the head's working memory");
  }
  return head_memory_.as<float>();
}

LmHeadPartial* Engine::reserve_partials(int64_t rows) {
  constexpr auto partial_floats = static_cast<int64_t>(sizeof(LmHeadPartial) / sizeof(float));
  return reinterpret_cast<LmHeadPartial*>(reserve_head(lm_head_ranges * rows * partial_floats));
}

// The best ids of `rows` rows to predict.
void Engine::take_best(const void* transformed, int64_t rows, const HeadAnswers& head) {
  LmHeadPartial* partials = reserve_partials(rows);
  context_.operations->lm_head_argmax(head_context(), {transformed, rows, &head_.matrix(), head_.bias(), head_.rows(),
                                                       partials, head.ids, head.log_probs, head.log_sums});
}

// Ids for the rows that are drawn, each for its own target's seed and temperature.
void Engine::draw(const TargetBatch& batch, const TargetBatch::Iteration& iteration, const HeadAnswers& head) {
  std::vector<int32_t> sequences, positions;
  batch.masked_positions(iteration, sequences, positions);
  const int32_t* device_sequences = arena_.put(sequences);
  const int32_t* device_positions = arena_.put(positions);
  const int64_t vocabulary = head_.matrix().outputs, row_bytes = config().hidden * bytes_of(context_.activations);
  float* logits = reserve_head(logit_rows * vocabulary);
  auto next = iteration.draws.begin();
  for (int64_t row = iteration.best(); row < iteration.masked; row += logit_rows) {
    const int64_t end = std::min(row + logit_rows, iteration.masked);
    context_.operations->linear(head_context(),
                                {static_cast<char*>(workspace_.normed) + row * row_bytes, end - row, &head_.matrix(),
                                 head_.bias(), false, nullptr, logits, ValueType::F32});
    throw_if_cancelled();
    for (int64_t first = row; first < end;) {
      while (next->end <= first) ++next;
      const int64_t last = std::min(end, next->end);
      const Sampling& sampling = next->sampling;
      context_.operations->sample(
          context_,
          {logits + (first - row) * vocabulary, last - first, vocabulary, head_.rows(), sampling.temperature(),
           Sampling::nucleus, sampling.seed, device_sequences + first, device_positions + first,
           static_cast<int32_t>(sampling.iteration), head.ids + first, head.log_probs + first});
      first = last;
    }
  }
}

HeadAnswers Engine::run_iteration(const TargetBatch& batch, const TargetBatch::Iteration& iteration) {
  StackPass pass = iteration.pass;
  pass.attention = attention_;
  run_stack(context_, *weights_, pass, batch.wants_states(), workspace_);
  const int64_t rows = iteration.padded_masked;
  if (rows == 0) return {};
  const void* const transformed = transform_states(0, rows);
  HeadAnswers head = iteration.head;
  if (iteration.best() > 0) take_best(transformed, iteration.best(), head);
  if (iteration.best() < rows) draw(batch, iteration, head);
  head.ids = head_.ids_of(context_, head.ids, rows, iteration.ids);
  throw_if_cancelled();
  batch.finish(context_, iteration, head.ids, head.log_probs);
  return head;
}

void Engine::run_iterations(const TargetBatch& batch, const std::vector<TargetBatch::Iteration>& iterations) {
  const auto address = [](const void* pointer) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)); };
  const bool in_graphs = batch.use() == TargetBatch::Use::InGraph;
  if (in_graphs) {
    // Reserve buffers first: their addresses are part of the graphs' keys.
    workspace_.reserve(iterations.front().pass.rows);
    int64_t most_masked = 0;
    for (const TargetBatch::Iteration& iteration : iterations)
      most_masked = std::max(most_masked, iteration.padded_masked);
    reserve_partials(most_masked);
  }
  for (const TargetBatch::Iteration& iteration : iterations) {
    throw_if_cancelled();
    if (in_graphs) {
      CudaGraphs::Key key = batch.graph_key();
      key.insert(key.end(), {workspace_.address(), address(head_memory_.as<void>()),
                             static_cast<uint64_t>(iteration.padded_masked), iteration.masks_again,
                             address(iteration.masked_on_device), address(iteration.pass.last_sequences),
                             address(iteration.remask.counts), address(iteration.ids)});
      graphs_.run(key, [&] { run_iteration(batch, iteration); });
    } else {
      run_iteration(batch, iteration);
    }
    if (context_.operations->pace != nullptr) context_.operations->pace(context_);
  }
}

void Engine::remask(const Targets& targets, const std::vector<int32_t>& counts, float below) {
  context_.cancelled = nullptr;
  size_t first = 0;
  in_passes(targets, lengths_of(targets), [&](Targets part) {
    std::vector<int32_t> part_counts;
    for (const ActiveTarget& target : part)
      part_counts.push_back(bounded_count(*target, target->scores, counts[first++], below));
    TargetBatch batch(part, arena_, TargetBatch::Use::Once, config());
    batch.remask(context_, part_counts, mask_token_id());
    const TargetBatch::Values now = batch.values();
    for (size_t i = 0; i < part.size(); i++)
      if (!batch.publish(i, now, mask_token_id())) throw not_numbers("logits");
  });
}

std::vector<std::vector<float>> Engine::states(const Targets& targets, const std::atomic<bool>& cancelled) {
  context_.cancelled = &cancelled;
  std::vector<std::vector<float>> all;
  in_passes(targets, lengths_of(targets), [&](const Targets& part) {
    const TargetBatch batch(part, arena_, TargetBatch::Use::Once, config());
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
  in_passes(targets, lengths_of(targets), [&](const Targets& part) {
    const TargetBatch batch(part, arena_, TargetBatch::Use::Once, config());
    run_stack(context_, *weights_, batch.pass(), false, workspace_);
    const char* next = static_cast<const char*>(transform_states(0, batch.rows()));
    for (const ActiveTarget& target : part) {
      const int64_t length = target->length(), vocabulary = config().vocabulary;
      float* logits = reserve_head(length * vocabulary);
      context_.operations->linear(head_context(), {next, length, &weights_->decoder(), weights_->head_bias.as<float>(),
                                                   false, nullptr, logits, ValueType::F32});
      throw_if_cancelled();
      all.push_back(arena_.get(logits, length * vocabulary));
      next += length * config().hidden * bytes_of(context_.activations);
    }
  });
  return all;
}

}  // namespace mask_predict
