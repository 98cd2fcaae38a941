// Dynamic mixed attention, eq. (7), on a CUDA device. Chooses the kernel: tensor cores for bfloat16 and the head sizes
// that XLM-R models have, float32 arithmetic for all else. Pointers are aligned to 16 bytes.
#include "ops/mixed_attention/mixed_attention.h"

#include <cmath>
#include <string>

#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/mixed_attention/attention_float32.cuh"
#include "ops/mixed_attention/attention_tensor_cores.cuh"

namespace mask_predict::cuda {
namespace {

template <class Element>
AttentionParameters<Element> parameters_of(const MixedAttentionArguments& a) {
  return {static_cast<const Element*>(a.query),
          static_cast<const Element*>(a.own),
          static_cast<Element*>(a.output),
          a.sequences,
          a.layer,
          static_cast<int>(a.head_size)};
}

dim3 grid_of(const MixedAttentionArguments& a, int tile_rows) {
  return dim3(static_cast<unsigned>(a.sequence_count), static_cast<unsigned>(a.heads),
              static_cast<unsigned>((a.most_queries + tile_rows - 1) / tile_rows));
}

template <int head_size>
void on_tensor_cores(const Context& context, const MixedAttentionArguments& a) {
  using Shape = TensorCoreAttention<head_size>;
  const float exponent_scale = static_cast<float>(std::log2(std::exp(1.0)) / std::sqrt(static_cast<double>(head_size)));
  launch(tensor_core_attention_kernel<head_size>,
         {grid_of(a, Shape::tile_rows), dim3(Shape::threads), Shape::shared_bytes, context.stream->handle,
          "mixed_attention", true},
         parameters_of<__nv_bfloat16>(a), exponent_scale);
}

template <class Element>
void in_float32(const Context& context, const MixedAttentionArguments& a) {
  if (a.head_size > float32_attention::largest_head_size) {
    throw Error(ErrorCode::Device, "attention on a CUDA device takes heads of up to " +
                                       std::to_string(float32_attention::largest_head_size) + " values, not of " +
                                       std::to_string(a.head_size));
  }
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_size)));
  launch(float32_attention_kernel<Element>,
         {grid_of(a, float32_attention::tile_rows), dim3(float32_attention::threads),
          float32_attention::shared_bytes(static_cast<int>(a.head_size)), context.stream->handle,
          "mixed_attention_float32", true},
         parameters_of<Element>(a), scale);
}

}  // namespace

void mixed_attention(const Context& context, const MixedAttentionArguments& a) {
  if (a.sequence_count == 0 || a.most_queries == 0) return;
  if (context.activations == ValueType::F32) return in_float32<float>(context, a);
  switch (a.head_size) {
    case 64: return on_tensor_cores<64>(context, a);
    case 80: return on_tensor_cores<80>(context, a);
    case 128: return on_tensor_cores<128>(context, a);
    default: return in_float32<__nv_bfloat16>(context, a);
  }
}

}  // namespace mask_predict::cuda
