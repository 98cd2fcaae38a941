#include <cstring>

#include "cpu/grain.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/layer_norm/layer_norm.h"

namespace mask_predict::cpu {

void layer_norm(const Context& context, const LayerNormArguments& a) {
  // Activations are float32 here: one result serves both.
  float* result = a.output != nullptr ? a.output : static_cast<float*>(a.normed);
  context.pool->parallel_for(a.rows, grain_for(a.rows, a.width * 8, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               context.kernels->layer_norm(a.input + begin * a.width, end - begin, a.width, a.gain,
                                                           a.shift, a.epsilon, result + begin * a.width);
                             });
  if (a.normed != nullptr && a.normed != result)
    std::memcpy(a.normed, result, static_cast<size_t>(a.rows * a.width) * sizeof(float));
}

}  // namespace mask_predict::cpu
