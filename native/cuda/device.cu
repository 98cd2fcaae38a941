#include "cuda/device.h"

#include <algorithm>

#include "cuda/gpus.h"
#include "cuda/platform.h"
#include "cuda/stream.h"

namespace mask_predict::cuda {
namespace {

// 32 MiB: a few hundred rows of the widest layer cut into as many parts as there are.
constexpr int64_t partial_floats = 8 << 20;

// The driver takes memory later on that no budget counts: for the code of kernels, which it loads when they first run, and
// for executable graphs. This much is left for it. An estimate; not measured on a GPU so far.
constexpr size_t driver_bytes = size_t{256} << 20;

// Errors are of no use here.
void close_stream(Stream* stream) {
  cudaSetDevice(stream->device);
  stream->cublaslt = nullptr;
  for (cudaEvent_t mark : stream->marks)
    if (mark != nullptr) cudaEventDestroy(mark);
  cudaFree(stream->partials);
  if (stream->handle != nullptr) cudaStreamDestroy(stream->handle);
  delete stream;
}

}  // namespace

std::shared_ptr<Stream> open_stream(int index, bool deterministic, std::string& note) {
  const std::string unfit = gpus().at(static_cast<size_t>(index)).unfit();
  if (!unfit.empty()) throw Error(ErrorCode::Device, unfit);
  require_context(index);
  check(cudaSetDevice(index), "cudaSetDevice");
  int processors = 0, shared_bytes = 0;
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, index), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
        "cudaDeviceGetAttribute");
  const std::shared_ptr<Stream> stream(new Stream, close_stream);
  stream->device = index;
  stream->processors = processors;
  stream->shared_bytes = shared_bytes;
  check(cudaStreamCreateWithFlags(&stream->handle, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  for (cudaEvent_t& mark : stream->marks)
    check(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  check(cudaMalloc(&stream->partials, partial_floats * sizeof(float)), "cudaMalloc of working memory");
  stream->partial_floats = partial_floats;
  if (!deterministic) stream->cublaslt = CublasLt::find(note);
  return stream;
}

bool has_cublaslt(const Stream& stream) { return stream.cublaslt != nullptr; }

uint64_t available_memory(const Stream& stream) {
  check(cudaSetDevice(stream.device), "cudaSetDevice");
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free - std::min<size_t>(driver_bytes, free / 4);
}

}  // namespace mask_predict::cuda
