// One block per row; its threads take the columns in turn.
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/embed/embed.h"
#include "ops/weights/packed_layout.h"
#include "ops/weights/weight_fragments.cuh"

namespace mask_predict::cuda {
namespace {

constexpr int threads = 128;

// Reads one value of the word embeddings in the type they are kept in; bytes are multiplied by their scale.
__device__ __forceinline__ float word_value(WeightType type, const void* words, const float* scales, int64_t id,
                                            int64_t column, int64_t width) {
  if (type == WeightType::F32) return load_global(static_cast<const float*>(words) + id * width + column);
  if (type == WeightType::BF16)
    return Bfloat16Weights::value(load_global(static_cast<const uint16_t*>(words) + fragment_index(id, column, width)));
  const uint8_t byte = load_global(static_cast<const uint8_t*>(words) + byte_index(id, column, width));
  const float value = type == WeightType::I8 ? Int8Weights::value(byte) : Fp8Weights::value(byte);
  return __fmul_rn(value, load_global(scales + id));
}

__global__ void __launch_bounds__(threads)
    embed_kernel(const int32_t* ids, const int32_t* positions, const void* words, WeightType type, const float* scales,
                 int64_t width, const float* position_table, float* output) {
  wait_for_earlier_kernels();
  const int64_t row = blockIdx.x;
  const int64_t id = load_global(ids + row);
  const float* position = position_table + load_global(positions + row) * width;
  for (int64_t column = threadIdx.x; column < width; column += threads) {
    const float word = word_value(type, words, scales, id, column, width);
    store_global(output + row * width + column, __fadd_rn(word, load_global(position + column)));
  }
}

}  // namespace

void embed(const Context& context, const EmbedArguments& a) {
  if (a.rows == 0) return;
  launch(embed_kernel, {dim3(static_cast<unsigned>(a.rows)), dim3(threads), 0, context.stream->handle, "embed", true},
         a.ids, a.positions, a.words->data.as<const void>(), a.words->type, scales_of(*a.words), a.words->inputs,
         a.position_table, a.output);
}

}  // namespace mask_predict::cuda
