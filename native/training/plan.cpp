#include "training/plan.h"

#include <algorithm>

#include "base/numbers.h"
#include "ops/linear/linear_training.h"
#include "ops/lm_head/lm_head_training.h"

namespace mask_predict::training {
namespace {

constexpr int64_t alignment = 16;  // floats

}  // namespace

Plan::Plan(const ModelConfig& config, Recompute recompute, const PlanSizes& sizes)
    : config_(config), recompute_(recompute), sizes_(sizes) {
  lay_out([this](int64_t floats) {
    floats_ += round_up(floats, alignment);
    return static_cast<float*>(nullptr);
  });
}

StepBuffers Plan::bind(float* memory) const {
  return lay_out([memory](int64_t floats) mutable {
    float* const at = memory;
    memory += round_up(floats, alignment);
    return at;
  });
}

// The table. `take` gives the next so many floats.
template <class Take>
StepBuffers Plan::lay_out(const Take& take_next) const {
  Take take = take_next;
  const ModelConfig& c = config_;
  const bool pre = c.norm == NormPlacement::Pre;
  const int64_t d = c.hidden, f = c.feed_forward, rows = sizes_.rows, masked = sizes_.masked, sources = sizes_.sources;
  const int64_t real_ids = c.mask_token_id + 1;

  StepBuffers b{};
  b.embedded = take(rows * d);
  if (!pre) {
    b.embedded_normed = take(rows * d);
    b.embedded_means = take(rows);
    b.embedded_inverses = take(rows);
  }

  const auto block = [&](float* input) {
    return BlockBuffers{input, take(rows * d), take(rows * d), take(rows), take(rows)};
  };
  float* input = pre ? b.embedded : b.embedded_normed;
  float* shared_activated = nullptr;
  for (int64_t i = 0; i < c.layers; i++) {
    LayerBuffers layer{};
    if (i > 0 && recompute_ == Recompute::Layer) {
      // The first layer's memory again, but for the output: it is the next one's input.
      layer = b.layers[0];
      layer.attention.input = input;
      (pre ? layer.feed_forward.sum : layer.feed_forward.normed) = take(rows * d);
    } else {
      layer.attention = block(input);
      layer.query_key_value = take((c.attention == TargetAttention::Mixed ? 2 * rows : rows) * 3 * d);
      layer.log_sums = take(rows * c.heads);
      layer.attended = take(rows * d);
      layer.feed_forward = block(pre ? layer.attention.sum : layer.attention.normed);
      layer.hidden = take(rows * f);
      if (recompute_ == Recompute::None || i == 0) shared_activated = take(rows * f);
      layer.activated = shared_activated;
    }
    input = pre ? layer.feed_forward.sum : layer.feed_forward.normed;
    b.layers.push_back(layer);
  }
  b.states = input;
  if (pre) {
    b.states = take(rows * d);
    b.states_means = take(rows);
    b.states_inverses = take(rows);
  }

  for (float** buffer :
       {&b.masked_states, &b.dense, &b.dense_activated, &b.head_normed, &b.head_gradient, &b.head_branch})
    *buffer = take(masked * d);
  for (float** buffer : {&b.head_means, &b.head_inverses, &b.head_log_sums}) *buffer = take(masked);
  b.logits = take(head_logit_floats(masked, real_ids));
  b.source_means = take(sources * d);
  b.mean_gradient = take(sources * d);
  b.length_logits = take(sources * c.lengths);

  for (float** buffer : {&b.gradient, &b.branch, &b.block_input, &b.attended_gradient}) *buffer = take(rows * d);
  b.wide = take(rows * std::max(3 * d, f));
  const int64_t of_rows = sum_blocks(rows) * std::max(3 * d, f), of_masked = sum_blocks(masked) * 2 * d;
  b.partial_sums = take(std::max({of_rows, of_masked, head_partial_sum_floats(masked, real_ids)}));
  b.order = reinterpret_cast<int32_t*>(take(rows));
  return b;
}

}  // namespace mask_predict::training
