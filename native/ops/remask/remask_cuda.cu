// The end of an iteration of Mask-Predict, section 3.3, on a CUDA device. remask: one block for each sequence ranks by
// counting. Every row has a key of 64 bits, its score as an integer of the same order above its number, so that no two
// keys are equal; a row is masked if fewer than counts[s] keys are below its own. Where it goes in the list is again a
// count, of the masked rows below it. Nothing depends on the order in which threads run.
#include "base/special_ids.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/remask/remask.h"

namespace mask_predict::cuda {
namespace {

constexpr int fill_threads = 128;
constexpr int most_threads = 512;
constexpr uint64_t no_competitor = ~uint64_t{0};  // above every key

// Section 3.3, step 1: writes the predictions into the masked rows.
__global__ void __launch_bounds__(fill_threads) fill_masks_kernel(FillMasksArguments a) {
  wait_for_earlier_kernels();
  allow_next_kernel();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * fill_threads + threadIdx.x;
  if (i >= load_global(a.count)) return;
  const int32_t row = load_global(a.masked_rows + i), id = load_global(a.ids + i);
  store_global(a.tokens + row, static_cast<int32_t>(id >= 0 ? id : unknown_id));
  store_global(a.scores + row, load_global(a.log_probs + i));
}

__device__ __forceinline__ uint64_t key_of(float score, int row) {
  const uint32_t bits = __float_as_uint(score + 0.0f);  // -0 becomes +0: equal scores have equal keys
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | static_cast<uint32_t>(row);
}

// Shared memory: a key for each row, an even number of them, then a bit for each row that is masked.
__host__ __device__ constexpr int even(int rows) { return (rows + 1) / 2 * 2; }

// Section 3.3, step 2: masks the rows with the lowest scores again.
__global__ void __launch_bounds__(most_threads) remask_kernel(RemaskArguments a) {
  wait_for_earlier_kernels();
  allow_next_kernel();
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int sequence = static_cast<int>(blockIdx.x);
  const int first = load_global(a.offsets + sequence), rows = load_global(a.offsets + sequence + 1) - first;
  const int count = load_global(a.counts + sequence), list = load_global(a.masked_offsets + sequence);
  uint64_t* const keys = shared_memory<uint64_t>();
  uint32_t* const masked = reinterpret_cast<uint32_t*>(keys + even(rows));

  for (int row = thread; row < even(rows); row += threads) {
    const bool competes = row < rows && load_global(a.maskable + first + row) != 0;
    store_shared(keys + row, competes ? key_of(load_global(a.scores + first + row), row) : no_competitor);
  }
  __syncthreads();
  for (int begin = thread - thread % 32; begin < rows; begin += threads) {  // the same for all lanes of a warp
    const int row = begin + thread % 32;
    const uint64_t key = row < rows ? load_shared(keys + row) : no_competitor;
    int rank = 0;
    for (int other = 0; other < rows; other += 2) {
      const uint4 pair = load_shared(reinterpret_cast<const uint4*>(keys + other));
      rank += (static_cast<uint64_t>(pair.y) << 32 | pair.x) < key;
      rank += (static_cast<uint64_t>(pair.w) << 32 | pair.z) < key;
    }
    const bool is_masked = key != no_competitor && rank < count;
    const uint32_t bits = ballot(is_masked);
    if (thread % 32 == 0) store_shared(masked + begin / 32, bits);
    if (is_masked) {
      store_global(a.tokens + first + row, a.mask_token_id);
      store_global(a.scores + first + row, 0.0f);
    }
  }
  __syncthreads();
  for (int row = thread; row < rows; row += threads) {
    const uint32_t bits = load_shared(masked + row / 32), bit = 1u << row % 32;
    if ((bits & bit) == 0) continue;
    int below = __popc(bits & (bit - 1));
    for (int word = 0; word < row / 32; ++word) below += __popc(load_shared(masked + word));
    store_global(a.masked_rows + list + below, static_cast<int32_t>(first + row));
  }
}

}  // namespace

void fill_masks(const Context& context, const FillMasksArguments& a) {
  if (a.capacity == 0) return;
  const unsigned blocks = static_cast<unsigned>((a.capacity + fill_threads - 1) / fill_threads);
  launch(fill_masks_kernel, {dim3(blocks), dim3(fill_threads), 0, context.stream->handle, "fill_masks", true}, a);
}

void remask(const Context& context, const RemaskArguments& a) {
  if (a.sequences == 0 || a.most_rows == 0) return;
  const int rows = static_cast<int>(a.most_rows), words = (rows + 31) / 32;
  const int threads = words * 32 < most_threads ? words * 32 : most_threads;
  const size_t shared_bytes =
      static_cast<size_t>(even(rows)) * sizeof(uint64_t) + static_cast<size_t>(words) * sizeof(uint32_t);
  launch(remask_kernel,
         {dim3(static_cast<unsigned>(a.sequences)), dim3(static_cast<unsigned>(threads)), shared_bytes,
          context.stream->handle, "remask", true},
         a);
}

}  // namespace mask_predict::cuda
