#include "ops/linear/linear_training.h"

#include <algorithm>

#include "cpu/grain.h"

namespace mask_predict::training {

void linear_forward(const TrainingContext& context, const LinearForward& a) {
  context.multiply({.a = {a.input, a.inputs},
                    .b = {a.weight, a.inputs, true},
                    .result = a.output,
                    .stride = a.outputs,
                    .rows = a.rows,
                    .columns = a.outputs,
                    .inner = a.inputs,
                    .bias = a.bias,
                    .gelu = a.gelu});
}

void linear_backward(const TrainingContext& context, const LinearBackward& a) {
  if (a.input_gradient != nullptr)
    context.multiply({.a = {a.output_gradient, a.outputs},
                      .b = {a.weight, a.inputs},
                      .result = a.input_gradient,
                      .stride = a.inputs,
                      .rows = a.rows,
                      .columns = a.inputs,
                      .inner = a.outputs,
                      .accumulate = a.accumulate_input});
  if (a.weight_gradient != nullptr)
    context.multiply({.a = {a.output_gradient, a.outputs, true},
                      .b = {a.input, a.inputs},
                      .result = a.weight_gradient,
                      .stride = a.inputs,
                      .rows = a.outputs,
                      .columns = a.inputs,
                      .inner = a.rows,
                      .accumulate = true});
  if (a.bias_gradient != nullptr)
    add_row_sums(context, a.output_gradient, a.rows, a.outputs, a.partial_sums, a.bias_gradient);
}

void add_row_sums(const TrainingContext& context, const float* values, int64_t rows, int64_t width, float* partial_sums,
                  float* sum) {
  const cpu::TrainingKernels& k = *context.kernels;
  const int64_t blocks = sum_blocks(rows);
  context.pool->parallel_for(blocks, cpu::grain_for(blocks, cpu::sum_rows * width, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               for (int64_t b = begin; b < end; b++) {
                                 const int64_t first = b * cpu::sum_rows;
                                 k.column_sums(values + first * width, width, std::min(cpu::sum_rows, rows - first),
                                               width, partial_sums + b * width);
                               }
                             });
  for (int64_t b = 0; b < blocks; b++) k.add(sum, partial_sums + b * width, width);
}

}  // namespace mask_predict::training
