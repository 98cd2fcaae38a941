// The emulator's own test: the example kernel is right under every schedule, each planted error is caught
// under at least one, the counters count, and streams and graphs do what those of a device may do. run.cjs
// builds it.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "device_functions.cu"
#include "simt/limits.h"
#include "simt/simt.h"
#include "simt/streams.h"
#include "skinny_linear.cu"

namespace mask_predict {

using Linear = void (*)(const __nv_bfloat16*, const __nv_bfloat16*, float*, int, int, int, cudaStream_t);

struct Copy {
  const char* name;
  Linear linear;
  bool must_be_caught;
};

}  // namespace mask_predict

#include "planted.inc"

namespace mask_predict {

namespace {

using cuda::check;

const simt::Schedule schedules[] = {
    {simt::Order::RoundRobin, 0}, {simt::Order::Ahead, 0}, {simt::Order::Random, 1}, {simt::Order::Random, 2}};

int failures = 0;

void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

// Runs `action`, which must throw an Error whose message has all of `parts` in it.
template <class Action>
void expect_error(ErrorCode code, const std::vector<std::string>& parts, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    expect(error.code == code, "code of: " + message);
    for (const std::string& part : parts) {
      expect(message.find(part) != std::string::npos, "\"" + part + "\" in: " + message);
    }
    return;
  }
  expect(false, "an error that says: " + parts.front());
}

template <class T>
struct DeviceArray {
  T* data = nullptr;
  size_t count;
  explicit DeviceArray(size_t count) : count(count) { check(cudaMalloc(&data, count * sizeof(T)), "cudaMalloc"); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { set(values); }
  DeviceArray(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data); }
  void set(const std::vector<T>& values) {
    check(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    // A stream of a test need not wait for the legacy one, which the copy is in.
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  }
  std::vector<T> get() const {
    std::vector<T> values(count);
    check(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }
};

std::vector<__nv_bfloat16> random_matrix(int rows, int columns, uint32_t seed) {
  std::vector<__nv_bfloat16> values(static_cast<size_t>(rows) * static_cast<size_t>(columns));
  for (__nv_bfloat16& value : values) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return values;
}

// Throws Error where the kernel is wrong in any way. Bound: 2^-24 per addition, with a margin for their
// order.
void check_linear(Linear linear, int rows, int outputs, int inner) {
  const auto weight = random_matrix(outputs, inner, 1);
  const auto input = random_matrix(rows, inner, 2);
  const DeviceArray<__nv_bfloat16> device_weight(weight);
  const DeviceArray<__nv_bfloat16> device_input(input);
  const DeviceArray<float> device_output(static_cast<size_t>(rows) * static_cast<size_t>(outputs));
  linear(device_weight.data, device_input.data, device_output.data, rows, outputs, inner, nullptr);
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  simt::require_written(device_output.data, device_output.count, sizeof(float), "output");
  const auto output = device_output.get();
  for (int row = 0; row < rows; ++row) {
    for (int out = 0; out < outputs; ++out) {
      double sum = 0;
      double magnitude = 0;
      for (int i = 0; i < inner; ++i) {
        const double product = static_cast<double>(static_cast<float>(input[static_cast<size_t>(row * inner + i)])) *
                               static_cast<double>(static_cast<float>(weight[static_cast<size_t>(out * inner + i)]));
        sum += product;
        magnitude += std::fabs(product);
      }
      const double got = static_cast<double>(output[static_cast<size_t>(row * outputs + out)]);
      if (std::fabs(got - sum) <= magnitude * inner * std::ldexp(1.0, -24)) continue;  // false for NaN
      throw Error(ErrorCode::Device, "output[" + std::to_string(row) + ", " + std::to_string(out) + "] is " +
                                         std::to_string(got) + ", not " + std::to_string(sum));
    }
  }
}

constexpr int rows = 40, outputs = 72, inner = 200;  // no multiple of any tile

void test_example() {
  for (const simt::Schedule schedule : schedules) {
    simt::set_schedule(schedule);
    check_linear(cuda::skinny_linear, rows, outputs, inner);
    check_linear(cuda::skinny_linear, 1, 64, 8);
  }
}

// Runs `action` in a process of its own, because AddressSanitizer ends it, and returns the reported fault; empty if
// there is none.
template <class Action>
std::string outcome(Action&& action) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) return "no pipe";
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    try {
      action();
    } catch (const Error& error) {
      std::fprintf(stderr, "%s\n", error.what());
      _exit(1);
    }
    _exit(0);
  }
  close(pipe_ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t bytes; (bytes = read(pipe_ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(bytes));
  }
  close(pipe_ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
  const size_t report = text.find("ERROR: ");
  text = report == std::string::npos ? text : text.substr(report);
  text = text.substr(0, text.find('\n'));
  return text.empty() ? "ended with status " + std::to_string(status) : text;
}

// Caught under at least one schedule by what it does to the result, and under at least one with the search
// for races.
void test_planted_errors() {
  for (const Copy& copy : copies) {
    int caught[2] = {};
    for (const bool check_races : {false, true}) {
      std::string how;
      for (const simt::Schedule schedule : schedules) {
        const std::string text = outcome([&] {
          simt::set_schedule(schedule);
          simt::check_races(check_races);
          check_linear(copy.linear, rows, outputs, inner);
        });
        if (!text.empty()) ++caught[check_races];
        if (how.empty()) how = text;
      }
      std::printf("%-34s %d of %zu %s %s\n", check_races ? "" : copy.name, caught[check_races], std::size(schedules),
                  check_races ? "with races:" : "           ", how.substr(0, 160).c_str());
      expect((caught[check_races] > 0) == copy.must_be_caught, copy.name);
    }
  }
}

void test_counts() {
  simt::set_schedule({simt::Order::RoundRobin, 0});
  simt::reset_counts();
  check_linear(cuda::skinny_linear, 32, 64, 256);
  const simt::AccessCounts padded = simt::counts("skinny_linear").counts;
  std::printf("%s", simt::report().c_str());
  simt::reset_counts();
  check_linear(cuda::no_padding::skinny_linear, 32, 64, 256);
  const simt::AccessCounts unpadded = simt::counts("skinny_linear").counts;
  std::printf("without padding:\n%s", simt::report().c_str());
  // 4 tiles: 4 warps of 4 ldmatrix_x4 and 16 ldmatrix_x2, and 24 instructions for the copies' 768 chunks
  expect(padded.shared_accesses == 4 * (4 * (4 + 16) + 24), "shared accesses of the example");
  expect(padded.bank_conflicts == 0, "no bank conflicts with padding");
  expect(unpadded.bank_conflicts > 0, "bank conflicts without padding");
  expect(padded.sectors == padded.needed_sectors, "coalesced accesses");
  expect(padded.needed_sectors == (64 + 32) * 256 * 2 / 32 + 32 * 64 * 4 / 32, "sectors of the example");
  simt::reset_counts();
}

__global__ void scattered(const float* input, float* output) {
  const int thread = static_cast<int>(threadIdx.x);
  cuda::store_global(output + thread, cuda::load_global(input + thread * 32));
}

__global__ void add_one(float* values, int count) {
  cuda::wait_for_earlier_kernels();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) cuda::store_global(values + i, cuda::load_global(values + i) + 1.0f);
}

// Every lane reads what its neighbour wrote. A shuffle makes the lanes meet, but orders no memory.
template <bool is_ordered>
__global__ void exchange_in_warp(int* results) {
  int* shared = cuda::shared_memory<int>();
  const int lane = cuda::lane_index();
  cuda::store_shared(shared + lane, lane);
  if (is_ordered)
    cuda::sync_warp();
  else
    cuda::shuffle_xor(lane, 1);
  cuda::store_global(results + lane, cuda::load_shared(shared + (lane ^ 1)));
}

// One thread tells all others, too late for some. Plain accesses, of which only the result tells.
__global__ void tell(int teller, int* results) {
  int* shared = cuda::shared_memory<int>();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == teller) *shared = 1;
  results[thread] = *shared;
}

