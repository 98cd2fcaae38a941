#include "ops/weights/product.h"

#include "cpu/grain.h"
#include "cpu/thread_pool.h"

namespace mask_predict::cpu {
namespace {

// Apart from a multiple of 4096 bytes, at which the rows of a tile would share one set of the first-level cache.
int64_t byte_stride(int64_t inputs) { return (inputs + 63) / 64 * 64 + 64; }

}  // namespace

ProductRows product_rows(const Context& context, const float* input, int64_t rows, const PackedMatrix& weight) {
  if (weight.type != WeightType::I8)
    return {reinterpret_cast<const char*>(input), weight.inputs, sizeof(float), nullptr};
  const int64_t stride = byte_stride(weight.inputs);
  float* scales = context.pool->shared_scratch<float>(static_cast<uint64_t>(rows) * byte_row_bytes(weight));
  auto* bytes = reinterpret_cast<uint8_t*>(scales + rows);
  context.pool->parallel_for(rows, grain_for(rows, weight.inputs * 4, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               context.kernels->quantize(input + begin * weight.inputs, end - begin, weight.inputs,
                                                         bytes + begin * stride, stride, scales + begin);
                             });
  return {reinterpret_cast<const char*>(bytes), stride, 1, scales};
}

ProductRows byte_row(const Context& context, const float* input, const PackedMatrix& weight, void* memory) {
  auto* scale = static_cast<float*>(memory);
  auto* bytes = reinterpret_cast<uint8_t*>(scale + 1);
  context.kernels->quantize(input, 1, weight.inputs, bytes, 0, scale);
  return {reinterpret_cast<const char*>(bytes), 0, 1, scale};
}

uint64_t byte_row_bytes(const PackedMatrix& weight) {
  return sizeof(float) + static_cast<uint64_t>(byte_stride(weight.inputs));
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
  if (weight.type == WeightType::I8) {
    task.input_scales = rows.scales + first_row;
    task.weight_scales = weight.scales() + group * group_columns;
    task.weight_sums = weight.byte_sums() + group * group_columns;
  }
  return task;
}

}  // namespace mask_predict::cpu
