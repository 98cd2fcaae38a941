// Every function of ptx.cuh and warp.h once, with its answer: what both compilers must take, and what every
// device must say.
#include "cuda/platform.h"

namespace mask_predict::cuda {

constexpr int device_function_results = 64;

namespace {

__global__ void __launch_bounds__(64) device_functions_kernel(const uint16_t* input, uint32_t* results) {
  const CachePolicy policy = evict_first_policy();
  prefetch_l2(input);
  wait_for_earlier_kernels();
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = lane_index();
  uint32_t right = 0;
  int function = 0;
  const auto note = [&](bool is_right) { right |= static_cast<uint32_t>(is_right) << function++; };

  note(warp_index() == thread / 32);
  note(shuffle(lane, 7) == 7 && shuffle(static_cast<unsigned long long>(lane) << 40, 9) == 9ull << 40);
  note(shuffle_xor(lane, 5) == (lane ^ 5));
  note(shuffle_up(lane, 3) == (lane < 3 ? lane : lane - 3));
  note(shuffle_down(lane, 3) == (lane > 28 ? lane : lane + 3));
  note(ballot(lane % 2 == 1) == 0xaaaaaaaau);
  note(warp_sum(lane) == 31 * 16 && warp_max(static_cast<float>(lane)) == 31.0f);

  // 4 x 64 elements by each way of copying, then compared
  uint16_t* shared = shared_memory<uint16_t>();
  const bool second = thread % 2 == 1;
  if (thread < 32) {
    cp_async_16(shared + thread * 8, input + thread * 8);
    cp_async_16(shared + 256 + thread * 8, input + thread * 8, policy);
    cp_async_commit();
    cp_async_16_or_zero(shared + 512 + thread * 8, input + thread * 8, second);
    cp_async_16_or_zero(shared + 768 + thread * 8, input + thread * 8, second, policy);
  } else {
    cp_async_commit();
  }
  cp_async_commit();
  cp_async_wait<1>();
  cp_async_wait<0>();
  __syncthreads();
  bool copied = true;
  for (int i = thread; i < 256; i += 64) {
    const uint16_t value = load_global(input + i);
    const uint16_t or_zero = i / 8 % 2 ? value : uint16_t{0};
    copied = copied && load_shared(shared + i) == value && load_shared(shared + 256 + i) == value &&
             load_shared(shared + 512 + i) == or_zero && load_shared(shared + 768 + i) == or_zero;
  }
  note(copied);

  const uint4 once = load_global_once(reinterpret_cast<const uint4*>(input) + lane, policy);
  const uint4 often = load_shared(reinterpret_cast<const uint4*>(shared) + lane);
  note(once.x == often.x && once.y == often.y && once.z == often.z && once.w == often.w);

  // matrix m, row r, column c holds 64 m + 8 r + c
  uint32_t four[4];
  uint32_t two[2];
  const auto pair = [](uint32_t first, uint32_t step) { return first | (first + step) << 16; };
  const auto straight = [&](uint32_t m) { return pair(m * 64 + static_cast<uint32_t>(lane) * 2, 1); };
  const auto transposed = [&](uint32_t m) { return pair(m * 64 + static_cast<uint32_t>(lane / 4 + lane % 4 * 16), 8); };
  ldmatrix_x4(four, shared + lane * 8);
  note(four[0] == straight(0) && four[1] == straight(1) && four[2] == straight(2) && four[3] == straight(3));
  ldmatrix_x4_transposed(four, shared + lane * 8);
  note(four[0] == transposed(0) && four[1] == transposed(1) && four[2] == transposed(2) && four[3] == transposed(3));
  ldmatrix_x2(two, shared + lane % 16 * 8);
  note(two[0] == straight(0) && two[1] == straight(1));
  ldmatrix_x2_transposed(two, shared + lane % 16 * 8);
  note(two[0] == transposed(0) && two[1] == transposed(1));

  // a[row, i] = row + 1, b[i, column] = column where i is 9, else 0; sums start at 100
  const int group = lane / 4;
  const int in_group = lane % 4;
  const float high_row = static_cast<float>(group + 9);
  const float low_row = static_cast<float>(group + 1);
  const uint32_t a[4] = {pack_bfloat16(low_row, low_row), pack_bfloat16(high_row, high_row),
                         pack_bfloat16(low_row, low_row), pack_bfloat16(high_row, high_row)};
  const uint32_t b1 = in_group == 0 ? pack_bfloat16(0.0f, static_cast<float>(group)) : 0u;
  float sums[4] = {100.0f, 100.0f, 100.0f, 100.0f};
  mma_m16n8k16(sums, a, 0u, b1);
  const float column = static_cast<float>(in_group * 2);
  note(sums[0] == 100.0f + low_row * column && sums[1] == 100.0f + low_row * (column + 1) &&
       sums[2] == 100.0f + high_row * column && sums[3] == 100.0f + high_row * (column + 1));

  const float2 halves = unpack_bfloat16(pack_bfloat16(1.0f, -2.5f));
  note(halves.x == 1.0f && halves.y == -2.5f);
  note(to_float(to_bfloat16(1.00390625f)) == 1.0f && to_float(to_bfloat16(1.01171875f)) == 1.015625f);
  note(fabsf(exp2_approximate(3.5f) - 11.3137085f) < 1e-5f && exp2_approximate(-130.0f) == 0.0f);

  store_shared(shared + 1024 + thread, static_cast<uint16_t>(thread));
  sync_warp();
  note(load_shared(shared + 1024 + (thread ^ 1)) == (thread ^ 1));

  allow_next_kernel();
  store_global(results + thread, right == (1u << function) - 1 ? 0xffffu : right);
}

}  // namespace

// input [256]: 0, 1, 2, ...; results [device_function_results], one per thread: 0xffff where all is right,
// else a bit for every function that is.
void device_functions(const uint16_t* input, uint32_t* results, cudaStream_t stream) {
  const LaunchShape shape{
      dim3(1), dim3(device_function_results), (1024 + 64) * sizeof(uint16_t), stream, "device_functions", true};
  launch(device_functions_kernel, shape, input, results);
}

}  // namespace mask_predict::cuda
