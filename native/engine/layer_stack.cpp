#include "engine/layer_stack.h"

#include <utility>

#include "base/error.h"

namespace mask_predict {
namespace {

// The operations of a layer on the rows of one pass.
struct Stack {
  const Context& context;
  const Weights& weights;
  const StackPass& pass;
  StackWorkspace& workspace;
  int64_t rows;

  const ModelConfig& config() const { return weights.config; }
  // Without a head nothing comes after the last layer.
  static const PackedMatrix* matrix_of(const LinearWeights& next) { return next.matrix ? &next.matrix : nullptr; }
  float epsilon() const { return static_cast<float>(config().layer_norm_epsilon); }
  int64_t activation_bytes() const { return bytes_of(context.activations); }

  // `next` is what multiplies after `w`.
  void linear(const LinearWeights& w, const void* input, void* output, const LinearWeights& next,
              bool gelu = false) const {
    context.operations->linear(context, {input, rows, &w.matrix, w.bias_values(), gelu, nullptr, output,
                                         context.activations, matrix_of(next)});
  }
  // Adds the product to the residual stream and takes the norm that follows.
  void end_block(const LinearWeights& w, const NormWeights& norm, const void* input, const LinearWeights& next) const {
    context.operations->linear_norm(
        context, {input, rows, &w.matrix, w.bias_values(), config().norm, norm.gain.as<float>(), norm.shift.as<float>(),
                  epsilon(), workspace.states, workspace.normed, matrix_of(next)});
  }
  void norm_states(const NormWeights& w, float* output, void* normed) const {
    context.operations->layer_norm(context, {workspace.states, rows, config().hidden, w.gain.as<float>(),
                                             w.shift.as<float>(), epsilon(), output, normed});
  }

  // The keys and values of this layer's rows. Those of sources are kept for the targets that will attend to them; a
  // source that is alone in its pass writes them where they stay.
  void* project_keys_values(const LayerWeights& weights, int64_t layer) const {
    const int64_t row_bytes = 2 * config().hidden * activation_bytes();
    const auto kept = [&](const StackPass::Keep& keep) { return keep.keys_values + layer * keep.rows * row_bytes; };
    const bool alone = pass.keep.size() == 1 && pass.keep.front().rows == rows;
    void* const keys_values = alone ? kept(pass.keep.front()) : workspace.keys_values;
    linear(weights.key_value, workspace.normed, keys_values, weights.query);
    for (const StackPass::Keep& keep : pass.keep)
      if (!alone)
        context.operations->copy(context, kept(keep), static_cast<char*>(keys_values) + keep.first_row * row_bytes,
                                 static_cast<uint64_t>(keep.rows * row_bytes));
    return keys_values;
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
    rows = pass.wanted_rows;
  }

  // Eq. (7): this layer's rows attend to what they themselves and their source were on entering the layer.
  void attend(const LayerWeights& layer, int64_t index) {
    void* const keys_values = project_keys_values(layer, index);
    const bool last = pass.wanted != nullptr && index + 1 == config().layers;
    if (last) keep_wanted_rows();
    linear(layer.query, workspace.normed, workspace.query, layer.attention_output);
    context.operations->mixed_attention(
        context, {workspace.query, keys_values, last ? pass.last_sequences : pass.sequences, pass.sequence_count, index,
                  last ? pass.last_most_queries : pass.most_queries, pass.most_keys, config().heads,
                  config().head_size(), workspace.attention});
  }
};

}  // namespace

StackWorkspace::StackWorkspace(const ModelConfig& config, const Context& context, std::shared_ptr<MemoryBudget> budget)
    : config_(config), context_(context), budget_(std::move(budget)) {}

void StackWorkspace::reserve(int64_t rows) {
  if (rows > rows_) {
    memory_ = Buffer();
    rows_ = 0;
    rows = (rows + 63) / 64 * 64;
    const int64_t row_bytes = config_.hidden * (2 * 4 + 5 * bytes_of(context_.activations)) +
                              config_.feed_forward * bytes_of(context_.activations);
    memory_ = device_buffer(context_, static_cast<uint64_t>(rows * row_bytes), budget_,
                            "a pass over " + std::to_string(rows) + " rows");
    rows_ = rows;
  }
  const int64_t floats = rows_ * config_.hidden * 4;
  const int64_t values = rows_ * config_.hidden * bytes_of(context_.activations);
  char* next = memory_.as<char>();
  const auto take = [&next](int64_t bytes) { return std::exchange(next, next + bytes); };
  states = reinterpret_cast<float*>(take(floats));
  other_states = reinterpret_cast<float*>(take(floats));
  normed = take(values);
  query = take(values);
  attention = take(values);
  keys_values = take(2 * values);
  feed_forward = next;
}

void run_stack(const Context& context, const Weights& weights, const StackPass& pass, bool float_states,
               StackWorkspace& workspace) {
  workspace.reserve(pass.rows);
  Stack stack{context, weights, pass, workspace, pass.rows};
  context.operations->embed(
      context, {pass.ids, pass.positions, pass.rows, &weights.words, weights.positions.as<float>(), workspace.states});
  const bool pre = weights.config.norm == NormPlacement::Pre;
  const std::vector<LayerWeights>& layers = weights.layers;
  stack.norm_states(pre ? layers[0].attention_norm : weights.outer_norm, pre ? nullptr : workspace.states,
                    workspace.normed);
  for (size_t i = 0; i < layers.size(); i++) {
    if (context.is_cancelled()) throw Cancelled();
    const LayerWeights& layer = layers[i];
    const bool last = i + 1 == layers.size();
    const NormWeights& next_norm = last ? weights.outer_norm : layers[i + 1].attention_norm;
    const LinearWeights& next = last ? weights.head_dense : layers[i + 1].key_value;
    if (last && pass.wants_none()) {
      stack.project_keys_values(layer, static_cast<int64_t>(i));
      break;
    }
    stack.attend(layer, static_cast<int64_t>(i));
    stack.end_block(layer.attention_output, pre ? layer.feed_forward_norm : layer.attention_norm, workspace.attention,
                    layer.feed_forward_in);
    stack.linear(layer.feed_forward_in, workspace.normed, workspace.feed_forward, layer.feed_forward_out, true);
    stack.end_block(layer.feed_forward_out, pre ? next_norm : layer.feed_forward_norm, workspace.feed_forward, next);
  }
  if (pre && float_states) stack.norm_states(weights.outer_norm, workspace.states, nullptr);
  if (context.is_cancelled()) throw Cancelled();  // the last layer may have stopped early
}

}  // namespace mask_predict
