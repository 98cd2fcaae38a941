#include <cmath>

#include "cpu/grain.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/operations.h"

namespace mask_predict {

void fill_rotary_table(float* table, int64_t positions, int64_t head_size, double theta) {
  const int64_t half = head_size / 2;
  for (int64_t j = 0; j < half; j++) {
    const auto exponent = static_cast<double>(2 * j) / static_cast<double>(head_size);
    const auto frequency = static_cast<float>(std::pow(theta, -exponent));
    for (int64_t p = 0; p < positions; p++) {
      const float angle = static_cast<float>(p) * frequency;
      table[p * head_size + j] = std::cos(angle);
      table[p * head_size + half + j] = std::sin(angle);
    }
  }
}

namespace cpu {

void rotate(const Context& context, const RotateArguments& a) {
  const int64_t width = a.heads * a.head_size;
  context.pool->parallel_for(a.rows, grain_for(a.rows, width * 4, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               for (int64_t r = begin; r < end; r++)
                                 context.kernels->rotate(static_cast<float*>(a.values) + r * a.stride, a.heads,
                                                         a.head_size / 2, a.table + a.positions[r] * a.head_size);
                             });
}

}  // namespace cpu
}  // namespace mask_predict
