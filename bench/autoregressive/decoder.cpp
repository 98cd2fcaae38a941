#include "decoder.h"

#include <utility>

#include "ops/operations.h"

namespace autoregressive {

using mask_predict::LmHeadPartial;
using mask_predict::NormPlacement;
using mask_predict::ValueType;

Decoder::Decoder(const Model& model, const mask_predict::Context& context)
    : model_(model), context_(context), layers_(model.decoder()), workspace_(model.config(), context, nullptr) {}

CacheShape Decoder::cache_shape() const {
  return {static_cast<int64_t>(layers_.size()), model_.config().heads, model_.config().head_size()};
}

void Decoder::norm(const mask_predict::NormWeights& weights, int64_t rows, float* output, void* normed) {
  context_.operations->layer_norm(
      context_, {workspace_.states, rows, model_.config().hidden, weights.gain.as<float>(), weights.shift.as<float>(),
                 static_cast<float>(model_.config().layer_norm_epsilon), output, normed});
}

void Decoder::linear(const mask_predict::LinearWeights& weights, int64_t rows, const void* input, void* output,
                     bool gelu) {
  context_.operations->linear(
      context_, {input, rows, &weights.matrix, weights.bias_values(), gelu, nullptr, output, context_.activations});
}

// Adds the product to the residual stream and takes the norm that follows.
void Decoder::end_block(const mask_predict::LinearWeights& weights, const mask_predict::NormWeights& norm, int64_t rows,
                        const void* input) {
  context_.operations->linear_norm(
      context_, {input, rows, &weights.matrix, weights.bias_values(), model_.config().norm, norm.gain.as<float>(),
                 norm.shift.as<float>(), static_cast<float>(model_.config().layer_norm_epsilon), workspace_.states,
                 workspace_.normed});
}

// On return workspace_.normed holds the final states of each sequence's last row.
void Decoder::run_layers(const std::vector<NewIds>& inputs) {
  const ModelConfig& config = model_.config();
  const CacheShape shape = cache_shape();
  std::vector<int32_t> ids, positions, last_rows;
  std::vector<AppendTask> appended;
  std::vector<AttendTask> own, own_last, source;
  bool one_each = true;
  for (const NewIds& input : inputs) {
    const DecodedSequence& s = *input.sequence;
    const auto first = static_cast<int64_t>(ids.size()), count = static_cast<int64_t>(input.ids.size());
    const auto index = static_cast<int64_t>(last_rows.size());
    for (int64_t i = 0; i < count; i++)
      positions.push_back(static_cast<int32_t>(s.length + i) + mask_predict::pad_id + 1);
    ids.insert(ids.end(), input.ids.begin(), input.ids.end());
    appended.push_back({&s.own, first, count, s.length});
    own.push_back({&s.own, first, count, s.length + 1, true});
    own_last.push_back({&s.own, index, 1, s.length + count, true});
    source.push_back({&s.source, first, count, s.source_length, false});
    last_rows.push_back(static_cast<int32_t>(first + count - 1));
    one_each = one_each && count == 1;
  }
  auto rows = static_cast<int64_t>(ids.size());
  mask_predict::StackWorkspace& w = workspace_;
  w.reserve(rows);
  context_.operations->embed(context_, {ids.data(), positions.data(), rows, &model_.shared->words,
                                        model_.shared->positions.as<float>(), w.states});
  const bool pre = config.norm == NormPlacement::Pre;
  norm(pre ? layers_[0].block->attention_norm : model_.decoder_norm(), rows, pre ? nullptr : w.states, w.normed);

  for (size_t i = 0; i < layers_.size(); i++) {
    const mask_predict::LayerWeights& layer = *layers_[i].block;
    const CrossAttention* cross = layers_[i].cross;
    const bool last = i + 1 == layers_.size();
    const auto number = static_cast<int64_t>(i);
    linear(layer.key_value, rows, w.normed, w.keys_values, false);
    append(context_, appended, shape, number, static_cast<const float*>(w.keys_values));
    if (last && !one_each) {
      // The other rows live on as keys and values only.
      const auto wanted = static_cast<int64_t>(last_rows.size());
      context_.operations->gather_rows(
          context_, {w.states, ValueType::F32, last_rows.data(), wanted, config.hidden, w.other_states});
      context_.operations->gather_rows(
          context_, {w.normed, context_.activations, last_rows.data(), wanted, config.hidden, w.attention});
      std::swap(w.states, w.other_states);
      std::swap(w.normed, w.attention);
      for (size_t s = 0; s < source.size(); s++) {
        source[s].first_row = static_cast<int64_t>(s);
        source[s].rows = 1;
      }
      rows = wanted;
    }
    linear(layer.query, rows, w.normed, w.query, false);
    attend(context_, last ? own_last : own, shape, number, static_cast<const float*>(w.query),
           static_cast<float*>(w.attention));
    const mask_predict::NormWeights& before_feed_forward = layer.feed_forward_norm;
    if (cross != nullptr) {
      end_block(layer.attention_output, pre ? cross->norm : layer.attention_norm, rows, w.attention);
      linear(cross->query, rows, w.normed, w.query, false);
      attend(context_, source, shape, number, static_cast<const float*>(w.query), static_cast<float*>(w.attention));
      end_block(cross->output, pre ? before_feed_forward : cross->norm, rows, w.attention);
    } else {
      end_block(layer.attention_output, pre ? before_feed_forward : layer.attention_norm, rows, w.attention);
    }
    linear(layer.feed_forward_in, rows, w.normed, w.feed_forward, true);
    const mask_predict::NormWeights& next = last ? model_.decoder_norm() : layers_[i + 1].block->attention_norm;
    end_block(layer.feed_forward_out, pre ? next : layer.feed_forward_norm, rows, w.feed_forward);
  }
}

Predictions Decoder::predict(int64_t rows, bool with_logits) {
  const mask_predict::Weights& weights = *model_.shared;
  const int64_t vocabulary = weights.config.vocabulary;
  const auto count = static_cast<size_t>(rows);
  linear(weights.head_dense, rows, workspace_.normed, workspace_.states, true);
  norm(weights.head_norm, rows, nullptr, workspace_.normed);
  std::vector<LmHeadPartial> partials(static_cast<size_t>(mask_predict::lm_head_ranges * rows));
  std::vector<float> log_sums(count);
  Predictions predictions{std::vector<int32_t>(count), std::vector<float>(count), {}};
  context_.operations->lm_head_argmax(
      context_, {workspace_.normed, rows, &weights.decoder(), weights.head_bias.as<float>(), weights.config.head_ids(),
                 partials.data(), predictions.ids.data(), predictions.log_probs.data(), log_sums.data()});
  if (with_logits) {
    std::vector<float> logits(static_cast<size_t>(rows * vocabulary));
    context_.operations->linear(context_, {workspace_.normed, rows, &weights.decoder(), weights.head_bias.as<float>(),
                                           false, nullptr, logits.data(), ValueType::F32});
    for (int64_t r = 0; r < rows; r++)
      predictions.logits.emplace_back(logits.begin() + r * vocabulary, logits.begin() + (r + 1) * vocabulary);
  }
  return predictions;
}

Predictions Decoder::advance(const std::vector<NewIds>& inputs, bool logits) {
  run_layers(inputs);
  for (const NewIds& input : inputs) input.sequence->length += static_cast<int64_t>(input.ids.size());
  return predict(static_cast<int64_t>(inputs.size()), logits);
}

}  // namespace autoregressive
