#include <sched.h>

#include <algorithm>
#include <thread>

#include "base/control_group.h"
#include "cpu/processors.h"

namespace mask_predict::cpu {

int available_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
  return std::max(1, std::min(count, control_group::processors()));
}

}  // namespace mask_predict::cpu
