#include "engine/device.h"

#include <cstdlib>

#include "base/error.h"
#include "cpu/instruction_set.h"
#include "cpu/thread_pool.h"

#if MASK_PREDICT_CUDA
#include "cuda/device.h"
#endif

namespace mask_predict {
namespace {

OpenDevice open_cpu(int threads, bool deterministic) {
  OpenDevice device;
  const cpu::Kernels& kernels = cpu::kernels_for("");
  device.threads = threads > 0 ? threads : cpu::available_processors();
  auto pool = std::make_shared<cpu::ThreadPool>(device.threads);
  device.context.operations = &cpu_operations;
  device.context.kernels = &kernels;
  device.context.pool = pool.get();
  device.resources = std::move(pool);
  device.name = "cpu";
  device.instruction_set = kernels.name;
  device.available_memory = available_memory();
  if (!deterministic) device.note = "on the CPU deterministic: false makes no difference: nothing is gained by it";
  return device;
}

#if MASK_PREDICT_CUDA

// What a device's context points to.
struct CudaResources {
  std::shared_ptr<cuda::Stream> stream;
  cpu::ThreadPool pool;
};

OpenDevice open_cuda(int index, bool float_activations, int threads, bool deterministic) {
  OpenDevice device;
  const bool own_kernels = deterministic || float_activations;  // float32 is for verification: never TF32
  if (!deterministic && float_activations)
    device.note = "precision 'fp32' uses no cuBLASLt: deterministic: false makes no difference";
  device.threads = threads > 0 ? threads : cpu::available_processors();
  const std::shared_ptr<CudaResources> resources(
      new CudaResources{cuda::open_stream(index, own_kernels, device.note), cpu::ThreadPool(device.threads)});
  const std::shared_ptr<cuda::Stream>& stream = resources->stream;
  device.context.operations = &cuda_operations;
  device.context.activations = float_activations ? ValueType::F32 : ValueType::BF16;
  device.context.stream = stream.get();
  device.context.pool = &resources->pool;
  device.context.plain_copies = cuda::has_cublaslt(*stream);
  device.resources = resources;
  device.name = std::string(cuda::device_kind) + ":" + std::to_string(index);
  device.available_memory = cuda::available_memory(*stream);
  return device;
}

bool is_cuda(const std::string& device) { return device.rfind(cuda::device_kind, 0) == 0; }

#else

bool is_cuda(const std::string&) { return false; }

#endif

// 0 for "cuda", N for "cuda:N", -1 for anything else.
int index_of(const std::string& device) {
  const size_t colon = device.find(':');
  if (colon == std::string::npos) return 0;
  const std::string digits = device.substr(colon + 1);
  const bool number =
      !digits.empty() && digits.size() < 4 && digits.find_first_not_of("0123456789") == std::string::npos;
  return number ? std::atoi(digits.c_str()) : -1;
}

}  // namespace

std::string default_device() {
  const char* named = std::getenv("MASK_PREDICT_DEVICE");
  return named != nullptr && *named != '\0' ? named : "auto";
}

void check_device(const std::string& asked, const std::string& precision) {
  const std::string device = asked == "auto" ? default_device() : asked;
  if (precision != "auto" && precision != "fp32" && precision != "bf16" && precision != "fp16" && precision != "int8" &&
      precision != "fp8")
    throw Error(ErrorCode::InvalidArgument,
                "precision must be 'auto', 'fp32', 'bf16', 'fp16', 'int8' or 'fp8', not '" + precision + "'");
  if (precision == "fp8" && device == "cpu")
    throw Error(ErrorCode::Device,
                "precision 'fp8' is not available on the CPU; use 'int8', which takes as many bytes");
  if (device == "auto" || device == "cpu") return;
  const std::string kind = device.substr(0, device.find(':'));
  if ((kind != "cuda" && !is_cuda(device)) || index_of(device) < 0)
    throw Error(ErrorCode::InvalidArgument, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', not '" + device + "'");
  if (!is_cuda(device))
    throw Error(ErrorCode::Device, "device '" + device +
                                       "' is not available: this build has no CUDA kernels; install with nvcc "
                                       "on the PATH, or use 'cpu' or 'auto'");
  if (precision == "fp16")
    throw Error(ErrorCode::Device,
                "precision 'fp16' is not available on device '" + device + "'; use 'bf16' or 'fp32'");
}

OpenDevice open_device(const std::string& asked, const std::string& precision, int threads, bool deterministic) {
  check_device(asked, precision);
  const std::string device = asked == "auto" ? default_device() : asked;
#if MASK_PREDICT_CUDA
  if (is_cuda(device)) return open_cuda(index_of(device), precision == "fp32", threads, deterministic);
#ifndef MASK_PREDICT_SIMT  // the emulated device is for tests: never chosen
  if (device == "auto" && precision != "fp16") {
    const std::string missing = cuda::why_unavailable();
    if (missing.empty()) return open_cuda(0, precision == "fp32", threads, deterministic);
    check_device("cpu", precision);
    OpenDevice cpu = open_cpu(threads, deterministic);
    cpu.fallback = missing;
    return cpu;
  }
#endif
#endif
  check_device("cpu", precision);
  return open_cpu(threads, deterministic);
}

}  // namespace mask_predict
