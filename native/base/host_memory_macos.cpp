#include <unistd.h>

#include "base/host_memory.h"

namespace mask_predict {

uint64_t available_memory() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace mask_predict
