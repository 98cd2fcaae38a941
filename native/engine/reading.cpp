// Answers to readings, from the final states of a pass.
#include "engine/reading.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/special_ids.h"
#include "cpu/thread_pool.h"
#include "engine/engine.h"

namespace mask_predict {
namespace {

// Rows whose logits are in memory at once: enough to read the head's weights rarely, 32 MB of XLM-R's vocabulary.
constexpr int64_t rows_of_logits = 32;

// The `count` largest logits that may be answered and their log-probabilities over all real rows of the head, best
// first, a tie to the lower row. NaN log-probabilities where a logit is not a number.
void best_of(const float* logits, const HeadIds& head, int64_t count, int32_t* rows, float* log_probs) {
  // The kept rows as a heap whose front is the one to go next.
  const auto better = [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
  int64_t kept = 0;
  float largest = -INFINITY;
  bool numbers = true;
  for (int32_t row = 0; row < head.real; row++) {
    largest = std::max(largest, logits[row]);
    numbers = numbers && !std::isnan(logits[row]);
  }
  each_answerable(head, [&](int64_t row) {
    if (kept < count) {
      rows[kept++] = static_cast<int32_t>(row);
      if (kept == count) std::make_heap(rows, rows + kept, better);
    } else if (logits[row] > logits[rows[0]]) {
      std::pop_heap(rows, rows + kept, better);
      rows[kept - 1] = static_cast<int32_t>(row);
      std::push_heap(rows, rows + kept, better);
    }
    return false;
  });
  double sum = 0;
  for (int32_t row = 0; row < head.real; row++) sum += static_cast<double>(std::exp(logits[row] - largest));
  const double log_sum = static_cast<double>(largest) + std::log(sum);
  if (numbers) std::sort(rows, rows + count, better);
  for (int64_t i = 0; i < count; i++)
    log_probs[i] = numbers ? static_cast<float>(static_cast<double>(logits[rows[i]]) - log_sum) : NAN;
}

int64_t rows_of(const std::shared_ptr<Source>& source) { return static_cast<int64_t>(source->wanted.size()); }

// Gives each source its part of values that lie one behind the other, `width` for each wanted row.
void hand_out(const Sources& sources, const std::vector<float>& values, int64_t width) {
  auto next = values.begin();
  for (const std::shared_ptr<Source>& source : sources) {
    const auto end = next + rows_of(source) * width;
    source->reading->values.assign(next, end);
    next = end;
  }
}

}  // namespace

std::vector<int32_t> wanted_positions(const Reading& reading, const std::vector<int32_t>& ids, int32_t mask_token_id) {
  std::vector<int32_t> positions;
  switch (reading.kind) {
    case Reading::First:
    case Reading::Classes: return {0};
    case Reading::Score:
    case Reading::Best:
      if (reading.position >= 0) return {static_cast<int32_t>(reading.position)};
      for (size_t i = 0; i < ids.size(); i++)
        if (ids[i] == mask_token_id) positions.push_back(static_cast<int32_t>(i));
      return positions;
    case Reading::Mean:
    case Reading::TokenClasses:
    case Reading::Logits: break;
  }
  positions.resize(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

void Engine::check_head() const {
  if (!config().head)
    throw Error(ErrorCode::InvalidArgument, std::string("this model has no language-model head (tensors ") +
                                                (config().is_modern_bert() ? "head.* and decoder.bias" : "lm_head.*") +
                                                "): it can embed texts, but neither write nor fill in any");
}

void Engine::check_reading(const Reading& reading) const {
  const auto lacks = [](const std::string& what) { throw Error(ErrorCode::InvalidArgument, "this model has " + what); };
  if (reading.wants_head()) check_head();
  if (reading.kind == Reading::Classes && config().classes == 0)
    lacks(config().is_modern_bert() ? "no sequence classifier (tensors head.* and classifier.*)"
                                    : "no sequence classifier (tensors classifier.dense.* and classifier.out_proj.*)");
  if (reading.kind == Reading::TokenClasses && config().token_classes == 0)
    lacks("no token classifier (tensors classifier.weight and classifier.bias)");
}

std::shared_ptr<Source> Engine::new_reading(const std::vector<int32_t>& ids, Reading reading) {
  auto source = std::make_shared<Source>();
  source->engine = number_;
  source->ids = ids;
  source->wanted = wanted_positions(reading, ids, mask_token_id());
  if (reading.kind == Reading::Classes && config().classifies_mean) {
    source->wanted.resize(ids.size());
    std::iota(source->wanted.begin(), source->wanted.end(), 0);
  }
  source->reading = std::move(reading);
  return source;
}

void Engine::answer(const Sources& sources, int64_t first) {
  for (auto begin = sources.begin(); begin != sources.end();) {
    const auto& reading = (*begin)->reading;
    const auto end = std::find_if(begin, sources.end(), [&](const std::shared_ptr<Source>& source) {
      return source->reading.has_value() != reading.has_value() || (reading && source->reading->kind != reading->kind);
    });
    const Sources group(begin, end);
    begin = end;
    const int64_t rows = std::accumulate(group.begin(), group.end(), int64_t{0},
                                         [](int64_t sum, const auto& source) { return sum + rows_of(source); });
    const int64_t row = std::exchange(first, first + rows);
    if (!reading || rows == 0) continue;
    switch (reading->kind) {
      case Reading::Mean:
      case Reading::First: answer_pooled(group, row); break;
      case Reading::Classes:
      case Reading::TokenClasses: answer_classes(group, row, rows); break;
      case Reading::Score: answer_scores(group, row, rows); break;
      case Reading::Best: answer_best(group, row, rows); break;
      case Reading::Logits: answer_logits(group, row, rows); break;
    }
    throw_if_cancelled();
  }
}

void Engine::answer_pooled(const Sources& sources, int64_t first) {
  const int64_t width = config().hidden;
  const float* states = workspace_.states + first * width;
  std::vector<int32_t> offsets = {0};
  for (const std::shared_ptr<Source>& source : sources)
    offsets.push_back(static_cast<int32_t>(offsets.back() + rows_of(source)));
  const auto count = static_cast<int64_t>(sources.size());
  if (sources.front()->reading->kind == Reading::Mean) {
    Context context = context_;
    context.activations = ValueType::F32;  // an embedding is an answer, not what another product reads
    float* const means = arena_.take<float>(count * width);
    context.operations->mean_rows(context, {states, arena_.put(offsets), count, width, means});
    states = means;
  }
  const std::vector<float> pooled = arena_.get(states, count * width);
  for (int64_t i = 0; i < count; i++)
    sources[static_cast<size_t>(i)]->reading->values.assign(pooled.begin() + i * width,
                                                            pooled.begin() + (i + 1) * width);
}

const void* Engine::classifier_input(int64_t first, int64_t rows) {
  const int64_t width = config().hidden;
  const void* const states =
      static_cast<const char*>(workspace_.normed) + first * width * bytes_of(context_.activations);
  // The dense layer's tanh on the host: a row for each text.
  const LinearWeights& dense = weights_->classifier_dense;
  float* const device_hidden = arena_.take<float>(rows * width);
  context_.operations->linear(
      context_, {states, rows, &dense.matrix, dense.bias_values(), false, nullptr, device_hidden, ValueType::F32});
  std::vector<float> hidden = arena_.get(device_hidden, rows * width);
  for (float& value : hidden) value = std::tanh(value);
  if (context_.activations == ValueType::F32) return arena_.put(hidden);
  std::vector<uint16_t> narrow;
  for (const float value : hidden) narrow.push_back(float_to_bf16(value));
  return arena_.put(narrow);
}

const void* Engine::modern_bert_classifier_input(const Sources& sources, int64_t first, int64_t rows) {
  const int64_t width = config().hidden;
  const void* states = workspace_.states + first * width;
  if (sources.front()->reading->kind == Reading::Classes && config().classifies_mean) {
    std::vector<int32_t> offsets = {0};
    for (const std::shared_ptr<Source>& source : sources)
      offsets.push_back(static_cast<int32_t>(offsets.back() + rows_of(source)));
    rows = static_cast<int64_t>(sources.size());
    float* const means = arena_.take<float>(rows * width);
    context_.operations->mean_rows(context_,
                                   {workspace_.states + first * width, arena_.put(offsets), rows, width, means});
    states = means;
  }
  float* const hidden = arena_.take<float>(rows * width);
  context_.operations->linear(
      context_, {states, rows, &weights_->head_dense.matrix, nullptr, true, nullptr, hidden, ValueType::F32});
  context_.operations->layer_norm(context_, {hidden, rows, width, weights_->head_norm.gain_values(), nullptr,
                                             static_cast<float>(config().layer_norm_epsilon), hidden, nullptr});
  return hidden;
}

void Engine::answer_classes(const Sources& sources, int64_t first, int64_t rows) {
  const int64_t width = config().hidden;
  const bool of_tokens = sources.front()->reading->kind == Reading::TokenClasses;
  const void* input = static_cast<const char*>(workspace_.normed) + first * width * bytes_of(context_.activations);
  if (config().is_modern_bert())
    input = modern_bert_classifier_input(sources, first, rows);
  else if (!of_tokens)
    input = classifier_input(first, rows);
  if (!of_tokens) rows = static_cast<int64_t>(sources.size());
  const LinearWeights& out = of_tokens ? weights_->token_classifier : weights_->classifier;
  const int64_t classes = out.matrix.outputs;
  float* const logits = arena_.take<float>(rows * classes);
  context_.operations->linear(context_,
                              {input, rows, &out.matrix, out.bias_values(), false, nullptr, logits, ValueType::F32});
  const std::vector<float> values = arena_.get(logits, rows * classes);
  if (of_tokens) return hand_out(sources, values, classes);
  for (int64_t i = 0; i < rows; i++)
    sources[static_cast<size_t>(i)]->reading->values.assign(values.begin() + i * classes,
                                                            values.begin() + (i + 1) * classes);
}

void Engine::answer_scores(const Sources& sources, int64_t first, int64_t rows) {
  const void* const transformed = transform_states(first, rows);
  const HeadAnswers head{arena_.take<int32_t>(rows), arena_.take<float>(rows), arena_.take<float>(rows)};
  take_best(transformed, rows, head);
  std::vector<int32_t> at, ids;
  int32_t row = 0;
  for (const std::shared_ptr<Source>& source : sources) {
    for (const std::vector<int32_t>& candidate : source->reading->candidates)
      for (size_t mask = 0; mask < candidate.size(); mask++) {
        at.push_back(row + static_cast<int32_t>(mask));
        ids.push_back(candidate[mask]);
      }
    row += static_cast<int32_t>(rows_of(source));
  }
  const std::vector<float> log_probs = log_probs_at(transformed, at, ids, arena_.get(head.log_sums, rows));
  auto next = log_probs.begin();
  for (const std::shared_ptr<Source>& source : sources) {
    const auto count = static_cast<std::ptrdiff_t>(source->reading->candidates.size()) * rows_of(source);
    source->reading->values.assign(next, next + count);
    next += count;
  }
}

void Engine::answer_best(const Sources& sources, int64_t first, int64_t rows) {
  const char* const transformed = static_cast<const char*>(transform_states(first, rows));
  const int64_t row_bytes = config().hidden * bytes_of(context_.activations), vocabulary = head_.matrix().outputs;
  const HeadIds& head = head_.rows();
  int64_t answerable = head.real;
  for (const int32_t never : head.never) answerable -= never < head.real;
  std::vector<Reading*> readings;  // of each row
  std::vector<int64_t> offsets;    // where its answers begin
  for (const std::shared_ptr<Source>& source : sources) {
    Reading& reading = *source->reading;
    reading.count = std::min(reading.count, answerable);
    for (int64_t mask = 0; mask < rows_of(source); mask++) {
      readings.push_back(&reading);
      offsets.push_back(mask * reading.count);
    }
    reading.ids.resize(source->wanted.size() * static_cast<size_t>(reading.count));
    reading.values.resize(reading.ids.size());
  }
  const bool on_host = context_.operations->host_memory;
  std::vector<float> downloaded;
  for (int64_t begin = 0; begin < rows; begin += rows_of_logits) {
    const int64_t count = std::min(rows_of_logits, rows - begin);
    float* const logits = reserve_head(count * vocabulary);
    context_.operations->linear(head_context(), {transformed + begin * row_bytes, count, &head_.matrix(), head_.bias(),
                                                 false, nullptr, logits, ValueType::F32});
    if (!on_host) downloaded = arena_.get(logits, count * vocabulary);
    throw_if_cancelled();
    const float* const there = on_host ? logits : downloaded.data();
    context_.pool->parallel_for(count, 1, [&](int64_t from, int64_t to, int) {
      for (int64_t i = from; i < to; i++) {
        const auto row = static_cast<size_t>(begin + i);
        Reading& reading = *readings[row];
        best_of(there + i * vocabulary, head, reading.count, reading.ids.data() + offsets[row],
                reading.values.data() + offsets[row]);
      }
    });
  }
  for (const std::shared_ptr<Source>& source : sources) {
    std::vector<int32_t>& ids = source->reading->ids;
    const auto count = static_cast<int64_t>(ids.size());
    if (count > 0) ids = arena_.get(head_.ids_of(context_, arena_.put(ids), count, arena_.take<int32_t>(count)), count);
  }
}

// Logits of the whole vocabulary, even if the head may answer only some ids.
void Engine::answer_logits(const Sources& sources, int64_t first, int64_t rows) {
  const char* next = static_cast<const char*>(transform_states(first, rows));
  const int64_t row_bytes = config().hidden * bytes_of(context_.activations), vocabulary = config().vocabulary;
  for (const std::shared_ptr<Source>& source : sources) {
    std::vector<float>& values = source->reading->values;
    values.resize(static_cast<size_t>(rows_of(source) * vocabulary));
    for (int64_t begin = 0; begin < rows_of(source); begin += rows_of_logits) {
      const int64_t count = std::min(rows_of_logits, rows_of(source) - begin);
      float* const logits = reserve_head(count * vocabulary);
      context_.operations->linear(head_context(), {next, count, &weights_->decoder(), weights_->head_bias.as<float>(),
                                                   false, nullptr, logits, ValueType::F32});
      throw_if_cancelled();
      context_.operations->download(context_, values.data() + begin * vocabulary, logits,
                                    static_cast<uint64_t>(count * vocabulary) * sizeof(float));
      next += count * row_bytes;
    }
  }
}

}  // namespace mask_predict
