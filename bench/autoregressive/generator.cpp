#include "generator.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "ops/operations.h"

namespace autoregressive {

using mask_predict::AttentionSequence;
using mask_predict::Error;
using mask_predict::ErrorCode;

namespace {

constexpr int64_t pass_rows = 1024;  // as Engine has it
constexpr int32_t begin_id = 0;      // <s>

double milliseconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count();
}

// Calls body(begin, end) for runs of prompts of at most pass_rows ids together, at least one prompt each.
template <class Body>
void in_passes(const std::vector<std::vector<int32_t>>& prompts, const Body& body) {
  for (size_t begin = 0; begin < prompts.size();) {
    auto rows = static_cast<int64_t>(prompts[begin].size());
    size_t end = begin + 1;
    while (end < prompts.size() && rows + static_cast<int64_t>(prompts[end].size()) <= pass_rows)
      rows += static_cast<int64_t>(prompts[end++].size());
    body(begin, end);
    begin = end;
  }
}

void keep(Generation& generation, size_t first, Predictions predictions) {
  for (size_t i = 0; i < predictions.ids.size(); i++) {
    generation.ids[first + i].push_back(predictions.ids[i]);
    generation.log_probs[first + i].push_back(predictions.log_probs[i]);
    if (!predictions.logits.empty()) generation.logits[first + i].push_back(std::move(predictions.logits[i]));
  }
}

}  // namespace

Generator::Generator(const Model& model, const mask_predict::Context& context)
    : model_(model),
      context_(context),
      decoder_(model, context),
      encoder_workspace_(model.config(), context, nullptr) {}

void Generator::check(const std::vector<std::vector<int32_t>>& prompts, int64_t length) const {
  const ModelConfig& config = model_.config();
  const auto refuse = [](const std::string& what) { throw Error(ErrorCode::InvalidArgument, what); };
  if (prompts.empty()) refuse("there are no prompts");
  if (length < 1) refuse("the length must be 1 or more, not " + std::to_string(length));
  for (const std::vector<int32_t>& prompt : prompts) {
    if (prompt.empty()) refuse("a prompt is empty");
    const auto source = static_cast<int64_t>(prompt.size());
    const int64_t longest =
        model_.architecture == Architecture::DecoderOnly ? source + length - 1 : std::max(source, length);
    if (longest > config.max_ids())
      refuse("a sequence has " + std::to_string(longest) + " ids, the model has positions for " +
             std::to_string(config.max_ids()));
    for (const int32_t id : prompt)
      if (id < 0 || id >= config.vocabulary) refuse("there is no id " + std::to_string(id));
  }
}

void Generator::reserve(const std::vector<std::vector<int32_t>>& prompts, int64_t length) {
  const CacheShape shape = decoder_.cache_shape();
  if (sequences_.size() < prompts.size()) sequences_.resize(prompts.size());
  const auto grow = [&](KeyValueCache& cache, int64_t rows) {
    if (cache.capacity() >= rows) return;
    cache = KeyValueCache();
    cache = KeyValueCache(shape, rows);
  };
  for (size_t i = 0; i < prompts.size(); i++) {
    DecodedSequence& sequence = sequences_[i];
    const auto source = static_cast<int64_t>(prompts[i].size());
    const bool only = model_.architecture == Architecture::DecoderOnly;
    grow(sequence.own, only ? source + length - 1 : length);
    if (!only) grow(sequence.source, source);
    sequence.length = 0;
    sequence.source_length = only ? 0 : source;
  }
}

// Runs the sources through the encoder and keeps what each layer of the decoder sees of them.
void Generator::encode(const std::vector<std::vector<int32_t>>& prompts) {
  const CacheShape shape = decoder_.cache_shape();
  in_passes(prompts, [&](size_t begin, size_t end) {
    std::vector<int32_t> ids, positions;
    std::vector<AttentionSequence> sequences;
    std::vector<AppendTask> appended;
    mask_predict::StackPass pass;
    for (size_t i = begin; i < end; i++) {
      const auto length = static_cast<int64_t>(prompts[i].size()), row = static_cast<int64_t>(ids.size());
      ids.insert(ids.end(), prompts[i].begin(), prompts[i].end());
      for (int64_t p = 0; p < length; p++) positions.push_back(static_cast<int32_t>(p) + mask_predict::pad_id + 1);
      sequences.push_back({row, length, row, length, nullptr, 0});
      appended.push_back({&sequences_[i].source, row, length, 0});
      pass.most_queries = std::max(pass.most_queries, length);
    }
    pass.rows = static_cast<int64_t>(ids.size());
    pass.ids = ids.data();
    pass.positions = positions.data();
    pass.sequences = sequences.data();
    pass.sequence_count = static_cast<int64_t>(sequences.size());
    pass.most_keys = pass.most_queries;
    mask_predict::run_stack(context_, *model_.shared, pass, false, encoder_workspace_);
    for (size_t layer = 0; layer < model_.cross.size(); layer++) {
      const mask_predict::LinearWeights& weights = model_.cross[layer].key_value;
      context_.operations->linear(
          context_, {encoder_workspace_.normed, pass.rows, &weights.matrix, weights.bias_values(), false, nullptr,
                     encoder_workspace_.keys_values, context_.activations});
      append(context_, appended, shape, static_cast<int64_t>(layer),
             static_cast<const float*>(encoder_workspace_.keys_values));
    }
  });
}

Generation Generator::generate(const std::vector<std::vector<int32_t>>& prompts, int64_t length, bool logits) {
  check(prompts, length);
  reserve(prompts, length);
  Generation generation;
  generation.ids.resize(prompts.size());
  generation.log_probs.resize(prompts.size());
  generation.logits.resize(prompts.size());
  const auto begun = std::chrono::steady_clock::now();
  if (model_.architecture == Architecture::EncoderDecoder) {
    encode(prompts);
  } else {
    in_passes(prompts, [&](size_t begin, size_t end) {
      std::vector<NewIds> inputs;
      for (size_t i = begin; i < end; i++) inputs.push_back({&sequences_[i], prompts[i]});
      keep(generation, begin, decoder_.advance(inputs, logits));
    });
    generation.first_ms = milliseconds_since(begun);
  }
  while (static_cast<int64_t>(generation.ids[0].size()) < length) {
    std::vector<NewIds> inputs;
    for (size_t i = 0; i < prompts.size(); i++)
      inputs.push_back({&sequences_[i], {generation.ids[i].empty() ? begin_id : generation.ids[i].back()}});
    keep(generation, 0, decoder_.advance(inputs, logits));
    if (generation.ids[0].size() == 1) generation.first_ms = milliseconds_since(begun);
  }
  generation.total_ms = milliseconds_since(begun);
  return generation;
}

}  // namespace autoregressive