__global__ void copy_and_wait(const float* input, float* output, bool wait_first) {
  if (wait_first) cuda::wait_for_earlier_kernels();
  const float value = cuda::load_global(input + threadIdx.x);
  cuda::allow_next_kernel();
  cuda::wait_for_earlier_kernels();
  cuda::store_global(output + threadIdx.x, value);
}

void test_device_functions() {
  std::vector<uint16_t> numbers(256);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<uint16_t>(i);
  const DeviceArray<uint16_t> input(numbers);
  for (const simt::Schedule schedule : schedules) {
    simt::set_schedule(schedule);
    const DeviceArray<uint32_t> results(cuda::device_function_results);
    cuda::device_functions(input.data, results.data, nullptr);
    for (const uint32_t result : results.get()) {
      expect(result == 0xffff, "device functions: " + std::to_string(result));
    }
  }
}

void test_uncoalesced() {
  const DeviceArray<float> input(std::vector<float>(1024, 1.0f));
  const DeviceArray<float> output(32);
  cuda::launch(scattered, {dim3(1), dim3(32), 0, nullptr, "scattered"}, input.data, output.data);
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  const simt::AccessCounts counts = simt::counts("scattered").counts;
  expect(counts.sectors == 32 + 4 && counts.needed_sectors == 4 + 4, "uncoalesced loads are counted");
}

