// One block per row (gather) or sequence (mean); its threads take the columns in turn.
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/rows/rows.h"

namespace mask_predict::cuda {
namespace {

constexpr int threads = 128;

template <class Word>
__global__ void __launch_bounds__(threads)
    gather_rows_kernel(const Word* input, const int32_t* index, int64_t words, Word* output) {
  wait_for_earlier_kernels();
  const int64_t row = blockIdx.x;
  const Word* from = input + load_global(index + row) * words;
  for (int64_t i = threadIdx.x; i < words; i += threads) store_global(output + row * words + i, load_global(from + i));
}

template <class Word>
void gather(const Context& context, const GatherRowsArguments& a) {
  const int64_t words = a.width * bytes_of(a.type) / static_cast<int64_t>(sizeof(Word));
  launch(gather_rows_kernel<Word>,
         {dim3(static_cast<unsigned>(a.rows)), dim3(threads), 0, context.stream->handle, "gather_rows", true},
         static_cast<const Word*>(a.input), a.index, words, static_cast<Word*>(a.output));
}

__global__ void __launch_bounds__(threads)
    mean_rows_kernel(const float* input, const int32_t* offsets, int64_t width, void* output, bool output_is_float) {
  wait_for_earlier_kernels();
  const int64_t sequence = blockIdx.x;
  const int64_t begin = load_global(offsets + sequence), end = load_global(offsets + sequence + 1);
  const float inverse = 1.0f / static_cast<float>(end - begin);
  for (int64_t column = threadIdx.x; column < width; column += threads) {
    float sum = 0;
    for (int64_t row = begin; row < end; ++row) sum += load_global(input + row * width + column);
    if (output_is_float)
      store_global(static_cast<float*>(output) + sequence * width + column, sum * inverse);
    else
      store_global(static_cast<__nv_bfloat16*>(output) + sequence * width + column, to_bfloat16(sum * inverse));
  }
}

}  // namespace

void gather_rows(const Context& context, const GatherRowsArguments& a) {
  if (a.rows == 0) return;
  if (a.width * bytes_of(a.type) % 4 == 0)
    gather<uint32_t>(context, a);
  else
    gather<uint16_t>(context, a);
}

void mean_rows(const Context& context, const MeanRowsArguments& a) {
  if (a.sequences == 0) return;
  launch(mean_rows_kernel,
         {dim3(static_cast<unsigned>(a.sequences)), dim3(threads), 0, context.stream->handle, "mean_rows", true},
         a.input, a.offsets, a.width, a.output, context.activations == ValueType::F32);
}

}  // namespace mask_predict::cuda
