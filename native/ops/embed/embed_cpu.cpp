#include "cpu/grain.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/embed/embed.h"

namespace mask_predict::cpu {

void embed(const Context& context, const EmbedArguments& a) {
  const int64_t width = a.words->inputs;
  context.pool->parallel_for(a.rows, grain_for(a.rows, width * 16, context.pool->size()),
                             [&](int64_t begin, int64_t end, int) {
                               for (int64_t r = begin; r < end; r++) {
                                 float* row = a.output + r * width;
                                 unpack_row(*a.words, a.ids[r], row);
                                 if (a.position_table != nullptr)
                                   context.kernels->add(row, a.position_table + a.positions[r] * width, width);
                               }
                             });
}

}  // namespace mask_predict::cpu
