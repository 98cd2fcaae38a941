// The building blocks of the layers of every architecture; xlm_roberta_layers.cpp and modern_bert_layers.cpp put them
// in order.
#pragma once

#include <utility>

#include "base/error.h"
#include "engine/layer_stack.h"

namespace mask_predict {

// The options of one layer's attention.
struct AttentionKind {
  const float* angles = nullptr;  // of rotary positions, by which queries and keys are turned; nullptr: they are not
  int64_t window = -1;            // as mixed_attention takes it
};

// The operations of a layer on the rows of one pass.
struct LayerOperations {
  const Context& context;
  const Weights& weights;
  const StackPass& pass;
  StackWorkspace& workspace;
  int64_t rows;
  const int32_t* positions;  // [rows]

  const ModelConfig& config() const { return weights.config; }
  // Without a head nothing comes after the last layer.
  static const PackedMatrix* matrix_of(const LinearWeights& next) { return next.matrix ? &next.matrix : nullptr; }
  float epsilon() const { return static_cast<float>(config().layer_norm_epsilon); }
  int64_t activation_bytes() const { return bytes_of(context.activations); }

  void throw_if_cancelled() const {
    if (context.is_cancelled()) throw Cancelled();
  }

  void embed(const float* position_table) const {
    context.operations->embed(context,
                              {pass.ids, pass.positions, pass.rows, &weights.words, position_table, workspace.states});
  }
  // `next` is what multiplies after `w`.
  void linear(const LinearWeights& w, const void* input, void* output, const LinearWeights& next, bool gelu = false,
              bool gate = false) const {
    context.operations->linear(context, {input, rows, &w.matrix, w.bias_values(), gelu, nullptr, output,
                                         context.activations, matrix_of(next), gate});
  }
  // Adds the product to the residual stream and takes the norm that follows.
  void end_block(const LinearWeights& w, const NormWeights& norm, const void* input, const LinearWeights& next) const {
    context.operations->linear_norm(
        context, {input, rows, &w.matrix, w.bias_values(), config().norm, norm.gain_values(), norm.shift_values(),
                  epsilon(), workspace.states, workspace.normed, matrix_of(next)});
  }
  void norm_states(const NormWeights& w, float* output, void* normed) const {
    context.operations->layer_norm(context, {workspace.states, rows, config().hidden, w.gain_values(), w.shift_values(),
                                             epsilon(), output, normed});
  }

  void rotate(void* values, int64_t stride, const AttentionKind& kind) const {
    if (kind.angles != nullptr)
      context.operations->rotate(context,
                                 {values, rows, stride, config().heads, config().head_size(), positions, kind.angles});
  }

  int64_t keys_values_bytes() const { return 2 * config().hidden * bytes_of(context.keys_values_type()); }  // of a row
  char* kept_keys_values(const StackPass::Keep& keep, int64_t layer) const {
    return keep.keys_values + layer * keep.rows * keys_values_bytes();
  }
  // A source that is alone in its pass has its keys and values at once where they stay.
  bool are_where_kept() const {
    return pass.attention == TargetAttention::Dynamic && pass.keep.size() == 1 && pass.keep.front().rows == rows;
  }
  // The keys and values of this pass's rows, to which these rows attend.
  void* keys_values_of(int64_t layer) const {
    return are_where_kept() ? kept_keys_values(pass.keep.front(), layer) : workspace.keys_values;
  }
  // Where the product writes them.
  void* projected_keys_values(int64_t layer) const {
    return context.rounded_attention ? workspace.unrounded : keys_values_of(layer);
  }
  void round_keys_values(int64_t count, void* rounded) const {
    if (context.rounded_attention)
      context.operations->round_rows(
          context, {workspace.unrounded, count, 2 * config().hidden, static_cast<uint16_t*>(rounded)});
  }
  // After the product a source's keys and values are kept, because targets will attend to them.
  void finish_keys_values(int64_t layer, const AttentionKind& kind) const {
    rotate(projected_keys_values(layer), 2 * config().hidden, kind);
    void* const keys_values = keys_values_of(layer);
    round_keys_values(rows, keys_values);
    if (pass.attention == TargetAttention::Mixed || are_where_kept()) return;
    for (const StackPass::Keep& keep : pass.keep)
      context.operations->copy(context, kept_keys_values(keep, layer),
                               static_cast<char*>(keys_values) + keep.first_row * keys_values_bytes(),
                               static_cast<uint64_t>(keep.rows * keys_values_bytes()));
  }

