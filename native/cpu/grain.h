// How finely a loop is cut.
#pragma once

#include <cstdint>

namespace mask_predict::cpu {

// Work below this many multiply-adds is done by the calling thread: waking others would take longer.
inline constexpr int64_t smallest_parallel_work = 1 << 17;

// How many items a thread takes at a time: an eighth of its share, so that a slow thread holds up little.
inline int64_t grain_for(int64_t items, int64_t work_per_item, int threads) {
  if (items * work_per_item < smallest_parallel_work) return items > 0 ? items : 1;
  const int64_t grain = items / (static_cast<int64_t>(threads) * 8);
  return grain < 1 ? 1 : grain;
}

}  // namespace mask_predict::cpu
