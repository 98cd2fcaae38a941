// The head's loss over the masked rows (section 3.3) on the CPU.
#include "ops/lm_head/lm_head_training.h"

#include <algorithm>
#include <cmath>

#include "cpu/grain.h"
#include "ops/linear/linear_training.h"

namespace mask_predict::training {
namespace {

constexpr int64_t chunk_floats = 16 << 20;  // of logits in memory
constexpr int64_t fewest_chunk_ids = 512;

void chunk_logits(const TrainingContext& context, const HeadLoss& a, int64_t first, int64_t ids) {
  linear_forward(context, {a.states, a.rows, a.width, ids, a.decoder + first * a.width, a.bias + first, a.logits});
}

// body(first id, ids) for each chunk
template <class Body>
void for_chunks(const HeadLoss& a, const Body& body) {
  for (int64_t first = 0; first < a.real_ids; first += a.chunk) body(first, std::min(a.chunk, a.real_ids - first));
}

}  // namespace

int64_t head_chunk(int64_t rows, int64_t real_ids) {
  const int64_t ids = std::max(chunk_floats / std::max<int64_t>(1, rows), fewest_chunk_ids) / 64 * 64;
  return std::min(ids, real_ids);
}

// Fewer rows have larger chunks, with at most chunk_floats logits but for the smallest chunks.
int64_t head_logit_floats(int64_t most_rows, int64_t real_ids) {
  return std::min(most_rows * real_ids, std::max(chunk_floats, most_rows * fewest_chunk_ids));
}

int64_t head_partial_sum_floats(int64_t most_rows, int64_t real_ids) {
  return head_logit_floats(most_rows, real_ids) / cpu::sum_rows + real_ids;
}

HeadLossSums head_loss_forward(const TrainingContext& context, const HeadLoss& a) {
  std::vector<cpu::LogitScan> scans(static_cast<size_t>(a.rows), {-INFINITY, 0, 0});
  std::vector<float> gold(static_cast<size_t>(a.rows));
  for_chunks(a, [&](int64_t first, int64_t ids) {
    chunk_logits(context, a, first, ids);
    context.pool->parallel_for(a.rows, cpu::grain_for(a.rows, ids * 4, context.pool->size()),
                               [&](int64_t begin, int64_t end, int) {
                                 for (int64_t r = begin; r < end; r++) {
                                   const float* const row = a.logits + r * ids;
                                   const size_t i = static_cast<size_t>(r);
                                   context.kernels->scan_logits(row, ids, scans[i]);
                                   const int64_t id = a.gold[r] - first;
                                   if (id >= 0 && id < ids) gold[i] = row[id];
                                 }
                               });
  });
  HeadLossSums sums;
  for (size_t i = 0; i < scans.size(); i++) {
    const double log_sum = static_cast<double>(scans[i].largest) + std::log(scans[i].sum);
    const double nll = log_sum - static_cast<double>(gold[i]);
    const double mean = log_sum - scans[i].total / static_cast<double>(a.real_ids);
    a.log_sums[i] = static_cast<float>(log_sum);
    sums.negative_log_likelihood += nll;
    sums.smoothed += (1 - a.smoothing) * nll + a.smoothing * mean;
  }
  return sums;
}

void head_loss_backward(const TrainingContext& context, const HeadLoss& a, const HeadLossGradients& g) {
  const auto factor = static_cast<float>(g.factor), of_gold = static_cast<float>(g.factor * (1 - a.smoothing));
  const auto share = static_cast<float>(a.smoothing / static_cast<double>(a.real_ids));
  for_chunks(a, [&](int64_t first, int64_t ids) {
    if (ids < a.real_ids) chunk_logits(context, a, first, ids);
    context.pool->parallel_for(a.rows, cpu::grain_for(a.rows, ids * 4, context.pool->size()),
                               [&](int64_t begin, int64_t end, int) {
                                 for (int64_t r = begin; r < end; r++) {
                                   float* const row = a.logits + r * ids;
                                   context.kernels->logit_gradient(row, ids, a.log_sums[r], factor, share);
                                   const int64_t id = a.gold[r] - first;
                                   if (id >= 0 && id < ids) row[id] -= of_gold;
                                 }
                               });
    linear_backward(context,
                    {.input = a.states,
                     .output_gradient = a.logits,
                     .rows = a.rows,
                     .inputs = a.width,
                     .outputs = ids,
                     .weight = a.decoder + first * a.width,
                     .input_gradient = g.state_gradient,
                     .accumulate_input = first > 0,
                     .weight_gradient = g.decoder_gradient == nullptr ? nullptr : g.decoder_gradient + first * a.width,
                     .bias_gradient = g.bias_gradient + first,
                     .partial_sums = g.partial_sums});
  });
}

}  // namespace mask_predict::training
