// One block per row; its threads take the columns in turn.
#include "cuda/packed_layout.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/embed.h"

namespace mask_predict::cuda {
namespace {

constexpr int threads = 128;

__global__ void __launch_bounds__(threads)
    embed_kernel(const int32_t* ids, const int32_t* positions, const void* words, bool words_are_float, int64_t width,
                 const float* position_table, float* output) {
  wait_for_earlier_kernels();
  const int64_t row = blockIdx.x;
  const int64_t id = load_global(ids + row);
  const float* position = position_table + load_global(positions + row) * width;
  for (int64_t column = threadIdx.x; column < width; column += threads) {
    const float word =
        words_are_float
            ? load_global(static_cast<const float*>(words) + id * width + column)
            : to_float(static_cast<const __nv_bfloat16*>(words)[fragment_index(id, column, width)]);
    store_global(output + row * width + column, word + load_global(position + column));
  }
}

}  // namespace

void embed(const Context& context, const EmbedArguments& a) {
  if (a.rows == 0) return;
  launch(embed_kernel, {dim3(static_cast<unsigned>(a.rows)), dim3(threads), 0, context.stream->handle, "embed", true},
         a.ids, a.positions, a.words->data.as<const void>(), a.words->type == WeightType::F32, a.words->inputs,
         a.position_table, a.output);
}

}  // namespace mask_predict::cuda
