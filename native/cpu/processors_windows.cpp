#include <algorithm>
#include <bit>
#include <thread>

#include "base/windows_system.h"
#include "cpu/processors.h"

namespace mask_predict::cpu {

// The mask is of one group of at most 64 processors. It is 0 where the process is spread over several, which no mask limits.
int available_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
  DWORD_PTR process = 0, system = 0;
  if (::GetProcessAffinityMask(::GetCurrentProcess(), &process, &system) && process != 0)
    count = std::popcount(static_cast<uint64_t>(process));
  return std::max(1, count);
}

}  // namespace mask_predict::cpu
