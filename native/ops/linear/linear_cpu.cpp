// Each thread takes groups of 48 outputs; of one group a block of the inner dimension small enough to stay in the
// second-level cache meets all rows before the next block is read, and the next block is fetched meanwhile; at the end of a
// thread's share that is the one with which its share of the next product begins.
#include <algorithm>

#include "cpu/grain.h"
#include "cpu/thread_pool.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/operations.h"
#include "ops/weights/product.h"

namespace mask_predict::cpu {
namespace {

constexpr int64_t inner_block = 1024;  // 192 KiB of float32 weights
constexpr int64_t row_chunk = 256;     // rows whose sums (48 KiB) wait between two blocks

}  // namespace

void linear(const Context& context, const LinearArguments& a) {
  const PackedMatrix& w = *a.weight;
  // Bytes in one block: their sums are integers until the last input.
  const int64_t block = w.type == WeightType::I8 ? w.inputs : inner_block;
  const ProductRows input = product_rows(context, static_cast<const float*>(a.input), a.rows, w);
  float* output = static_cast<float*>(a.output);
  const int64_t chunks = (a.rows + row_chunk - 1) / row_chunk, items = w.groups() * chunks;
  context.pool->reserve_scratch(row_chunk * group_columns * sizeof(float));
  const int64_t work = std::min(a.rows, row_chunk) * w.inputs * group_columns / (w.type == WeightType::I8 ? 4 : 1);

  const int threads = context.pool->size();
  const auto fetch = [](const PackedMatrix& weight, int64_t group, MultiplyTask& task) {
    const int64_t inner = weight.type == WeightType::I8 ? weight.inputs : std::min(inner_block, weight.inputs);
    task.prefetch = weight.at(group, 0);
    task.prefetch_bytes = inner * weight.columns(group) * bytes_of(weight.type);
  };
  const auto body = [&](int64_t begin, int64_t end, int thread) {
    float* scratch = context.pool->scratch<float>(thread);
    for (int64_t item = begin; item < end && !context.is_cancelled(); item++) {
      const int64_t group = item / chunks, row = item % chunks * row_chunk;
      const int64_t rows = std::min(row_chunk, a.rows - row);
      const bool last_chunk = row + rows == a.rows;
      const int64_t halves = a.gate ? 2 : 1, width = w.outputs / halves;  // of the output
      const int64_t column = group * group_columns / halves, corner = row * width + column;
      const int columns = static_cast<int>(std::min<int64_t>(group_columns / halves, width - column));
      const Epilogue epilogue{columns, a.bias ? a.bias + column : nullptr,
                              a.gelu,  a.residual ? a.residual + corner : nullptr,
                              width,   output + corner,
                              width,   a.gate};
      for (int64_t k = 0; k < w.inputs; k += block) {
        const int64_t inner = std::min(block, w.inputs - k);
        MultiplyTask task = product_task(input, row, rows, w, group, k, inner, scratch);
        task.accumulate = k > 0;
        if (k + inner < w.inputs) {
          task.prefetch = w.at(group, k + inner);
          task.prefetch_bytes = std::min(block, w.inputs - k - inner) * task.columns * bytes_of(w.type);
        } else {
          task.epilogue = &epilogue;
          if (a.next_weight != nullptr && item + 1 == items * (thread + 1) / threads)
            fetch(*a.next_weight, a.next_weight->groups() * thread / threads, task);
          else if (last_chunk && group + 1 < w.groups())
            fetch(w, group + 1, task);
        }
        context.kernels->multiply(task);
      }
    }
  };
  context.pool->parallel_for(items, grain_for(items, work, context.pool->size()), body);
}

void linear_pair(const Context& context, const LinearPairArguments& a) {
  const auto& [first, second] = a.products;
  linear(context,
         {a.input, a.rows, first.weight, first.bias, false, nullptr, first.output, a.output_type, second.weight});
  linear(context,
         {a.input, a.rows, second.weight, second.bias, false, nullptr, second.output, a.output_type, a.next_weight});
}

void linear_norm(const Context& context, const LinearNormArguments& a) {
  linear(context, {a.input, a.rows, a.weight, a.bias, false, a.states, a.states, ValueType::F32, a.next_weight});
  const bool post = a.placement == NormPlacement::Post;
  layer_norm(context,
             {a.states, a.rows, a.weight->outputs, a.gain, a.shift, a.epsilon, post ? a.states : nullptr, a.normed});
}

}  // namespace mask_predict::cpu
