#include "ops/dropout/dropout.h"

#include <cmath>

#include "cpu/grain.h"

namespace mask_predict::training {

void dropout(const TrainingContext& context, const DropoutDraws& draws, const DropoutArguments& a) {
  const auto threshold = static_cast<uint32_t>(std::lround(draws.probability * 65536));
  const float scale = 65536.0f / static_cast<float>(65536 - threshold);
  context.pool->parallel_for(
      a.rows, cpu::grain_for(a.rows, a.width * 8, context.pool->size()), [&](int64_t begin, int64_t end, int) {
        const int64_t at = begin * a.width;
        context.kernels->dropout({a.input + at, a.residual == nullptr ? nullptr : a.residual + at, a.output + at,
                                  end - begin, a.width, threshold, scale, draws.seed, draws.step, a.site,
                                  a.first_row + static_cast<uint32_t>(begin)});
      });
}

}  // namespace mask_predict::training