void test_order() {
  const DeviceArray<int> results(32);
  const cuda::LaunchShape in_warp{dim3(1), dim3(32), 128, nullptr, "exchange_in_warp"};
  cuda::launch(exchange_in_warp<true>, in_warp, results.data);
  expect(results.get()[5] == 4, "lanes exchange values");
  expect_error(ErrorCode::Device, {"load_shared reads byte", "no barrier in between"}, [&] {
    cuda::launch(exchange_in_warp<false>, in_warp, results.data);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  });

  const DeviceArray<int> told(64);
  for (const int teller : {0, 31, 32, 63}) {
    int caught = 0;
    for (const simt::Order order : {simt::Order::RoundRobin, simt::Order::Ahead}) {
      simt::set_schedule({order, 0});
      cuda::launch(tell, {dim3(1), dim3(64), 4, nullptr, "tell"}, teller, told.data);
      for (const int result : told.get()) caught += result != 1;
    }
    expect(caught > 0, "thread " + std::to_string(teller) + " tells too late");
  }

  simt::set_schedule({simt::Order::RoundRobin, 0});
}

// weights -> copy -> c -> d, where `copy` is constant once the first kernel has written it. A kernel may read ahead what is
// constant, unless it is written by a kernel that has not ended.
void test_constant_memory() {
  const DeviceArray<float> weights(std::vector<float>(32, 3.0f)), others(std::vector<float>(32, 4.0f));
  simt::freeze(weights.data);
  const cuda::LaunchShape first{dim3(1), dim3(32), 0, nullptr, "first"};
  const cuda::LaunchShape dependent{dim3(1), dim3(32), 0, nullptr, "dependent", true};
  enum class Ahead { Weights, Copy, Others };
  // What the last kernel reads before it waits, and whether the one ahead of it waits first.
  const auto run = [&](Ahead ahead, bool wait_first) {
    const DeviceArray<float> copy(32), c(32), d(32);
    cuda::launch(copy_and_wait, first, weights.data, copy.data, true);
    check(simt::enqueue(nullptr, [&copy] { simt::freeze(copy.data); }), "freeze");
    cuda::launch(copy_and_wait, dependent, weights.data, c.data, wait_first);
    const float* const inputs[] = {weights.data, copy.data, others.data};
    cuda::launch(copy_and_wait, dependent, inputs[static_cast<int>(ahead)], d.data, false);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    return d.get()[0];
  };
  expect(run(Ahead::Weights, false) == 3.0f, "constant memory may be read ahead");
  // The second kernel let the third begin only when the first had ended.
  expect(run(Ahead::Copy, true) == 3.0f, "kernels in a chain");
  expect_error(ErrorCode::Device, {"kernel dependent", "wait_for_earlier_kernels() of what an earlier kernel writes"},
               [&] { run(Ahead::Copy, false); });
  expect_error(ErrorCode::Device, {"kernel dependent", "wait_for_earlier_kernels() of memory that is not constant"},
               [&] { run(Ahead::Others, true); });

  const cuda::LaunchShape shape{dim3(1), dim3(32), 0, nullptr, "add_one"};
  const auto expect_fault = [](const std::string& message, cudaError_t status) {
    expect_error(ErrorCode::Device, {message}, [&] {
      check(status, "the call");
      check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    });
  };
  cuda::launch(add_one, shape, weights.data, 32);
  expect_fault("kernel add_one, block (0, 0, 0), thread 0", cudaSuccess);
  const float one = 1.0f;
  const std::string to_constant = " to memory that is constant";
  expect_fault("cudaMemcpyAsync" + to_constant, cudaMemcpyAsync(weights.data, &one, 4, cudaMemcpyHostToDevice));
  expect_fault("cudaMemcpyAsync" + to_constant,
               cudaMemcpyAsync(weights.data + 1, others.data, 4, cudaMemcpyDeviceToDevice));
  expect_fault("cudaMemsetAsync" + to_constant, cudaMemsetAsync(weights.data, 0, 4));
  expect(weights.get() == std::vector<float>(32, 3.0f), "constant memory stays as it is");
}

