#include "ops/operations.h"

#include "cuda/device.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/weights/packed_layout.h"

#ifdef MASK_PREDICT_SIMT
#include "simt/simt.h"
#include "simt/streams.h"
#endif

namespace mask_predict {
namespace {

// Cleared in the stream that is going to use it: nothing there would wait for the device's legacy stream, which plain
// cudaMemset uses, and its zeros could land on what was written since.
void* allocate(uint64_t bytes, void* handle, int& device) {
  const auto* const stream = static_cast<cuda::Stream*>(handle);
  device = stream->device;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  cuda::check(status, "cudaMalloc");
  const cudaError_t cleared = cudaMemsetAsync(data, 0, bytes, stream->handle);
  if (cleared != cudaSuccess) cudaFree(data);
  cuda::check(cleared, "cudaMemsetAsync");
  return data;
}

// For threads that give something back: one whose current device is another would make a context there, so it is moved to
// this device; moving it back would make one as well. Errors are of no use here: at the end of a process the driver may be
// gone before the last buffer.
void move_to(int device) {
  int current = -1;
  if (cudaGetDevice(&current) != cudaSuccess || current != device) cudaSetDevice(device);
}

void release(void* data, uint64_t, int device) {
  move_to(device);
  cudaFree(data);
}

const Memory device_memory = {allocate, release};

// From pageable memory, cudaMemcpyAsync returns once the bytes have left it.
void upload(const Context& context, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, context.stream->handle),
              "cudaMemcpyAsync to the device");
}

void download(const Context& context, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, context.stream->handle),
              "cudaMemcpyAsync to the host");
  cuda::check(cudaStreamSynchronize(context.stream->handle), "cudaStreamSynchronize");
}

void copy(const Context& context, void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  cuda::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, context.stream->handle),
              "cudaMemcpyAsync on the device");
}

void wait(const Context& context) {
  cuda::check(cudaStreamSynchronize(context.stream->handle), "cudaStreamSynchronize");
}

#ifdef MASK_PREDICT_SIMT
void freeze_memory(const Context& context, const void* memory) {
  cuda::check(simt::enqueue(context.stream->handle, [memory] { simt::freeze(memory); }), "freeze");
}
#else
constexpr decltype(Operations::freeze) freeze_memory = nullptr;
#endif

void select(const Context& context) { cuda::check(cudaSetDevice(context.stream->device), "cudaSetDevice"); }

void pace(const Context& context) {
  cuda::Stream& stream = *context.stream;
  cuda::check(cudaEventRecord(stream.marks[stream.next_mark], stream.handle), "cudaEventRecord");
  stream.next_mark = 1 - stream.next_mark;
  cuda::check(cudaEventSynchronize(stream.marks[stream.next_mark]), "cudaEventSynchronize");
}

// A graph is an executable CUDA graph.
void begin_capture(const Context& context) {
  cuda::check(cudaStreamBeginCapture(context.stream->handle, cudaStreamCaptureModeThreadLocal),
              "cudaStreamBeginCapture");
}

void* end_capture(const Context& context) {
  cudaGraph_t graph = nullptr;
  cuda::check(cudaStreamEndCapture(context.stream->handle, &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  if (status != cudaSuccess && status != cudaErrorMemoryAllocation) cuda::dependent_in_graphs() = false;
  cuda::check(status, "cudaGraphInstantiate");
  return executable;
}

void launch_graph(const Context& context, void* graph) {
  cuda::check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), context.stream->handle), "cudaGraphLaunch");
}

void destroy_graph(const Context& context, void* graph) {
  move_to(context.stream->device);
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

bool supports(WeightType type) { return type != WeightType::F16; }

std::optional<WeightType> default_type(const Context& context) {
  return context.activations == ValueType::BF16 ? WeightType::BF16 : WeightType::F32;
}

}  // namespace

#define MASK_PREDICT_NAME(result, name, parameters) cuda::name,
const Operations cuda_operations = {&device_memory,
                                    false,
                                    false,
                                    supports,
                                    default_type,
                                    upload,
                                    download,
                                    copy,
                                    wait,
                                    freeze_memory,
                                    select,
                                    pace,
                                    begin_capture,
                                    end_capture,
                                    launch_graph,
                                    destroy_graph,
                                    cuda::scales_of,
                                    cuda::copy_row_major,
                                    nullptr,
                                    nullptr,
                                    MASK_PREDICT_OPERATIONS(MASK_PREDICT_NAME)};
#undef MASK_PREDICT_NAME

}  // namespace mask_predict
