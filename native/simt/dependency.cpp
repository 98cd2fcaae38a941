#include "simt/dependency.h"

#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>

#include "simt/memory.h"

namespace mask_predict::simt {

namespace {

constexpr uintptr_t unit = 16;  // bytes
using Units = std::unordered_set<uintptr_t>;

Units written;     // by the running kernel, or by the last one
Units unfinished;  // by kernels that may still run beside the running one
const void* last_stream = nullptr;
bool any_kernel = false;
bool allowed_early = false;  // the next kernel, before waiting for the earlier ones

}  // namespace

void begin_kernel(const void* stream, bool dependent) {
  if (dependent && any_kernel && last_stream == stream) {
    // Allowed only after its wait, the last kernel had the ones before it behind itself when this one began.
    if (!allowed_early) unfinished.clear();
    unfinished.merge(written);
  } else {
    unfinished.clear();
  }
  written.clear();
  last_stream = stream;
  any_kernel = true;
  allowed_early = false;
}

void forget_kernels() { any_kernel = false; }

void note_global_read(const char* operation, const void* pointer, size_t bytes, Site site) {
  if (!running_kernel_is_dependent() || running_thread().waited_for_earlier_kernels) return;
  if (!is_frozen(pointer)) {
    fault(std::string(operation) + " before wait_for_earlier_kernels() of memory that is not constant", site);
  }
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  for (uintptr_t i = address / unit; i <= (address + bytes - 1) / unit; ++i) {
    if (unfinished.count(i)) {
      fault(std::string(operation) + " before wait_for_earlier_kernels() of what an earlier kernel writes", site);
    }
  }
}

void note_global_write(const char* operation, const void* pointer, size_t bytes, Site site) {
  if (running_kernel_is_dependent() && !running_thread().waited_for_earlier_kernels) {
    fault(std::string(operation) + " before wait_for_earlier_kernels()", site);
  }
  if (is_frozen(pointer)) fault(std::string(operation) + " to memory that is constant", site);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  for (uintptr_t i = address / unit; i <= (address + bytes - 1) / unit; ++i) written.insert(i);
}

void note_next_kernel_allowed() {
  if (running_kernel_is_dependent() && !running_thread().waited_for_earlier_kernels) allowed_early = true;
}

}  // namespace mask_predict::simt
