#include <cstring>

#include "cpu/grain.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/operations.h"

namespace mask_predict::cpu {

void gather_rows(const Context&, const GatherRowsArguments& a) {
  const int64_t bytes = a.width * bytes_of(a.type);
  for (int64_t r = 0; r < a.rows; r++)
    std::memcpy(static_cast<char*>(a.output) + r * bytes, static_cast<const char*>(a.input) + a.index[r] * bytes,
                static_cast<size_t>(bytes));
}

void mean_rows(const Context& context, const MeanRowsArguments& a) {
  for (int64_t s = 0; s < a.sequences; s++) {
    float* mean = static_cast<float*>(a.output) + s * a.width;
    std::memset(mean, 0, static_cast<size_t>(a.width) * sizeof(float));
    for (int64_t r = a.offsets[s]; r < a.offsets[s + 1]; r++)
      context.kernels->add(mean, a.input + r * a.width, a.width);
    const float inverse = 1.0f / static_cast<float>(a.offsets[s + 1] - a.offsets[s]);
    for (int64_t i = 0; i < a.width; i++) mean[i] *= inverse;
  }
}

void round_rows(const Context& context, const RoundRowsArguments& a) {
  context.pool->parallel_for(
      a.rows, grain_for(a.rows, a.width, context.pool->size()), [&](int64_t begin, int64_t end, int) {
        context.kernels->round(a.input + begin * a.width, end - begin, a.width, a.output + begin * a.width, a.width);
      });
}

}  // namespace mask_predict::cpu
