#include "ops/layer_norm/layer_norm_training.h"

#include <algorithm>

#include "cpu/grain.h"
#include "ops/linear/linear_training.h"

namespace mask_predict::training {

void norm_forward(const TrainingContext& context, const NormForward& a) {
  context.pool->parallel_for(
      a.rows, cpu::grain_for(a.rows, a.width * 4, context.pool->size()), [&](int64_t begin, int64_t end, int) {
        context.kernels->norm({a.input + begin * a.width, end - begin, a.width, a.gain, a.shift, a.epsilon,
                               a.output + begin * a.width, a.means + begin, a.inverses + begin});
      });
}

void norm_backward(const TrainingContext& context, const NormBackward& a) {
  const int64_t blocks = sum_blocks(a.rows);
  context.pool->parallel_for(blocks, cpu::grain_for(blocks, cpu::sum_rows * a.width * 8, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               for (int64_t b = begin; b < end; b++) {
                                 const int64_t row = b * cpu::sum_rows;
                                 float* const sums = a.partial_sums + b * 2 * a.width;
                                 context.kernels->norm_gradient(
                                     {a.input + row * a.width, a.means + row, a.inverses + row, a.gain,
                                      a.output_gradient + row * a.width, std::min(cpu::sum_rows, a.rows - row), a.width,
                                      a.input_gradient + row * a.width, a.accumulate_input, sums, sums + a.width});
                               }
                             });
  if (a.gain_gradient == nullptr) return;
  for (int64_t b = 0; b < blocks; b++) {
    context.kernels->add(a.gain_gradient, a.partial_sums + b * 2 * a.width, a.width);
    context.kernels->add(a.shift_gradient, a.partial_sums + b * 2 * a.width + a.width, a.width);
  }
}

}  // namespace mask_predict::training
