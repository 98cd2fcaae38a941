// The only launcher of kernels.
//
// A kernel runs after launch() has returned. What goes wrong inside it is reported by a later call on the
// stream, which does not know the kernel; with MASK_PREDICT_CUDA_SYNCHRONOUS set in the environment each
// launch waits for its kernel, and the error names it. Then no kernel is dependent either, so that in a graph, where
// nothing can wait, each starts after the one before it has ended.
#pragma once

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "cuda/errors.h"
#include "cuda/language.h"

namespace mask_predict::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes;  // dynamic shared memory
  cudaStream_t stream;
  const char* name;  // of the kernel, for errors and reports; a literal
  // The kernel may start before the one before it in the stream has ended: it calls
  // wait_for_earlier_kernels() (ptx.cuh). Code that was not compiled for sm_90 or later starts in order as
  // ever.
  bool dependent = false;
};

// Properties of a kernel that are read and set once per kernel and device.
struct KernelTraits {
  size_t shared_bytes = 48 * 1024;  // the dynamic shared memory it may take; this much without asking
  bool can_be_dependent = false;
};

inline KernelTraits prepare_kernel(const void* kernel, const LaunchShape& shape) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, KernelTraits> prepared;
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  const std::lock_guard<std::mutex> lock(mutex);
  const auto [entry, is_new] = prepared.try_emplace({kernel, device});
  KernelTraits& traits = entry->second;
  if (is_new) {
    cudaFuncAttributes attributes{};
    const cudaError_t status = cudaFuncGetAttributes(&attributes, kernel);
    if (status != cudaSuccess) {
      prepared.erase(entry);
      check(status, std::string("cudaFuncGetAttributes of kernel ") + shape.name);
    }
    traits.can_be_dependent = attributes.ptxVersion >= 90;
  }
  if (shape.shared_bytes > traits.shared_bytes) {
    check(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes)),
        std::string("cudaFuncSetAttribute of kernel ") + shape.name + ", " + std::to_string(shape.shared_bytes) +
            " bytes of shared memory");
    traits.shared_bytes = shape.shared_bytes;
  }
  return traits;
}

// False once a driver has refused to capture dependent launches, as those before CUDA 12.3 do. From then on kernels in
// graphs are launched without; cuda_graphs.h repeats the capture that failed.
inline std::atomic<bool>& dependent_in_graphs() {
  static std::atomic<bool> may{true};
  return may;
}

inline bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

// Puts the kernel into the stream. Throws Error that names the kernel and the cause.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... arguments) {
#ifdef MASK_PREDICT_SIMT
  simt::name_next_kernel(shape.name);
#endif
  const KernelTraits traits = prepare_kernel(reinterpret_cast<const void*>(kernel), shape);
  cudaLaunchAttribute dependent{};
  dependent.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  dependent.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  config.attrs = &dependent;
  static const bool synchronous = std::getenv("MASK_PREDICT_CUDA_SYNCHRONOUS") != nullptr;
  const bool dependent_here = shape.dependent && traits.can_be_dependent && !synchronous &&
                              (dependent_in_graphs() || !is_capturing(shape.stream));
  config.numAttrs = dependent_here ? 1 : 0;
  const auto describe = [&shape](const char* call) {
    const auto size = [](const dim3& d) {
      return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
    };
    return std::string(call) + " of kernel " + shape.name + ", grid " + size(shape.grid) + ", block " +
           size(shape.block) + ", " + std::to_string(shape.shared_bytes) + " bytes of shared memory";
  };
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  if (status != cudaSuccess) {
    if (dependent_here && is_capturing(shape.stream)) dependent_in_graphs() = false;
    check(status, describe("cudaLaunchKernelEx"));
  }

  if (synchronous && !is_capturing(shape.stream)) {
    const cudaError_t outcome = cudaStreamSynchronize(shape.stream);
    if (outcome != cudaSuccess) check(outcome, describe("cudaStreamSynchronize"));
  }
}

}  // namespace mask_predict::cuda
