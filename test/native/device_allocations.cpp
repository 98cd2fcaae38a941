// Allocations of the emulated device. Link with -Wl,--wrap=_Z10cudaMallocPPvm: cudaMalloc as the compiler names it.
#include "allocations.h"
#include "cuda/platform.h"
#include "simt/memory.h"

namespace mask_predict::allocations {

Countdown countdown;

int64_t alive() { return static_cast<int64_t>(simt::device_memory_used()); }

}  // namespace mask_predict::allocations

extern "C" {

cudaError_t __real__Z10cudaMallocPPvm(void** pointer, size_t bytes);

cudaError_t __wrap__Z10cudaMallocPPvm(void** pointer, size_t bytes) {
  *pointer = nullptr;
  return mask_predict::allocations::countdown.fails() ? cudaErrorMemoryAllocation
                                                      : __real__Z10cudaMallocPPvm(pointer, bytes);
}
}
