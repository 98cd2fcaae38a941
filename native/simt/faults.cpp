#include "simt/faults.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "simt/access_counts.h"
#include "simt/streams.h"

namespace mask_predict::simt {

namespace {

struct Faults {
  std::string function;
  long number = -1;        // of the call that fails; 0: all of them
  bool by_device = false;  // it is the device's, plus 1
  bool once = false;
  long begun = 0;
  std::map<int, long> calls;  // by device, or all of them as those of 0
  std::set<int> lost, used;   // devices

  Faults() {
    const char* text = std::getenv("MASK_PREDICT_SIMT_FAULT");
    if (text == nullptr) return;
    function = text;
    const size_t colon = function.find(':');
    const std::string rest = colon == std::string::npos ? "" : function.substr(colon + 1);
    function.erase(std::min(colon, function.size()));
    by_device = rest.compare(0, 6, "device") == 0;
    once = rest.find(":once") != std::string::npos;
    number = std::atol(rest.c_str());
  }

  bool concerns(const char* called) const {
    return function == "*" ? std::strcmp(called, "cudaLaunchAttribute") != 0 : function == called;
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
  report_at_exit();
  Faults& all = faults();
  all.used.insert(device);
  ++all.begun;
  if (all.lost.count(device)) return remember(cudaErrorIllegalAddress);
  if (all.number < 0 || !all.concerns(function)) return cudaSuccess;
  if (all.number == 0 && !all.by_device) return remember(cudaErrorMemoryAllocation);
  if (++all.calls[all.by_device ? device : 0] != (all.by_device ? device + 1 : all.number)) return cudaSuccess;
  if (all.once) return remember(cudaErrorNotSupported);
  all.lost.insert(device);
  return remember(cudaErrorIllegalAddress);
}

long calls_begun() {
  const std::lock_guard lock(runtime_mutex());
  return faults().begun;
}

std::string contexts() {
  const std::lock_guard lock(runtime_mutex());
  std::string text;
  for (const int device : faults().used) text += (text.empty() ? "" : ", ") + std::to_string(device);
  return text;
}

}  // namespace mask_predict::simt
