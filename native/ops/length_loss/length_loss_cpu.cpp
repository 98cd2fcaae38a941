// The length predictor's loss (sections 3.2 and 3.3) on the CPU.
#include "ops/length_loss/length_loss.h"

#include <algorithm>
#include <cmath>

#include "cpu/grain.h"
#include "ops/linear/linear_training.h"

namespace mask_predict::training {
namespace {

double log_sum_of(const float* logits, int64_t count) {
  const auto largest = static_cast<double>(*std::max_element(logits, logits + count));
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += std::exp(static_cast<double>(logits[i]) - largest);
  return largest + std::log(sum);
}

int64_t count_of(const LengthLoss& a) { return static_cast<int64_t>(a.groups->size()); }

template <class Body>
void for_groups(const TrainingContext& context, const LengthLoss& a, int64_t work, const Body& body) {
  context.pool->parallel_for(count_of(a), cpu::grain_for(count_of(a), work, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               for (int64_t i = begin; i < end; i++) body(i, (*a.groups)[static_cast<size_t>(i)]);
                             });
}

}  // namespace

double length_loss_forward(const TrainingContext& context, const LengthLoss& a) {
  for_groups(context, a, a.width * 16, [&](int64_t i, const AttentionGroup& group) {
    float* const mean = a.means + i * a.width;
    context.kernels->column_sums(a.states + group.source.first * a.width, a.width, group.source.count, a.width, mean);
    context.kernels->scale(mean, a.width, 1.0f / static_cast<float>(group.source.count));
  });
  linear_forward(context, {a.means, count_of(a), a.width, a.lengths, a.weight, nullptr, a.logits});
  double loss = 0;
  for (int64_t i = 0; i < count_of(a); i++) {
    const float* const logits = a.logits + i * a.lengths;
    const double log_sum = log_sum_of(logits, a.lengths);
    for (const RowRange& target : (*a.groups)[static_cast<size_t>(i)].targets)
      loss += log_sum - static_cast<double>(logits[target.count]);
  }
  return loss;
}

void length_loss_backward(const TrainingContext& context, const LengthLoss& a, const LengthLossGradients& g) {
  for_groups(context, a, a.lengths * 16, [&](int64_t i, const AttentionGroup& group) {
    float* const logits = a.logits + i * a.lengths;
    const double log_sum = log_sum_of(logits, a.lengths), all = g.factor * static_cast<double>(group.targets.size());
    for (int64_t n = 0; n < a.lengths; n++)
      logits[n] = static_cast<float>(all * std::exp(static_cast<double>(logits[n]) - log_sum));
    for (const RowRange& target : group.targets) logits[target.count] -= static_cast<float>(g.factor);
  });
  linear_backward(context, {.input = a.means,
                            .output_gradient = a.logits,
                            .rows = count_of(a),
                            .inputs = a.width,
                            .outputs = a.lengths,
                            .weight = a.weight,
                            .input_gradient = g.mean_gradient,
                            .weight_gradient = g.weight_gradient,
                            .partial_sums = nullptr});
  for_groups(context, a, a.width * 16, [&](int64_t i, const AttentionGroup& group) {
    float* const mean = g.mean_gradient + i * a.width;
    context.kernels->scale(mean, a.width, 1.0f / static_cast<float>(group.source.count));
    for (int64_t r = 0; r < group.source.count; r++)
      context.kernels->add(g.state_gradient + (group.source.first + r) * a.width, mean, a.width);
  });
}

}  // namespace mask_predict::training
