#include "engine/layer_stack.h"

#include <cstring>
#include <utility>

#include "engine/error.h"
#include "ops/embed.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/rows.h"

namespace mask_predict {
namespace {

constexpr int32_t first_position = 2;  // pad id + 1: source and target both start here

// The rows of one pass, what each sequence attends to, and the operations of a layer on them.
struct Pass {
  const Context& context;
  const Weights& weights;
  const std::vector<StackSequence>& sequences;
  StackWorkspace& workspace;
  int64_t rows = 0;
  std::vector<AttentionSequence> attention;

  const ModelConfig& config() const { return weights.config; }

  void linear(const LinearWeights& w, const float* input, float* output, bool gelu = false,
              const float* residual = nullptr) const {
    mask_predict::linear(context, {input, rows, &w.matrix, w.bias_values(), gelu, residual, output});
  }
  void norm(const NormWeights& w, const float* input, float* output) const {
    layer_norm(context, {input, rows, config().hidden, w.gain.as<float>(), w.shift.as<float>(),
                         static_cast<float>(config().layer_norm_epsilon), output});
  }

  void embed_all() {
    std::vector<int32_t> ids, positions;
    int64_t row = 0;
    for (const StackSequence& sequence : sequences) {
      ids.insert(ids.end(), sequence.ids, sequence.ids + sequence.length);
      for (int64_t i = 0; i < sequence.length; i++) positions.push_back(static_cast<int32_t>(i) + first_position);
      attention.push_back({row, sequence.length, row, sequence.length, sequence.source, sequence.source_length});
      row += sequence.length;
    }
    rows = row;
    embed(context, {ids.data(), positions.data(), rows, &weights.words, weights.positions.as<float>(),
                    workspace.states});
  }

  // Lets this layer attend to the sources' keys and values of the same layer, and keeps the sequences' own.
  void exchange_keys_values(int64_t layer) {
    const int64_t width = 2 * config().hidden;
    for (size_t i = 0; i < sequences.size(); i++) {
      const StackSequence& sequence = sequences[i];
      if (sequence.source != nullptr) attention[i].source = sequence.source + layer * sequence.source_length * width;
      if (sequence.keys_values != nullptr)
        std::memcpy(sequence.keys_values + layer * sequence.length * width,
                    workspace.keys_values + attention[i].first_own * width,
                    static_cast<size_t>(sequence.length * width) * sizeof(float));
    }
  }

  // From here on only the wanted rows are computed; the others live on as keys and values.
  void keep_rows(const std::vector<int32_t>& wanted, float*& input) {
    const int64_t count = static_cast<int64_t>(wanted.size()), width = config().hidden;
    gather_rows(context, {input, wanted.data(), count, width, workspace.attention});
    if (input != workspace.states) {
      gather_rows(context, {workspace.states, wanted.data(), count, width, workspace.query});
      std::swap(workspace.states, workspace.query);
      std::swap(workspace.normed, workspace.attention);
      input = workspace.normed;
    } else {
      std::swap(workspace.states, workspace.attention);
      input = workspace.states;
    }
    size_t next = 0;
    for (AttentionSequence& sequence : attention) {
      const int64_t end = sequence.first_own + sequence.own_rows;
      sequence.first_query = static_cast<int64_t>(next);
      while (next < wanted.size() && wanted[next] < end) next++;
      sequence.queries = static_cast<int64_t>(next) - sequence.first_query;
    }
    rows = count;
  }

  // Eq. (7): the queries of this layer's rows, over the keys and values that the same rows and their source had
  // on entering the layer.
  void attend(const LayerWeights& layer, int64_t index, float* input, const std::vector<int32_t>* wanted) {
    linear(layer.key_value, input, workspace.keys_values);
    exchange_keys_values(index);
    if (wanted != nullptr) keep_rows(*wanted, input);
    linear(layer.query, input, workspace.query);
    mixed_attention(context, {workspace.query, workspace.keys_values, attention.data(),
                              static_cast<int64_t>(attention.size()), config().heads, config().head_size(),
                              workspace.attention});
    linear(layer.attention_output, workspace.attention, workspace.states, false, workspace.states);
  }

  void feed_forward(const LayerWeights& layer, const float* input) {
    linear(layer.feed_forward_in, input, workspace.feed_forward, true);
    linear(layer.feed_forward_out, workspace.feed_forward, workspace.states, false, workspace.states);
  }
};

}  // namespace

StackWorkspace::StackWorkspace(const ModelConfig& config, std::shared_ptr<MemoryBudget> budget)
    : config_(config), budget_(std::move(budget)) {}

void StackWorkspace::reserve(int64_t rows) {
  if (rows <= rows_) return;
  memory_ = Buffer();
  rows_ = 0;
  rows = (rows + 63) / 64 * 64;
  const int64_t d = config_.hidden;
  memory_ = Buffer(static_cast<uint64_t>(rows * (6 * d + config_.feed_forward)) * sizeof(float), budget_,
                   "a pass over " + std::to_string(rows) + " rows");
  states = memory_.as<float>();
  normed = states + rows * d;
  query = normed + rows * d;
  attention = query + rows * d;
  keys_values = attention + rows * d;
  feed_forward = keys_values + rows * 2 * d;
  rows_ = rows;
}

void run_stack(const Context& context, const Weights& weights, const std::vector<StackSequence>& sequences,
               const std::vector<int32_t>* wanted, StackWorkspace& workspace, const std::atomic<bool>& cancelled) {
  int64_t rows = 0;
  for (const StackSequence& sequence : sequences) rows += sequence.length;
  workspace.reserve(rows);
  Pass pass{context, weights, sequences, workspace, 0, {}};
  pass.embed_all();

  const bool pre = weights.config.norm == NormPlacement::Pre;
  if (!pre) pass.norm(weights.outer_norm, workspace.states, workspace.states);
  for (size_t i = 0; i < weights.layers.size(); i++) {
    if (cancelled.load(std::memory_order_relaxed)) throw Cancelled();
    const LayerWeights& layer = weights.layers[i];
    const auto* rows_wanted = i + 1 == weights.layers.size() ? wanted : nullptr;
    if (pre) {
      pass.norm(layer.attention_norm, workspace.states, workspace.normed);
      pass.attend(layer, static_cast<int64_t>(i), workspace.normed, rows_wanted);
      pass.norm(layer.feed_forward_norm, workspace.states, workspace.normed);
      pass.feed_forward(layer, workspace.normed);
    } else {
      pass.attend(layer, static_cast<int64_t>(i), workspace.states, rows_wanted);
      pass.norm(layer.attention_norm, workspace.states, workspace.states);
      pass.feed_forward(layer, workspace.states);
      pass.norm(layer.feed_forward_norm, workspace.states, workspace.states);
    }
  }
  if (pre) pass.norm(weights.outer_norm, workspace.states, workspace.states);
}

}  // namespace mask_predict