  // The keys and values of this layer's rows.
  void project_keys_values(const LayerWeights& weights, int64_t layer, const AttentionKind& kind) const {
    linear(weights.key_value, workspace.normed, projected_keys_values(layer), weights.query);
    finish_keys_values(layer, kind);
  }
  // And, of the same rows, their queries.
  void project_all(const LayerWeights& weights, int64_t layer, const AttentionKind& kind) const {
    const LinearWeights &key_value = weights.key_value, &query = weights.query;
    context.operations->linear_pair(context,
                                    {workspace.normed,
                                     rows,
                                     {{&key_value.matrix, key_value.bias_values(), projected_keys_values(layer)},
                                      {&query.matrix, query.bias_values(), workspace.query}},
                                     context.activations,
                                     matrix_of(weights.attention_output)});
    finish_keys_values(layer, kind);
  }

  // Eq. (6): the keys and values that targets will see in every layer, of the sources' final states.
  void project_final_states() const {
    const int64_t width = config().hidden;
    for (const StackPass::Keep& keep : pass.keep) {
      const void* const states =
          static_cast<const char*>(workspace.normed) + keep.first_final * width * activation_bytes();
      char* kept = keep.keys_values;
      for (const LayerWeights& layer : weights.layers) {
        throw_if_cancelled();
        void* const projected = context.rounded_attention ? static_cast<void*>(workspace.unrounded) : kept;
        context.operations->linear(context, {states, keep.rows, &layer.key_value.matrix, layer.key_value.bias_values(),
                                             false, nullptr, projected, context.activations});
        round_keys_values(keep.rows, kept);
        kept += keep.rows * keys_values_bytes();
      }
    }
  }

  // From here on only the wanted rows are computed; the others live on as keys and values.
  void keep_wanted_rows() {
    const int64_t width = config().hidden;
    context.operations->gather_rows(
        context, {workspace.states, ValueType::F32, pass.wanted, pass.wanted_rows, width, workspace.other_states});
    context.operations->gather_rows(
        context, {workspace.normed, context.activations, pass.wanted, pass.wanted_rows, width, workspace.attention});
    std::swap(workspace.states, workspace.other_states);
    std::swap(workspace.normed, workspace.attention);
    if (workspace.positions != nullptr) {
      // A gather of four-byte rows, whatever they stand for.
      context.operations->gather_rows(
          context, {positions, ValueType::F32, pass.wanted, pass.wanted_rows, 1, workspace.positions});
      positions = workspace.positions;
    }
    rows = pass.wanted_rows;
  }

  // Eq. (7): this layer's rows attend to the states that they themselves and their source had when they entered the
  // layer.
  void attend(const LayerWeights& layer, int64_t index, const AttentionKind& kind = {}) {
    const bool last = pass.wanted != nullptr && index + 1 == config().layers;
    void* const keys_values = keys_values_of(index);
    if (last) {
      project_keys_values(layer, index, kind);
      keep_wanted_rows();
      linear(layer.query, workspace.normed, workspace.query, layer.attention_output);
    } else {
      project_all(layer, index, kind);
    }
    rotate(workspace.query, config().hidden, kind);
    context.operations->mixed_attention(
        context, {workspace.query, keys_values, last ? pass.last_sequences : pass.sequences, pass.sequence_count, index,
                  last ? pass.last_most_queries : pass.most_queries, pass.most_keys, config().heads,
                  config().head_size(), workspace.attention, kind.window, positions});
  }
};

// Embeddings and all layers, as run_stack says.
void run_xlm_roberta(LayerOperations& layers, bool float_states);
void run_modern_bert(LayerOperations& layers, bool float_states);

}  // namespace mask_predict
