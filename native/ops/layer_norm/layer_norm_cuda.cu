// One block per row: mean, then variance around it, then the result; the row stays in the first-level cache.
#include "cuda/platform.h"
#include "cuda/reduce.cuh"
#include "cuda/stream.h"
#include "ops/layer_norm/layer_norm.h"

namespace mask_predict::cuda {
namespace {

constexpr int threads = 128;

__global__ void __launch_bounds__(threads)
    layer_norm_kernel(const float* input, int64_t width, const float* gain, const float* shift, float epsilon,
                      float* output, void* normed, bool normed_is_float) {
  wait_for_earlier_kernels();
  float* scratch = shared_memory<float>();
  const int64_t first = static_cast<int64_t>(blockIdx.x) * width;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < width; i += threads) sum += load_global(input + first + i);
  const float mean = block_sum(sum, scratch) / static_cast<float>(width);
  float squares = 0;
  for (int64_t i = threadIdx.x; i < width; i += threads) {
    const float difference = load_global(input + first + i) - mean;
    squares += difference * difference;
  }
  const float variance = block_sum(squares, scratch) / static_cast<float>(width);
  const float factor = 1.0f / sqrtf(variance + epsilon);
  for (int64_t i = threadIdx.x; i < width; i += threads) {
    const float value =
        (load_global(input + first + i) - mean) * factor * load_global(gain + i) + load_global(shift + i);
    if (output != nullptr) store_global(output + first + i, value);
    if (normed == nullptr) continue;
    if (normed_is_float)
      store_global(static_cast<float*>(normed) + first + i, value);
    else
      store_global(static_cast<__nv_bfloat16*>(normed) + first + i, to_bfloat16(value));
  }
}

}  // namespace

void layer_norm(const Context& context, const LayerNormArguments& a) {
  if (a.rows == 0) return;
  launch(layer_norm_kernel,
         {dim3(static_cast<unsigned>(a.rows)), dim3(threads), threads / 32 * sizeof(float), context.stream->handle,
          "layer_norm", true},
         a.input, a.width, a.gain, a.shift, a.epsilon, a.output, a.normed, context.activations == ValueType::F32);
}

}  // namespace mask_predict::cuda
