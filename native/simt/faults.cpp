#include "simt/faults.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <set>

#include "simt/streams.h"

namespace mask_predict::simt {

namespace {

struct Faults {
  std::string function;
  long number = -1;  // of the call that fails; 0: all of them
  long calls = 0;
  std::set<int> lost, used;  // devices

  Faults() {
    const char* text = std::getenv("MASK_PREDICT_SIMT_FAULT");
    if (text == nullptr) return;
    function = text;
    const size_t colon = function.find(':');
    number = colon == std::string::npos ? 0 : std::atol(function.c_str() + colon + 1);
    function.erase(std::min(colon, function.size()));
  }
};

// Under the runtime's lock.
Faults& faults() {
  static Faults& instance = *new Faults;
  return instance;
}

}  // namespace

cudaError_t begin_call(const char* function, int device) {
  const std::lock_guard lock(runtime_mutex());
  Faults& all = faults();
  all.used.insert(device);
  if (all.lost.count(device)) return remember(cudaErrorIllegalAddress);
  if (all.number < 0 || all.function != function) return cudaSuccess;
  if (all.number == 0) return remember(cudaErrorMemoryAllocation);
  if (++all.calls != all.number) return cudaSuccess;
  all.lost.insert(device);
  return remember(cudaErrorIllegalAddress);
}

std::string contexts() {
  const std::lock_guard lock(runtime_mutex());
  std::string text;
  for (const int device : faults().used) text += (text.empty() ? "" : ", ") + std::to_string(device);
  return text;
}

}  // namespace mask_predict::simt