void test_streams() {
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  const DeviceArray<float> values(std::vector<float>(100, 0.0f));
  const cuda::LaunchShape shape{dim3(4), dim3(32), 0, stream, "add_one", true};

  float* pinned;
  check(cudaMallocHost(&pinned, 400), "cudaMallocHost");
  cuda::launch(add_one, shape, values.data, 100);
  check(cudaMemcpyAsync(pinned, values.data, 400, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
  expect(std::isnan(pinned[0]), "a stream runs when it is waited for");
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  expect(pinned[0] == 1.0f && pinned[99] == 1.0f, "a stream runs in order");

  // a graph: captured once, with its arguments, and run as often as wanted
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  for (int i = 0; i < 3; ++i) cuda::launch(add_one, shape, values.data, 100 - i * 10);
  check(cudaMemcpyAsync(pinned, values.data, 400, cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
  cudaGraph_t graph;
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable;
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  expect(pinned[0] == 1.0f, "what is captured does not run");
  check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
  check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  expect(pinned[0] == 7.0f && pinned[85] == 5.0f && pinned[95] == 3.0f, "a graph runs again");
  check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");

  // what a capture does not allow
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  expect_error(ErrorCode::Device, {"cudaMalloc", "capturing"}, [] { DeviceArray<float> more(10); });
  expect_error(ErrorCode::Device, {"cudaStreamEndCapture", "previous error"},
               [&] { check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture"); });
  check(cudaFreeHost(pinned), "cudaFreeHost");
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

// cudaMemset is asynchronous, and a non-blocking stream does not wait for the legacy stream that it is in.
void test_legacy_stream() {
  cudaStream_t free_stream, ordered_stream;
  check(cudaStreamCreateWithFlags(&free_stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  check(cudaStreamCreateWithFlags(&ordered_stream, cudaStreamDefault), "cudaStreamCreateWithFlags");
  const std::vector<float> sevens(32, 7.0f);
  const auto upload = [&](DeviceArray<float>& to, cudaStream_t stream) {
    check(cudaMemcpyAsync(to.data, sevens.data(), 128, cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  };
  {
    DeviceArray<float> values(32);
    check(cudaMemset(values.data, 0, 128), "cudaMemset");
    upload(values, free_stream);
    expect(values.get()[0] == 0.0f, "a stream that does not wait for the legacy one overtakes it");
    upload(values, free_stream);
    expect(values.get()[0] == 7.0f, "which is done with then");
  }
  {
    DeviceArray<float> values(32);
    check(cudaMemcpy(values.data, std::vector<float>(32, 3.0f).data(), 128, cudaMemcpyHostToDevice), "cudaMemcpy");
    upload(values, free_stream);
    expect(values.get()[0] == 3.0f, "a copy from pageable memory is in the legacy stream too");
  }
  {
    DeviceArray<float> values(32);
    check(cudaMemset(values.data, 0, 128), "cudaMemset");
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    upload(values, free_stream);
    expect(values.get()[0] == 7.0f, "one may wait for it");
  }
  {
    DeviceArray<float> values(32);
    check(cudaMemsetAsync(values.data, 0, 128, free_stream), "cudaMemsetAsync");
    upload(values, free_stream);
    expect(values.get()[0] == 7.0f, "or clear in the same stream");
  }
  {
    DeviceArray<float> values(32);
    check(cudaMemset(values.data, 0, 128), "cudaMemset");
    upload(values, ordered_stream);
    expect(values.get()[0] == 7.0f, "a blocking stream waits for the legacy one");
    const cuda::LaunchShape shape{dim3(1), dim3(32), 0, ordered_stream, "add_one"};
    cuda::launch(add_one, shape, values.data, 32);
    expect(values.get()[0] == 8.0f, "and that for it");
  }
  check(cudaStreamDestroy(free_stream), "cudaStreamDestroy");
  check(cudaStreamDestroy(ordered_stream), "cudaStreamDestroy");
}

__global__ void __launch_bounds__(96, 2) within_bounds(float* values) {
  cuda::store_global(values + threadIdx.x, static_cast<float>(threadIdx.x));
}

__global__ void without_bounds(float* values) { cuda::store_global(values + threadIdx.x, 1.0f); }

template <int threads>
__global__ void __launch_bounds__(threads) of_template(float* values) {
  cuda::store_global(values + threadIdx.x, 2.0f);
}

// What a GPU of each compute capability has for a block: the numbers are those of NVIDIA's table.
void test_limits() {
  using simt::ComputeCapability;
  struct Expected {
    ComputeCapability capability;
    size_t kibibytes, of_multiprocessor;
    int code;
  };
  for (const Expected& e :
       {Expected{{8, 0}, 163, 164, 80}, Expected{{8, 6}, 99, 100, 80}, Expected{{8, 9}, 99, 100, 80},
        Expected{{9, 0}, 227, 228, 90}, Expected{{10, 0}, 227, 228, 100}, Expected{{12, 0}, 99, 100, 120}}) {
    const simt::SharedMemory shared = simt::shared_memory_of(e.capability);
    const std::string name = e.capability.name();
    expect(shared.of_block == e.kibibytes << 10 && shared.of_multiprocessor == e.of_multiprocessor << 10 &&
               shared.without_asking == 48 << 10,
           "shared memory of " + name);
    expect(simt::code_for(e.capability) == e.code, "code for " + name);
    expect(simt::beyond_shared_memory("k", e.kibibytes << 10, e.capability).empty(), "all of it on " + name);
    const std::string reason = simt::beyond_shared_memory("k", (e.kibibytes << 10) + 1, e.capability);
    expect(reason == "kernel k: a block with " + std::to_string((e.kibibytes << 10) + 1) +
                         " bytes of shared memory on compute capability " + name + ", more than the " +
                         std::to_string(e.kibibytes << 10) + " that it may have there",
           reason);
  }
  int value = 0;
  check(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "cudaDeviceGetAttribute");
  expect(value == 227 << 10, "shared memory of the device that is there if none is chosen");

#ifdef MASK_PREDICT_SIMT_MARKS_BOUNDS
  const auto attributes_of = [](void (*kernel)(float*)) {
    cudaFuncAttributes attributes{};
    check(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)), "cudaFuncGetAttributes");
    return attributes;
  };
  // A multiprocessor has 65536 registers: two blocks of 96 threads leave each 341 of them, more than a thread can have.
  expect(attributes_of(within_bounds).maxThreadsPerBlock == 96 && attributes_of(within_bounds).numRegs == 255, "96");
  expect(attributes_of(of_template<1024>).maxThreadsPerBlock == 1024 && attributes_of(of_template<1024>).numRegs == 64,
         "1024");
  expect(attributes_of(of_template<320>).numRegs == 200, "in eights");  // 204.8
  expect(attributes_of(without_bounds).maxThreadsPerBlock == 1024 && attributes_of(without_bounds).numRegs == 255,
         "no bounds");

#endif

  const DeviceArray<float> values(1024);
  const auto start = [&](void (*kernel)(float*), unsigned threads, size_t shared_bytes = 0) {
    cuda::launch(kernel, {dim3(1), dim3(threads), shared_bytes, nullptr, "a_kernel"}, values.data);
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  };
  start(within_bounds, 96);
  start(of_template<1024>, 1024);
  start(without_bounds, 256);
  start(within_bounds, 32, 227 << 10);
#ifdef MASK_PREDICT_SIMT_MARKS_BOUNDS
  expect_error(ErrorCode::Device,
               {"cudaLaunchKernelEx of kernel a_kernel", "a block of 128 threads on compute capability 9.0",
                "the 96 of its __launch_bounds__", "cudaErrorLaunchOutOfResources"},
               [&] { start(within_bounds, 128); });
  expect_error(ErrorCode::Device,
               {"kernel a_kernel: a block of 288 threads on compute capability 9.0 may need 73728 registers",
                "the 65536 there are", "the 255 of a thread"},
               [&] { start(without_bounds, 288); });
#endif
  expect_error(ErrorCode::Device,
               {"cudaFuncSetAttribute of kernel a_kernel", "a block with 232449 bytes of shared memory", "9.0",
                "the 232448 that it may have there", "cudaErrorInvalidValue"},
               [&] { start(within_bounds, 32, (227 << 10) + 1); });
  expect_error(ErrorCode::Device, {"invalid configuration argument"}, [&] { start(without_bounds, 2048); });
}

void test_errors() {
  const DeviceArray<float> values(std::vector<float>(64, 0.0f));
  const auto launch_on = [](float* pointer, const cuda::LaunchShape& shape, int count) {
    cuda::launch(add_one, shape, pointer, count);
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  };
  const cuda::LaunchShape shape{dim3(3), dim3(32), 0, nullptr, "add_one"};
  expect_error(ErrorCode::Device, {"cudaStreamSynchronize", "kernel add_one, block (2, 0, 0), thread 0", "load_global"},
               [&] { launch_on(values.data, shape, 65); });
  std::vector<float> host(64);
  expect_error(ErrorCode::Device, {"not in device memory"}, [&] { launch_on(host.data(), shape, 64); });
  expect_error(ErrorCode::Device, {"not aligned"},
               [&] { launch_on(reinterpret_cast<float*>(reinterpret_cast<char*>(values.data) + 2), shape, 1); });
  expect_error(ErrorCode::Device, {"kernel add_one", "invalid configuration", "(0, 1, 1)"}, [&] {
    launch_on(values.data, {dim3(0), dim3(32), 0, nullptr, "add_one"}, 1);
  });
  simt::set_device_memory(1 << 20);
  expect_error(ErrorCode::OutOfMemory, {"cudaMalloc", "out of memory"}, [] { DeviceArray<float> large(1 << 20); });
  simt::set_device_memory(size_t{64} << 30);
  launch_on(values.data, shape, 64);  // the device can be used on
#ifdef __SANITIZE_ADDRESS__
  const std::string touched = outcome([&] { values.data[0] = 1.0f; });
  expect(touched.find("use-after-poison") != std::string::npos, "the host cannot touch device memory: " + touched);
#endif
}

}  // namespace

}  // namespace mask_predict

int main() {
  using namespace mask_predict;
  const auto start = std::chrono::steady_clock::now();
  test_example();
  test_planted_errors();
  test_counts();
  test_device_functions();
  test_uncoalesced();
  test_order();
  test_constant_memory();
  test_streams();
  test_legacy_stream();
  test_limits();
  test_errors();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("%s in %.1f s\n", failures ? "FAILED" : "passed", seconds.count());
  return failures ? 1 : 0;
}
