// The backward pass of a step, eq. (7) included: forward.cpp from its end to its beginning.
#include <algorithm>

#include "base/error.h"
#include "ops/embed/embed_training.h"
#include "ops/gelu/gelu_training.h"
#include "ops/layer_norm/layer_norm_training.h"
#include "ops/length_loss/length_loss.h"
#include "ops/linear/linear_training.h"
#include "ops/mixed_attention/mixed_attention_training.h"
#include "training/pass.h"

namespace mask_predict::training {

void Pass::backward(const StepTotals& totals) {
  std::fill_n(b_.gradient, rows() * width(), 0.0f);
  backward_losses(totals);
  for (auto passage = batch_.passages.rbegin(); passage != batch_.passages.rend(); ++passage) {
    passage_ = &*passage;
    backward_layers();
  }
  passage_ = &all_;
  backward_embeddings();
}

void Pass::backward_layers() {
  if (pre()) {
    float* const gradient = of_passage(b_.gradient);
    norm_gradient(of_passage(b_.layers.back().feed_forward.sum), m_.table.outer_norm, rows(), b_.states_means + first(),
                  b_.states_inverses + first(), gradient, gradient, false);
  }
  const int64_t f = m_.config.feed_forward;
  for (size_t i = b_.layers.size(); i-- > 0;) {
    const LayerBuffers& layer = b_.layers[i];
    // The last layer's values are still there.
    if (m_.recompute == Recompute::Layer && i + 1 < b_.layers.size()) forward_layer(i);
    if (m_.recompute == Recompute::Gelu)
      gelu_forward(m_.context, layer.hidden + first() * f, rows() * f, layer.activated + first() * f);
    backward_layer(i);
  }
}

// The gradient of the final states: of masked rows through the head, of a source's rows through their mean.
void Pass::backward_losses(const StepTotals& totals) {
  backward_head(totals);
  const int64_t d = width();
  for (int64_t i = 0; i < batch_.masked(); i++)
    m_.context.kernels->add(b_.gradient + batch_.masked_rows[static_cast<size_t>(i)] * d, b_.head_branch + i * d, d);
  const double factor = m_.objective.length_weight / static_cast<double>(totals.targets);
  length_loss_backward(
      m_.context,
      {b_.states, d, &batch_.groups, weight(m_.table.lengths), m_.config.lengths, b_.source_means, b_.length_logits},
      {factor, b_.mean_gradient, b_.gradient, gradient(m_.table.lengths)});
  check();
}

void Pass::backward_head(const StepTotals& totals) {
  const ParameterTable& t = m_.table;
  const int64_t d = width(), masked = batch_.masked();
  head_loss_backward(m_.context, head_loss(),
                     {.factor = 1 / static_cast<double>(std::max<int64_t>(1, totals.masked)),
                      .state_gradient = b_.head_gradient,
                      .decoder_gradient = gradient(t.decoder),
                      .bias_gradient = gradient(t.head_bias),
                      .partial_sums = b_.partial_sums});
  check();
  norm_gradient(b_.dense_activated, t.head_norm, masked, b_.head_means, b_.head_inverses, b_.head_gradient,
                b_.head_gradient, false);
  gelu_backward(m_.context, b_.dense, masked * d, b_.head_gradient);
  linear_backward(m_.context, {.input = b_.masked_states,
                               .output_gradient = b_.head_gradient,
                               .rows = masked,
                               .inputs = d,
                               .outputs = d,
                               .weight = weight(t.head_dense.weight),
                               .input_gradient = b_.head_branch,
                               .weight_gradient = gradient(t.head_dense.weight),
                               .bias_gradient = gradient(t.head_dense.bias),
                               .partial_sums = b_.partial_sums});
}

void Pass::backward_layer(size_t index) {
  const LayerBuffers& l = b_.layers[index];
  const LayerOffsets& o = m_.table.layers[index];
  const int64_t d = width(), f = m_.config.feed_forward;
  const BlockBuffers attention = of_passage(l.attention), feed_forward = of_passage(l.feed_forward);
  const float* branch = backward_block_end(feed_forward, o.feed_forward_norm, feed_forward_site(index));
  linear_backward(m_.context, {.input = l.activated + first() * f,
                               .output_gradient = branch,
                               .rows = rows(),
                               .inputs = f,
                               .outputs = d,
                               .weight = weight(o.feed_forward_out.weight),
                               .input_gradient = b_.wide,
                               .weight_gradient = gradient(o.feed_forward_out.weight),
                               .bias_gradient = gradient(o.feed_forward_out.bias),
                               .partial_sums = b_.partial_sums});
  check();
  gelu_backward(m_.context, l.hidden + first() * f, rows() * f, b_.wide);
  backward_block_start(feed_forward, o.feed_forward_norm, o.feed_forward_in, f, b_.wide);
  check();

  backward_attention(index, backward_block_end(attention, o.attention_norm, attention_site(index)));
  backward_block_start(attention, o.attention_norm, o.query_key_value, 3 * d, b_.wide + first() * 3 * d);
  check();
}

// Leaves the gradient of queries, keys and values in b_.wide. That of what was made of the sources' final states goes on
// into the gradient of these: their rows of b_.gradient.
void Pass::backward_attention(size_t index, const float* branch) {
  const LayerBuffers& l = b_.layers[index];
  const LayerOffsets& o = m_.table.layers[index];
  const int64_t d = width();
  linear_backward(m_.context, {.input = of_passage(l.attended),
                               .output_gradient = branch,
                               .rows = rows(),
                               .inputs = d,
                               .outputs = d,
                               .weight = weight(o.attention_output.weight),
                               .input_gradient = of_passage(b_.attended_gradient),
                               .weight_gradient = gradient(o.attention_output.weight),
                               .bias_gradient = gradient(o.attention_output.bias),
                               .partial_sums = b_.partial_sums});
  check();
  attention_backward(m_.context, {query_key_value(l), &passage_->groups, batch_.rows, m_.config.heads,
                                  m_.config.head_size(), l.attended, l.log_sums, b_.attended_gradient, b_.wide});
  check();
  if (!passage_->reads_final_states) return;
  linear_backward(m_.context, {.input = b_.states,
                               .output_gradient = b_.wide,
                               .rows = batch_.source_rows,
                               .inputs = d,
                               .outputs = 3 * d,
                               .weight = weight(o.query_key_value.weight),
                               .input_gradient = b_.gradient,
                               .accumulate_input = true,
                               .weight_gradient = gradient(o.query_key_value.weight),
                               .bias_gradient = gradient(o.query_key_value.bias),
                               .partial_sums = b_.partial_sums});
  check();
}

// From the gradient of the block's output to that of what it adds; b_.gradient becomes that of the residual stream.
const float* Pass::backward_block_end(const BlockBuffers& block, const NormOffsets& offsets, uint32_t site) {
  float *const gradient = of_passage(b_.gradient), *const branch = of_passage(b_.branch);
  if (!pre()) norm_gradient(block.sum, offsets, rows(), block.means, block.inverses, gradient, gradient, false);
  if (draws_.probability == 0) return gradient;
  drop(gradient, nullptr, branch, site);
  return branch;
}

// Through the block's first product, and its norm where that comes before, into the residual stream.
void Pass::backward_block_start(const BlockBuffers& block, const NormOffsets& offsets, const LinearOffsets& linear,
                                int64_t outputs, const float* output_gradient) {
  linear_backward(m_.context, {.input = pre() ? block.normed : block.input,
                               .output_gradient = output_gradient,
                               .rows = rows(),
                               .inputs = width(),
                               .outputs = outputs,
                               .weight = weight(linear.weight),
                               .input_gradient = pre() ? b_.block_input : of_passage(b_.gradient),
                               .accumulate_input = !pre(),
                               .weight_gradient = gradient(linear.weight),
                               .bias_gradient = gradient(linear.bias),
                               .partial_sums = b_.partial_sums});
  if (pre())
    norm_gradient(block.input, offsets, rows(), block.means, block.inverses, b_.block_input, of_passage(b_.gradient),
                  true);
}

void Pass::norm_gradient(const float* input, const NormOffsets& offsets, int64_t count, const float* means,
                         const float* inverses, const float* output_gradient, float* input_gradient, bool accumulate) {
  norm_backward(m_.context, {.input = input,
                             .means = means,
                             .inverses = inverses,
                             .gain = weight(offsets.gain),
                             .output_gradient = output_gradient,
                             .rows = count,
                             .width = width(),
                             .input_gradient = input_gradient,
                             .accumulate_input = accumulate,
                             .gain_gradient = gradient(offsets.gain),
                             .shift_gradient = gradient(offsets.shift),
                             .partial_sums = b_.partial_sums});
}

void Pass::backward_embeddings() {
  const ParameterTable& t = m_.table;
  if (gradient(t.words) == nullptr) return;
  if (draws_.probability > 0) drop(b_.gradient, nullptr, b_.gradient, embedding_site);
  if (!pre())
    norm_gradient(b_.embedded, t.outer_norm, rows(), b_.embedded_means, b_.embedded_inverses, b_.gradient, b_.gradient,
                  false);
  scatter_rows(m_.context, batch_.ids.data(), rows(), width(), b_.gradient, gradient(t.words), b_.order);
  scatter_rows(m_.context, batch_.positions.data(), rows(), width(), b_.gradient, gradient(t.positions), b_.order);
  if (t.token_types >= 0)
    add_row_sums(m_.context, b_.gradient, rows(), width(), b_.partial_sums, gradient(t.token_types));
  check();
}

}  // namespace mask_predict::training
