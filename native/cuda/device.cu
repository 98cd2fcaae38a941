#include "cuda/device.h"

#include "cuda/platform.h"
#include "cuda/stream.h"

namespace mask_predict::cuda {
namespace {

// 32 MiB: a few hundred rows of the widest layer cut into as many parts as there are.
constexpr int64_t partial_floats = 8 << 20;

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

void close_stream(Stream* stream) {
  stream->cublaslt = nullptr;
  cudaFree(stream->partials);
  if (stream->handle != nullptr) cudaStreamDestroy(stream->handle);
  delete stream;
}

}  // namespace

std::string why_unavailable() {
  int driver = 0, runtime = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return "there is no NVIDIA driver";
  }
  cudaRuntimeGetVersion(&runtime);
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    return "the NVIDIA driver supports CUDA " + version_text(driver) + ", this build needs " + version_text(runtime) +
           " (" + cudaGetErrorString(status) + ")";
  }
  if (count == 0) return "there is no NVIDIA GPU";
  return "";
}

std::shared_ptr<Stream> open_stream(int index, bool deterministic, std::string& note) {
  const std::string missing = why_unavailable();
  if (!missing.empty())
    throw Error(ErrorCode::Device, "device '" + std::string(device_kind) + "' is not available: " + missing);
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (index >= count)
    throw Error(ErrorCode::Device, "there is no device '" + std::string(device_kind) + ":" + std::to_string(index) +
                                       "'; there are " + std::to_string(count));
  check(cudaSetDevice(index), "cudaSetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  if (properties.major < 8)
    throw Error(ErrorCode::Device, std::string(properties.name) + " has compute capability " +
                                       std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                                       "; 8.0 is needed");
  const std::shared_ptr<Stream> stream(new Stream, close_stream);
  stream->device = index;
  stream->processors = properties.multiProcessorCount;
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
