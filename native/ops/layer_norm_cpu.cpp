#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/layer_norm.h"

namespace mask_predict {

void layer_norm(const Context& context, const LayerNormArguments& a) {
  context.pool->parallel_for(a.rows, grain_for(a.rows, a.width * 8, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               context.kernels->layer_norm(a.input + begin * a.width, end - begin, a.width, a.gain,
                                                           a.shift, a.epsilon, a.output + begin * a.width);
                             });
}

}  // namespace mask_predict
