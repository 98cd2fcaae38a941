#include <algorithm>
#include <thread>

#include "cpu/processors.h"

namespace mask_predict::cpu {

int available_processors() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace mask_predict::cpu
