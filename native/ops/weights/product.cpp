#include "ops/weights/product.h"

#include "cpu/grain.h"
#include "cpu/thread_pool.h"

namespace mask_predict::cpu {
namespace {

// Returns how many bytes a narrowed input of a product takes.
int64_t element_bytes(const Context& context, const PackedMatrix& weight) {
  return weight.type == WeightType::I8 ? context.kernels->input_bytes : bytes_of(weight.type);
}

// Apart from a multiple of 4096 bytes, at which the rows of a tile would share one set of the first-level cache.
int64_t narrow_stride_bytes(const Context& context, const PackedMatrix& weight) {
  return round_up(weight.inputs * element_bytes(context, weight), 64) + 64;
}

// `rows` rows from `first` on; `memory` has a scale for each row, and behind `all_rows` of them the narrow rows.
ProductRows narrow(const Context& context, const float* input, int64_t first, int64_t rows, int64_t all_rows,
                   const PackedMatrix& weight, void* memory) {
  const int64_t inputs = weight.inputs, bytes = narrow_stride_bytes(context, weight),
                element = element_bytes(context, weight);
  auto* scales = static_cast<float*>(memory);
  auto* values = reinterpret_cast<char*>(scales + all_rows);
  char* const to = values + first * bytes;
  if (weight.type == WeightType::I8)
    context.kernels->quantize(input + first * inputs, rows, inputs, to, bytes / element, scales + first);
  else
    context.kernels->round(input + first * inputs, rows, inputs, reinterpret_cast<uint16_t*>(to), bytes / element);
  return {values, bytes / element, element, scales};
}

}  // namespace

bool narrows_rows(const Context& context, const PackedMatrix& weight) {
  return weight.type == WeightType::I8 || (weight.type == WeightType::BF16 && context.rounded_products);
}

ProductRows product_rows(const Context& context, const float* input, int64_t rows, const PackedMatrix& weight) {
  if (!narrows_rows(context, weight))
    return {reinterpret_cast<const char*>(input), weight.inputs, sizeof(float), nullptr};
  void* memory = context.pool->shared_scratch<float>(static_cast<uint64_t>(rows) * narrow_row_bytes(context, weight));
  context.pool->parallel_for(
      rows, grain_for(rows, weight.inputs * 4, context.pool->size()),
      [&](int64_t begin, int64_t end, int) { narrow(context, input, begin, end - begin, rows, weight, memory); });
  return narrow(context, input, 0, 0, rows, weight, memory);  // no more rows: where they lie
}

ProductRows narrow_row(const Context& context, const float* input, const PackedMatrix& weight, void* memory) {
  return narrow(context, input, 0, 1, 1, weight, memory);
}

uint64_t narrow_row_bytes(const Context& context, const PackedMatrix& weight) {
  return sizeof(float) + static_cast<uint64_t>(narrow_stride_bytes(context, weight));
}

MultiplyTask product_task(const ProductRows& rows, int64_t first_row, int64_t count, const PackedMatrix& weight,
                          int64_t group, int64_t first_input, int64_t inputs, float* sums) {
  MultiplyTask task{rows.values + (first_row * rows.stride + first_input) * rows.element,
                    rows.stride,
                    count,
                    weight.at(group, first_input),
                    weight.type,
                    inputs,
                    weight.columns(group),
                    sums,
                    group_columns,
                    false,
                    nullptr,
                    0};
  task.rounded = weight.type == WeightType::BF16 && rows.element == bytes_of(weight.type);
  if (weight.type == WeightType::I8) {
    task.input_scales = rows.scales + first_row;
    task.weight_scales = weight.scales() + group * group_columns;
    task.weight_sums = weight.byte_sums() + group * group_columns;
  }
  return task;
}

}  // namespace mask_predict::cpu
