#include <climits>
#include <cmath>
#include <fstream>

#include "base/control_group.h"

namespace mask_predict::control_group {
namespace {

// UINT64_MAX for "max", -1 and a file that is not there: no limit.
uint64_t number_in(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value && value >= 0 ? static_cast<uint64_t>(value) : UINT64_MAX;
}

// A line of memory.stat; 0 if it is not there.
uint64_t statistic(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  std::string name;
  for (uint64_t value = 0; file >> name >> value;)
    if (name == wanted) return value;
  return 0;
}

uint64_t without(uint64_t from, uint64_t part) { return from > part ? from - part : 0; }

// Shared memory counts as cache, but there is no file to read it from again.
uint64_t left(uint64_t limit, uint64_t used, uint64_t cache, uint64_t shared) {
  if (limit == UINT64_MAX || used == UINT64_MAX) return UINT64_MAX;
  return without(limit, without(used, without(cache, shared)));
}

}  // namespace

uint64_t memory_left(const std::string& root) {
  const std::string second = root + "/memory.stat", first = root + "/memory/memory.stat";
  const uint64_t limit = number_in(root + "/memory.max");
  if (limit != UINT64_MAX)
    return left(limit, number_in(root + "/memory.current"), statistic(second, "file"), statistic(second, "shmem"));
  return left(number_in(root + "/memory/memory.limit_in_bytes"), number_in(root + "/memory/memory.usage_in_bytes"),
              statistic(first, "total_cache"), statistic(first, "total_shmem"));
}

int processors(const std::string& root) {
  // "max 100000" or "150000 100000": microseconds of processor time per period.
  std::ifstream file(root + "/cpu.max");
  double quota = 0, period = 0;
  if (!(file >> quota >> period)) {
    const uint64_t first = number_in(root + "/cpu/cpu.cfs_quota_us");
    const uint64_t second = number_in(root + "/cpu/cpu.cfs_period_us");
    if (first == UINT64_MAX || second == UINT64_MAX) return INT_MAX;
    quota = static_cast<double>(first);
    period = static_cast<double>(second);
  }
  if (!(quota > 0) || !(period > 0)) return INT_MAX;
  return static_cast<int>(std::fmin(std::ceil(quota / period), 1e6));
}

}  // namespace mask_predict::control_group
