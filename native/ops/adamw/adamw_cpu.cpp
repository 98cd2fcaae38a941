#include "ops/adamw/adamw.h"

#include <algorithm>
#include <cmath>

#include "cpu/grain.h"

namespace mask_predict::training {
namespace {

constexpr int64_t piece = 1 << 14;

}  // namespace

std::vector<WeightRange> optimizer_pieces(const std::vector<WeightRange>& ranges) {
  std::vector<WeightRange> pieces;
  for (const WeightRange& range : ranges)
    for (int64_t at = 0; at < range.count; at += piece)
      pieces.push_back({range.first + at, std::min(piece, range.count - at), range.decays});
  return pieces;
}

double gradient_norm(const TrainingContext& context, const std::vector<WeightRange>& pieces, const float* gradients) {
  std::vector<double> squares(pieces.size());
  const auto count = static_cast<int64_t>(pieces.size());
  context.pool->parallel_for(
      count, cpu::grain_for(count, piece, context.pool->size()), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++) {
          const WeightRange& p = pieces[static_cast<size_t>(i)];
          squares[static_cast<size_t>(i)] = context.kernels->sum_of_squares(gradients + p.first, p.count);
        }
      });
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

void adam_update(const TrainingContext& context, const AdamOptions& o, const std::vector<WeightRange>& pieces,
                 const AdamUpdate& u) {
  const auto t = static_cast<double>(u.number);
  const double clip = o.clip_norm > 0 ? std::min(1.0, o.clip_norm / (u.norm + 1e-6)) : 1.0;
  const double average_take = 1 - std::min(o.average_decay, (1 + t) / (10 + t));
  const auto count = static_cast<int64_t>(pieces.size());
  context.pool->parallel_for(
      count, cpu::grain_for(count, piece * 4, context.pool->size()), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++) {
          const WeightRange& p = pieces[static_cast<size_t>(i)];
          context.kernels->adam({.weights = u.weights + p.first,
                                 .gradients = u.gradients + p.first,
                                 .first = u.first + p.first,
                                 .second = u.second + p.first,
                                 .count = p.count,
                                 .clip = static_cast<float>(clip),
                                 .decay = static_cast<float>(1 - (p.decays ? u.learning_rate * o.weight_decay : 0)),
                                 .first_decay = static_cast<float>(o.first_decay),
                                 .second_decay = static_cast<float>(o.second_decay),
                                 .rate = static_cast<float>(u.learning_rate / (1 - std::pow(o.first_decay, t))),
                                 .inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(o.second_decay, t))),
                                 .epsilon = static_cast<float>(o.epsilon),
                                 .average = u.average == nullptr ? nullptr : u.average + p.first,
                                 .average_take = static_cast<float>(average_take)});
        }
      });
}

}  // namespace mask_predict::training
