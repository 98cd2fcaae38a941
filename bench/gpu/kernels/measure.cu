// The limits of the card, in the terms of the other benchmarks: memory bandwidth of a copy and of reading, the rate of
// mma.sync, and what one kernel after another costs in a graph, with and without dependent launches.
#include "bench.h"

namespace mask_predict::bench {
namespace {

using namespace cuda;

constexpr int read_threads = 512, mma_threads = 256, chains = 8;

__global__ void __launch_bounds__(read_threads) read_kernel(const uint4* values, int64_t count, uint32_t* output) {
  constexpr int at_once = 8;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * read_threads;
  const CachePolicy policy = evict_first_policy();
  uint32_t mixed = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * read_threads + threadIdx.x; i < count; i += at_once * stride) {
    uint4 loaded[at_once];
#pragma unroll
    for (int k = 0; k < at_once; ++k)
      loaded[k] = i + k * stride < count ? load_global_once(values + i + k * stride, policy) : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int k = 0; k < at_once; ++k) mixed ^= loaded[k].x ^ loaded[k].y ^ loaded[k].z ^ loaded[k].w;
  }
  if (mixed == 0x12345678u) store_global(output, mixed);  // never left out, hardly ever done
}

// Independent products in registers: nothing but the tensor cores is in the way.
__global__ void __launch_bounds__(mma_threads) mma_kernel(int rounds, float* output) {
  float sums[chains][4] = {};
  uint32_t a[4];
  for (int i = 0; i < 4; ++i) {
    const uint64_t place = threadIdx.x * 8 + static_cast<unsigned>(i) * 2;
    a[i] = pack_bfloat16(value_of(1, place, 0.0009765625f), value_of(1, place + 1, 0.0009765625f));
  }
  const uint32_t b0 = a[1] ^ 0x00010001u, b1 = a[2] ^ 0x00020002u;
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int chain = 0; chain < chains; ++chain) mma_m16n8k16(sums[chain], a, b0, b1);
  }
  float sum = 0;
  for (int chain = 0; chain < chains; ++chain) sum += sums[chain][0] + sums[chain][1] + sums[chain][2] + sums[chain][3];
  store_global(output + static_cast<int64_t>(blockIdx.x) * mma_threads + threadIdx.x, sum);
}

__global__ void __launch_bounds__(128) nothing_kernel() {
  wait_for_earlier_kernels();
  allow_next_kernel();
}

void memory(const Bench& bench) {
  const int64_t bytes = bench.tiny ? 1 << 16 : int64_t{2} << 30;
  Array<char> from(bytes), to(bytes);
  Array<uint32_t> output(1);
  fill_bf16(bench, from, bytes / 2, 1, 1.0f);
  const cudaStream_t stream = bench.stream->handle;
  const Times copy = time_calls(bench, 4, [&](int) {
    check(cudaMemcpyAsync(to, from, from.bytes(), cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
  });
  report(field("op", "copy") + "," + field("bytes", 2 * bytes), copy);
  const unsigned blocks = static_cast<unsigned>(bench.tiny ? 1 : bench.stream->processors * 4);
  const Times read = time_calls(bench, 4, [&](int) {
    launch(read_kernel, {dim3(blocks), dim3(read_threads), 0, stream, "read"},
           reinterpret_cast<const uint4*>(from.get()), bytes / 16, output.get());
  });
  report(field("op", "read") + "," + field("bytes", bytes), read);
}

void tensor_cores(const Bench& bench) {
  const int blocks = bench.tiny ? 1 : bench.stream->processors * 4, rounds = bench.tiny ? 4 : 8192;
  Array<float> output(static_cast<int64_t>(blocks) * mma_threads);
  const Times times = time_calls(bench, 2, [&](int) {
    launch(mma_kernel, {dim3(static_cast<unsigned>(blocks)), dim3(mma_threads), 0, bench.stream->handle, "mma"}, rounds,
           output.get());
  });
  const int64_t products = int64_t{blocks} * (mma_threads / 32) * rounds * chains;
  report(field("op", "mma.sync bf16") + "," + field("operations", products * 2 * 16 * 8 * 16), times);
}

void launches(const Bench& bench) {
  for (const bool dependent : {false, true}) {
    for (const int blocks : {1, bench.tiny ? 2 : bench.stream->processors}) {
      LaunchShape shape{dim3(static_cast<unsigned>(blocks)), dim3(128), 0, bench.stream->handle, "nothing", dependent};
      const Times times = time_calls(bench, bench.tiny ? 4 : 1000, [&](int) { launch(nothing_kernel, shape); });
      report(field("op", dependent ? "launch, dependent" : "launch") + "," + field("blocks", int64_t{blocks}), times);
    }
  }
}

}  // namespace

void measure(const Bench& bench) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  report(field("op", "device") + "," + field("name", properties.name) + "," +
         field("processors", int64_t{properties.multiProcessorCount}) + "," +
         field("l2_bytes", static_cast<int64_t>(properties.l2CacheSize)) + "," +
         field("memory_bytes", static_cast<int64_t>(properties.totalGlobalMem)));
  memory(bench);
  tensor_cores(bench);
  launches(bench);
}

}  // namespace mask_predict::bench
