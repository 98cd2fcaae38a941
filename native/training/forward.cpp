// The forward pass of a step (sections 3.2 and 3.3): over source and targets together, eq. (7), or, with plain mixed
// attention, eq. (6), over the sources and then the targets.
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

LossSums Pass::forward() {
  forward_embeddings();
  for (const Passage& passage : batch_.passages) {
    passage_ = &passage;
    for (size_t i = 0; i < b_.layers.size(); i++) forward_layer(i);
    if (pre())
      norm(of_passage(b_.layers.back().feed_forward.sum), m_.table.outer_norm, rows(), of_passage(b_.states),
           b_.states_means + first(), b_.states_inverses + first());
  }
  passage_ = &all_;
  return forward_losses();
}

BlockBuffers Pass::of_passage(const BlockBuffers& block) const {
  return {of_passage(block.input), of_passage(block.normed), of_passage(block.sum), block.means + first(),
          block.inverses + first()};
}

void Pass::forward_embeddings() {
  const ParameterTable& t = m_.table;
  embed_forward(m_.context, {batch_.ids.data(), batch_.positions.data(), rows(), width(), weight(t.words),
                             weight(t.positions), t.token_types < 0 ? nullptr : weight(t.token_types), b_.embedded});
  float* states = b_.embedded;
  if (!pre()) {
    states = b_.embedded_normed;
    norm(b_.embedded, t.outer_norm, rows(), states, b_.embedded_means, b_.embedded_inverses);
  }
  if (draws_.probability > 0) drop(states, nullptr, states, embedding_site);
  check();
}

void Pass::forward_layer(size_t index) {
  const LayerBuffers& l = b_.layers[index];
  const LayerOffsets& o = m_.table.layers[index];
  const int64_t d = width(), f = m_.config.feed_forward;
  const BlockBuffers attention = of_passage(l.attention), feed_forward = of_passage(l.feed_forward);
  float *const hidden = l.hidden + first() * f, *const activated = l.activated + first() * f;
  const auto project = [&](const float* input, int64_t first, int64_t count) {
    linear_forward(m_.context, {input, count, d, 3 * d, weight(o.query_key_value.weight),
                                weight(o.query_key_value.bias), query_key_value(l) + first * 3 * d});
    check();
  };
  if (pre()) norm(attention.input, o.attention_norm, rows(), attention.normed, attention.means, attention.inverses);
  project(pre() ? attention.normed : attention.input, first(), rows());
  if (passage_->reads_final_states) project(b_.states, 0, batch_.source_rows);
  attention_forward(m_.context, {query_key_value(l), &passage_->groups, batch_.rows, m_.config.heads,
                                 m_.config.head_size(), l.attended, l.log_sums});
  check();
  linear_forward(m_.context, {of_passage(l.attended), rows(), d, d, weight(o.attention_output.weight),
                              weight(o.attention_output.bias), attention.sum});
  forward_block_end(attention, o.attention_norm, attention_site(index));
  check();

  if (pre())
    norm(feed_forward.input, o.feed_forward_norm, rows(), feed_forward.normed, feed_forward.means,
         feed_forward.inverses);
  linear_forward(m_.context, {pre() ? feed_forward.normed : feed_forward.input, rows(), d, f,
                              weight(o.feed_forward_in.weight), weight(o.feed_forward_in.bias), hidden, activated});
  check();
  linear_forward(m_.context, {activated, rows(), f, d, weight(o.feed_forward_out.weight),
                              weight(o.feed_forward_out.bias), feed_forward.sum});
  forward_block_end(feed_forward, o.feed_forward_norm, feed_forward_site(index));
  check();
}

// The block's result, in `sum`, joins the residual stream.
void Pass::forward_block_end(const BlockBuffers& block, const NormOffsets& offsets, uint32_t site) {
  drop(block.sum, block.input, block.sum, site);
  if (!pre()) norm(block.sum, offsets, rows(), block.normed, block.means, block.inverses);
}

void Pass::norm(const float* input, const NormOffsets& offsets, int64_t count, float* output, float* means,
                float* inverses) {
  norm_forward(m_.context, {input, count, width(), weight(offsets.gain), weight(offsets.shift),
                            static_cast<float>(m_.config.layer_norm_epsilon), output, means, inverses});
}

HeadLoss Pass::head_loss() const {
  const int64_t real_ids = m_.config.mask_token_id + 1;
  return {.states = b_.head_normed,
          .rows = batch_.masked(),
          .width = width(),
          .decoder = weight(m_.table.decoder),
          .bias = weight(m_.table.head_bias),
          .real_ids = real_ids,
          .gold = batch_.gold.data(),
          .smoothing = m_.objective.label_smoothing,
          .chunk = head_chunk(batch_.masked(), real_ids),
          .logits = b_.logits,
          .log_sums = b_.head_log_sums};
}

LossSums Pass::forward_losses() {
  const ParameterTable& t = m_.table;
  const int64_t d = width(), masked = batch_.masked();
  LossSums sums;
  for (int64_t i = 0; i < masked; i++)
    std::copy_n(b_.states + batch_.masked_rows[static_cast<size_t>(i)] * d, d, b_.masked_states + i * d);
  linear_forward(m_.context, {b_.masked_states, masked, d, d, weight(t.head_dense.weight), weight(t.head_dense.bias),
                              b_.dense, b_.dense_activated});
  norm(b_.dense_activated, t.head_norm, masked, b_.head_normed, b_.head_means, b_.head_inverses);
  check();
  sums.tokens = head_loss_forward(m_.context, head_loss());
  check();
  sums.lengths = length_loss_forward(m_.context, {b_.states, d, &batch_.groups, weight(t.lengths), m_.config.lengths,
                                                  b_.source_means, b_.length_logits});
  check();
  return sums;
}

}  // namespace mask_predict::training
