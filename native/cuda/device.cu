#include "cuda/device.h"

#include "cuda/gpus.h"
#include "cuda/platform.h"
#include "cuda/stream.h"

namespace mask_predict::cuda {
namespace {

// 32 MiB: a few hundred rows of the widest layer cut into as many parts as there are.
constexpr int64_t partial_floats = 8 << 20;

void close_stream(Stream* stream) {
  stream->cublaslt = nullptr;
  cudaFree(stream->partials);
  if (stream->handle != nullptr) cudaStreamDestroy(stream->handle);
  delete stream;
}

}  // namespace

std::shared_ptr<Stream> open_stream(int index, bool deterministic, std::string& note) {
  const std::string unfit = gpus().at(static_cast<size_t>(index)).unfit();
  if (!unfit.empty()) throw Error(ErrorCode::Device, unfit);
  check(cudaSetDevice(index), "cudaSetDevice");
  int processors = 0;
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, index), "cudaDeviceGetAttribute");
  const std::shared_ptr<Stream> stream(new Stream, close_stream);
  stream->device = index;
  stream->processors = processors;
  check(cudaStreamCreateWithFlags(&stream->handle, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
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
  return free;
}

}  // namespace mask_predict::cuda
