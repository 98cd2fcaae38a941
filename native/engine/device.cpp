#include "engine/device.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/host_memory.h"
#include "cpu/instruction_set.h"
#include "cpu/processors.h"
#include "cpu/thread_pool.h"

#if MASK_PREDICT_CUDA
#include "cuda/device.h"
#include "cuda/gpus.h"
#endif

namespace mask_predict {
namespace {

OpenDevice open_cpu(const std::string& precision, int threads, bool deterministic) {
  OpenDevice device;
  const cpu::Kernels& kernels = cpu::kernels_for("");
  device.threads = threads > 0 ? threads : cpu::available_processors();
  auto pool = std::make_shared<cpu::ThreadPool>(device.threads);
  device.context.operations = &cpu_operations;
  device.context.kernels = &kernels;
  device.context.rounded_products = device.context.rounded_head = precision == "bf16" && kernels.round != nullptr;
  device.context.pool = pool.get();
  device.resources = std::move(pool);
  device.name = "cpu";
  device.instruction_set = kernels.name;
  device.available_memory = available_memory();
  if (!deterministic) device.note = "on the CPU deterministic: false makes no difference: nothing is gained by it";
  return device;
}

#if MASK_PREDICT_CUDA

// A CUDA device's context points to these.
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
  device.context.row_major_copies = cuda::has_cublaslt(*stream);
  device.resources = resources;
  device.name = std::string(cuda::device_kind) + ":" + std::to_string(index);
  device.available_memory = cuda::available_memory(*stream);
  return device;
}

// The first GPU that opens of those this build can use, the one with the most free memory first, and why those before it
// did not; or none: `reason` says of each why, and `code` what kind of error it was of all that were tried.
std::optional<OpenDevice> open_best_gpu(bool float_activations, int threads, bool deterministic, std::string& reason,
                                        ErrorCode& code) {
  std::string failed;
  for (const cuda::Gpu& gpu : cuda::usable_gpus(reason)) {
    try {
      OpenDevice device = open_cuda(gpu.index, float_activations, threads, deterministic);
      device.fallback = failed;
      return device;
    } catch (const Error& error) {
      code = failed.empty() || error.code == code ? error.code : ErrorCode::Device;
      failed += (failed.empty() ? "" : ", ") + gpu.name + ": " + error.what();
    }
  }
  reason += (reason.empty() || failed.empty() ? "" : ", ") + failed;
  return std::nullopt;
}

OpenDevice open_named_gpu(const std::string& device, bool float_activations, int threads, bool deterministic) {
  const size_t colon = device.find(':');
  if (colon != std::string::npos)
    return open_cuda(cuda::find_gpu(device.substr(colon + 1)), float_activations, threads, deterministic);
  std::string reason;
  ErrorCode code = ErrorCode::Device;
  if (std::optional<OpenDevice> best = open_best_gpu(float_activations, threads, deterministic, reason, code))
    return std::move(*best);
  throw Error(code, "device '" + device + "' is not available: " + reason);
}

// The emulated device is for tests: 'auto' takes it only where a test says which devices there are.
bool may_choose_gpu() {
#ifdef MASK_PREDICT_SIMT
  return std::getenv("MASK_PREDICT_SIMT_DEVICES") != nullptr;
#else
  return true;
#endif
}

// The best GPU, or the CPU and why there is none. That a machine has no driver at all warrants no word.
OpenDevice open_best(const std::string& precision, int threads, bool deterministic) {
  const cuda::Obstacle obstacle = cuda::obstacle();
  std::string reason = obstacle.is_missing_driver ? "" : obstacle.reason;
  ErrorCode code = ErrorCode::Device;
  if (obstacle.reason.empty())
    if (std::optional<OpenDevice> gpu = open_best_gpu(precision == "fp32", threads, deterministic, reason, code))
      return std::move(*gpu);
  check_device("cpu", precision);
  OpenDevice cpu = open_cpu(precision, threads, deterministic);
  cpu.fallback = reason;
  return cpu;
}

bool is_cuda(const std::string& device) { return device.rfind(cuda::device_kind, 0) == 0; }

bool names_gpu(const std::string& name) { return cuda::names_gpu(name); }

#else

bool is_cuda(const std::string&) { return false; }

bool names_gpu(const std::string&) { return true; }  // refused anyway: there are no kernels for it

#endif

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
  if ((kind != "cuda" && !is_cuda(device)) || (kind != device && !names_gpu(device.substr(kind.size() + 1))))
    throw Error(ErrorCode::InvalidArgument,
                "device must be 'auto', 'cpu', 'cuda', 'cuda:N' or 'cuda:GPU-…' (a UUID), not '" + device + "'");
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
  if (is_cuda(device)) return open_named_gpu(device, precision == "fp32", threads, deterministic);
  if (device == "auto" && precision != "fp16" && may_choose_gpu()) return open_best(precision, threads, deterministic);
#endif
  check_device("cpu", precision);
  return open_cpu(precision, threads, deterministic);
}

}  // namespace mask_predict
