// The check of every CUDA call, and the GPUs whose context is lost.
//
// Some errors end a GPU's context: an illegal address, a kernel that failed, uncorrectable memory. Nothing can be done
// on that GPU in this process any more: every later call on it fails, memory cannot be read or given back, and what
// lies in it may be wrong. So the first such error is remembered for the device, no engine opens on it again, and each
// message says what to do.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/error.h"
#include "cuda/language.h"

namespace mask_predict::cuda {

inline bool ends_context(cudaError_t status) {
  switch (static_cast<int>(status)) {
    case 214:  // cudaErrorECCUncorrectable
    case 220:  // cudaErrorNvlinkUncorrectable
    case 700:  // cudaErrorIllegalAddress
    case 702:  // cudaErrorLaunchTimeout
    case 709:  // cudaErrorContextIsDestroyed
    case 710:  // cudaErrorAssert
    case 714:  // cudaErrorHardwareStackError
    case 715:  // cudaErrorIllegalInstruction
    case 716:  // cudaErrorMisalignedAddress
    case 717:  // cudaErrorInvalidAddressSpace
    case 718:  // cudaErrorInvalidPc
    case 719:  // cudaErrorLaunchFailure
      return true;
    default: return false;
  }
}

// By device, the error that ended its context.
struct LostContexts {
  std::mutex mutex;
  std::map<int, std::string> causes;

  static LostContexts& all() {
    static auto* const contexts = new LostContexts;  // engines of other threads may outlive the end of main
    return *contexts;
  }
};

// The cause; empty while the device's context works.
inline std::string lost_context(int device) {
  LostContexts& lost = LostContexts::all();
  const std::lock_guard<std::mutex> lock(lost.mutex);
  const auto found = lost.causes.find(device);
  return found == lost.causes.end() ? "" : found->second;
}

// Error(Device) if the context of the device is lost.
inline void require_context(int device) {
  const std::string cause = lost_context(device);
  if (!cause.empty())
    throw Error(ErrorCode::Device, "the GPU's context is lost: restart the process; GPU " + std::to_string(device) +
                                       " failed with " + cause);
}

// Throws Error(OutOfMemory or Device) "<call>: <cause>" unless `status` is cudaSuccess. The calling thread's current
// device is the one the call was for.
inline void check(cudaError_t status, const std::string& call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a later call must not report this error once more
  const std::string cause = call + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  if (!ends_context(status))
    throw Error(status == cudaErrorMemoryAllocation ? ErrorCode::OutOfMemory : ErrorCode::Device, cause);
  int device = 0;
  if (cudaGetDevice(&device) == cudaSuccess) {
    LostContexts& lost = LostContexts::all();
    const std::lock_guard<std::mutex> lock(lost.mutex);
    lost.causes.try_emplace(device, cause);
  }
  throw Error(ErrorCode::Device, "the GPU's context is lost: restart the process; " + cause);
}

}  // namespace mask_predict::cuda
