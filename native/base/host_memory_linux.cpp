#include <algorithm>
#include <fstream>
#include <string>

#include "base/control_group.h"
#include "base/host_memory.h"

namespace mask_predict {

uint64_t available_memory() {
  uint64_t available = UINT64_MAX;
  std::ifstream meminfo("/proc/meminfo");
  std::string key, rest;
  uint64_t kilobytes = 0;
  while (meminfo >> key >> kilobytes) {
    if (key == "MemAvailable:") available = kilobytes << 10;
    std::getline(meminfo, rest);
  }
  return std::min(available, control_group::memory_left());
}

}  // namespace mask_predict
