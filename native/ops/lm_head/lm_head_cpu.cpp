// The vocabulary is cut into fixed ranges of whole groups. A range runs over up to 256 rows at a time with one
// HeadState per row; ranges are then put together in order, so neither threads nor other rows change a bit.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/grain.h"
#include "cpu/thread_pool.h"
#include "ops/lm_head/lm_head.h"
#include "ops/weights/product.h"

namespace mask_predict::cpu {
namespace {

constexpr int64_t row_chunk = 256;

// A function of the vocabulary alone, so that a row's reduction is always cut in the same places; at most 255 ranges.
int64_t groups_per_range(int64_t groups) { return std::max<int64_t>(1, groups / 128); }

int64_t group_count(int64_t vocabulary) { return (vocabulary + group_columns - 1) / group_columns; }

}  // namespace

void lm_head_argmax(const Context& context, const LmHeadArguments& a) {
  const PackedMatrix& w = *a.weight;
  const ProductRows input = product_rows(context, static_cast<const float*>(a.states), a.rows, w);
  const int64_t real_ids = a.head_ids.real;
  const int64_t groups = group_count(real_ids), each = groups_per_range(w.groups());
  const int64_t ranges = (groups + each - 1) / each;
  const int64_t chunks = (a.rows + row_chunk - 1) / row_chunk, items = ranges * chunks;
  const int64_t tile_floats = row_chunk * group_columns;
  context.pool->reserve_scratch(tile_floats * sizeof(float) + row_chunk * sizeof(HeadState));
  constexpr float lowest = -std::numeric_limits<float>::infinity();

  const auto body = [&](int64_t begin, int64_t end, int thread) {
    float* logits = context.pool->scratch<float>(thread);
    auto* states = reinterpret_cast<HeadState*>(logits + tile_floats);
    for (int64_t item = begin; item < end; item++) {
      const int64_t range = item / chunks, row = item % chunks * row_chunk;
      const int64_t rows = std::min(row_chunk, a.rows - row);
      std::fill(states, states + rows, HeadState{lowest, lowest, -1, {}});
      if (context.is_cancelled()) return;
      for (int64_t group = range * each; group < std::min(groups, (range + 1) * each); group++) {
        MultiplyTask task = product_task(input, row, rows, w, group, 0, w.inputs, logits);
        if (group + 1 < groups) {
          task.prefetch = w.at(group + 1, 0);
          task.prefetch_bytes = w.inputs * w.columns(group + 1) * bytes_of(w.type);
        }
        context.kernels->multiply(task);
        const int64_t first = group * group_columns;
        const int64_t columns = std::min<int64_t>(group_columns, real_ids - first);
        context.kernels->head_update({logits, rows, static_cast<int32_t>(first), static_cast<int>(columns),
                                      a.bias + first, has_never(a.head_ids, first, columns) ? &a.head_ids : nullptr,
                                      states});
      }
      for (int64_t r = 0; r < rows; r++) {
        float sum = 0;
        for (float lane : states[r].sums) sum += lane;
        a.partials[range * a.rows + row + r] = {states[r].largest, sum, states[r].best_logit, states[r].best_id};
      }
    }
  };
  context.pool->parallel_for(
      items, grain_for(items, each * group_columns * w.inputs * std::min(a.rows, row_chunk), context.pool->size()),
      body);

  for (int64_t r = 0; r < a.rows; r++) {
    float largest = lowest, best = lowest;
    int32_t id = -1;
    for (int64_t range = 0; range < ranges; range++) {
      const LmHeadPartial& p = a.partials[range * a.rows + r];
      largest = std::max(largest, p.largest);
      if (p.best_logit > best) {
        best = p.best_logit;
        id = p.best_id;
      }
    }
    double sum = 0;
    for (int64_t range = 0; range < ranges; range++) {
      const LmHeadPartial& p = a.partials[range * a.rows + r];
      sum += static_cast<double>(p.sum) * std::exp(static_cast<double>(p.largest) - static_cast<double>(largest));
    }
    const double log_sum = static_cast<double>(largest) + std::log(sum);
    a.ids[r] = id;
    a.log_probs[r] = static_cast<float>(static_cast<double>(best) - log_sum);
    a.log_sums[r] = static_cast<float>(log_sum);
  }
}

void logits_at(const Context& context, const LogitsAtArguments& a) {
  const PackedMatrix& w = *a.weight;
  context.pool->reserve_scratch(group_columns * sizeof(float) + narrow_row_bytes(context, w));
  const auto product = [&](const float* row, int64_t id, float* scratch) {
    const int64_t group = id / group_columns, column = id % group_columns;
    if (!narrows_rows(context, w)) {
      const char* weights = w.at(group, 0) + column * inputs_together(w.type) * bytes_of(w.type);
      return context.kernels->dot(row, weights, w.type, w.columns(group), w.inputs);
    }
    const ProductRows narrow = narrow_row(context, row, w, scratch + group_columns);
    context.kernels->multiply(product_task(narrow, 0, 1, w, group, 0, w.inputs, scratch));
    return scratch[column];
  };
  const int64_t grain = grain_for(a.count, w.inputs * 4, context.pool->size());
  context.pool->parallel_for(a.count, grain, [&](int64_t begin, int64_t end, int thread) {
    float* scratch = context.pool->scratch<float>(thread);
    for (int64_t i = begin; i < end; i++)
      a.logits[i] =
          product(static_cast<const float*>(a.states) + a.rows[i] * w.inputs, a.ids[i], scratch) + a.bias[a.ids[i]];
  });
}

}  // namespace mask_predict::cpu
