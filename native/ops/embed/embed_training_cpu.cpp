#include "ops/embed/embed_training.h"

#include <algorithm>
#include <numeric>

#include "cpu/grain.h"

namespace mask_predict::training {

void embed_forward(const TrainingContext& context, const EmbedForward& a) {
  const cpu::TrainingKernels& k = *context.kernels;
  context.pool->parallel_for(a.rows, cpu::grain_for(a.rows, a.width * 3, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               for (int64_t r = begin; r < end; r++) {
                                 float* const row = a.output + r * a.width;
                                 std::copy_n(a.words + a.ids[r] * a.width, a.width, row);
                                 k.add(row, a.position_table + a.positions[r] * a.width, a.width);
                                 if (a.token_type != nullptr) k.add(row, a.token_type, a.width);
                               }
                             });
}

void scatter_rows(const TrainingContext& context, const int32_t* index, int64_t count, int64_t width,
                  const float* gradient, float* table_gradient, int32_t* order) {
  std::iota(order, order + count, 0);
  std::sort(order, order + count,
            [index](int32_t a, int32_t b) { return index[a] != index[b] ? index[a] < index[b] : a < b; });
  // A thread takes the groups that begin in its range.
  context.pool->parallel_for(
      count, cpu::grain_for(count, width, context.pool->size()), [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++) {
          const int32_t row = index[order[i]];
          if (i > 0 && index[order[i - 1]] == row) continue;
          for (int64_t j = i; j < count && index[order[j]] == row; j++)
            context.kernels->add(table_gradient + row * width, gradient + order[j] * width, width);
        }
      });
}

}  // namespace mask_predict::training
