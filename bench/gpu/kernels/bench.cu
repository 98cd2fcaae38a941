#include "bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ops/operations.h"
#include "ops/weights/packed_layout.h"
#include "ops/weights/quantize.h"

namespace mask_predict::bench {
namespace {

using cuda::check;

constexpr int fill_threads = 256;

__global__ void __launch_bounds__(fill_threads)
    fill_bf16_kernel(__nv_bfloat16* values, int64_t count, uint64_t seed, float scale) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * fill_threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * fill_threads + threadIdx.x; i < count; i += stride)
    cuda::store_global(values + i, cuda::to_bfloat16(value_of(seed, static_cast<uint64_t>(i), scale)));
}

MASK_PREDICT_HOST_DEVICE inline uint8_t byte_of(uint64_t seed, uint64_t index, bool fp8) {
  const int step = static_cast<int>(value_of(seed, index, 1.0f));
  if (!fp8) return static_cast<uint8_t>(static_cast<int8_t>(step));
  const int magnitude = step < 0 ? -step : step;  // 127 is no number
  return static_cast<uint8_t>((step < 0 ? 0x80 : 0) | (magnitude < 126 ? magnitude : 126));
}

__global__ void __launch_bounds__(fill_threads)
    fill_bytes_kernel(uint8_t* values, int64_t count, uint64_t seed, bool fp8) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * fill_threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * fill_threads + threadIdx.x; i < count; i += stride)
    cuda::store_global(values + i, byte_of(seed, static_cast<uint64_t>(i), fp8));
}

__global__ void __launch_bounds__(fill_threads)
    fill_floats_kernel(float* values, int64_t count, uint64_t seed, float scale) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * fill_threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * fill_threads + threadIdx.x; i < count; i += stride)
    cuda::store_global(values + i, value_of(seed, static_cast<uint64_t>(i), scale));
}

cuda::LaunchShape fill_shape(const Bench& bench, int64_t count) {
  const int64_t blocks = std::clamp<int64_t>((count + fill_threads - 1) / fill_threads, 1, 4096);
  return {dim3(static_cast<unsigned>(blocks)), dim3(fill_threads), 0, bench.stream->handle, "fill"};
}

}  // namespace

void fill_bf16(const Bench& bench, void* values, int64_t count, uint64_t seed, float scale) {
  cuda::launch(fill_bf16_kernel, fill_shape(bench, count), static_cast<__nv_bfloat16*>(values), count, seed, scale);
}

void fill_floats(const Bench& bench, float* values, int64_t count, uint64_t seed, float scale) {
  cuda::launch(fill_floats_kernel, fill_shape(bench, count), values, count, seed, scale);
}

PackedMatrix random_matrix(const Bench& bench, int64_t outputs, int64_t inputs, uint64_t seed, float scale,
                           WeightType type) {
  const auto bytes = static_cast<uint64_t>(cuda::packed_bytes(type, outputs, inputs));
  PackedMatrix matrix{type, outputs, inputs, device_buffer(bench.context, bytes, nullptr, "a matrix")};
  if (type == WeightType::BF16) {
    fill_bf16(bench, matrix.data.as<void>(), static_cast<int64_t>(bytes / 2), seed, scale);
  } else {
    const int64_t count = mask_predict::round_up(outputs, 16) * mask_predict::round_up(inputs, 32);
    cuda::launch(fill_bytes_kernel, fill_shape(bench, count), matrix.data.as<uint8_t>(), count, seed,
                 type == WeightType::F8);
    const std::vector<float> scales(static_cast<size_t>(mask_predict::round_up(outputs, 16)), scale);
    bench.context.operations->upload(bench.context, const_cast<float*>(cuda::scales_of(matrix)), scales.data(),
                                     scales.size() * sizeof(float));
  }
  // Kernels read weights while those ahead of them run, so these must have been written.
  bench.context.operations->wait(bench.context);
  mask_predict::freeze(bench.context, matrix);
  return matrix;
}

float matrix_value(const PackedMatrix& matrix, int64_t output, int64_t input, uint64_t seed, float scale) {
  if (matrix.type == WeightType::BF16)
    return value_of(seed, static_cast<uint64_t>(cuda::fragment_index(output, input, matrix.inputs)), scale);
  const auto place = static_cast<uint64_t>(cuda::byte_index(output, input, matrix.inputs));
  const uint8_t byte = byte_of(seed, place, matrix.type == WeightType::F8);
  return scale * (matrix.type == WeightType::F8 ? fp8_to_float(byte) : static_cast<float>(static_cast<int8_t>(byte)));
}

Times time_calls(const Bench& bench, int count, const std::function<void(int)>& call) {
  const cudaStream_t stream = bench.stream->handle;
  call(0);  // what is done once per kernel is not done in the CUDA graph
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  for (int i = 0; i < count; ++i) call(i);
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");

  const auto replay = [&]() -> double {
    float milliseconds = 0;
    check(cudaEventRecord(begin, stream), "cudaEventRecord");
    check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    check(cudaEventRecord(end, stream), "cudaEventRecord");
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1000.0 / count;
  };
  // Warm: clocks and caches as in steady work. Then a quarter of a second of replays, 7 to 101 of them.
  const double first = replay();
  const double total = std::max(first * count, 1.0);
  const int replays = bench.tiny ? 1 : static_cast<int>(std::clamp(0.25e6 / total, 7.0, 101.0));
  for (int i = 0; i < replays / 4; ++i) replay();
  std::vector<double> times;
  for (int i = 0; i < replays; ++i) times.push_back(replay());
  std::sort(times.begin(), times.end());

  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  const auto at = [&times](double fraction) {
    return times[std::min(times.size() - 1, static_cast<size_t>(static_cast<double>(times.size()) * fraction))];
  };
  return {at(0.5), at(0.25), at(0.75), replays};
}

std::string field(const char* name, double value) {
  char text[64];
  std::snprintf(text, sizeof text, std::isfinite(value) ? "\"%s\":%.9g" : "\"%s\":null", name, value);
  return text;
}

std::string field(const char* name, int64_t value) { return std::string("\"") + name + "\":" + std::to_string(value); }

std::string field(const char* name, const std::string& value) {
  return std::string("\"") + name + "\":\"" + value + "\"";
}

void report(const std::string& fields, const char* who) {
  std::printf("{\"who\":\"%s\",%s}\n", who, fields.c_str());
  std::fflush(stdout);
}

void report(const std::string& fields, const Times& times, const char* who) {
  report(fields + "," + field("us", times.median) + "," + field("low", times.low) + "," + field("high", times.high) +
             "," + field("replays", int64_t{times.replays}),
         who);
}

int failures = 0;

void require(const std::string& what, double value, double bound) {
  if (value <= bound) return;
  std::fprintf(stderr, "WRONG: %s: %g, at most %g expected\n", what.c_str(), value, bound);
  ++failures;
}

void Deviation::compare(double got, double wanted) {
  const double deviation = std::fabs(got - wanted) / (std::fabs(wanted) + scale_);
  if (!std::isnan(worst_) && !(deviation <= worst_)) worst_ = deviation;
}

}  // namespace mask_predict::bench
