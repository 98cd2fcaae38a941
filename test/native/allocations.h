// Makes allocations of the whole program fail at will, and counts those that are alive: the host's (link
// host_allocations.cpp) or the emulated device's (device_allocations.cpp).
#pragma once

#include <atomic>
#include <cstdint>

namespace mask_predict::allocations {

// Which allocation fails. Any thread may allocate.
class Countdown {
 public:
  // The n-th allocation from now on fails, and with `lasting` all after it too; 0: none.
  void set(uint64_t n, bool lasting) {
    failed_ = false;
    lasting_ = lasting;
    left_ = n;
  }
  bool has_failed() const { return failed_; }

  // To be asked by every allocation: whether it fails.
  bool fails() {
    uint64_t left = left_.load();
    while (left > 1 && !left_.compare_exchange_weak(left, left - 1)) {
    }
    if (left != 1) return false;
    if (!lasting_) left_ = 0;
    failed_ = true;
    return true;
  }

 private:
  std::atomic<uint64_t> left_{0};
  std::atomic<bool> lasting_{false};
  std::atomic<bool> failed_{false};
};

extern Countdown countdown;

// Blocks and bytes that were taken and not yet given back, in a measure of each file's own.
int64_t alive();

}  // namespace mask_predict::allocations
