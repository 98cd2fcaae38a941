// Buffers of sources that are no longer used, kept for the next ones. A source may go on any thread, JavaScript's above
// all, and giving memory back to a GPU waits for all its work: so it is only put aside there. The engine's thread takes
// it again or, what is too much, frees it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/buffer.h"

namespace mask_predict {

class SpareBuffers {
 public:
  // From any thread. A buffer that the full list cannot take is freed at once.
  void put(Buffer&& buffer) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    try {
      buffers_.push_back(std::move(buffer));
    } catch (const std::bad_alloc&) {
    }
  }

  // The smallest spare buffer of at least `bytes` and at most twice that, else an empty one. Contents are not cleared.
  // This function and those below run on the engine's thread.
  Buffer take(uint64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto best = buffers_.end();
    for (auto i = buffers_.begin(); i != buffers_.end(); ++i)
      if (i->bytes() >= bytes && i->bytes() <= 2 * bytes && (best == buffers_.end() || i->bytes() < best->bytes()))
        best = i;
    if (best == buffers_.end()) return {};
    Buffer taken = std::move(*best);
    buffers_.erase(best);
    return taken;
  }

  // Frees the oldest ones until no more than `bytes` are left. Whether it freed any.
  bool trim(uint64_t bytes) {
    std::vector<Buffer> freed;  // goes after the lock
    const std::lock_guard<std::mutex> lock(mutex_);
    uint64_t left = 0;
    auto first = buffers_.end();
    while (first != buffers_.begin() && left + std::prev(first)->bytes() <= bytes) left += (--first)->bytes();
    std::move(buffers_.begin(), first, std::back_inserter(freed));
    buffers_.erase(buffers_.begin(), first);
    return !freed.empty();
  }

 private:
  std::mutex mutex_;
  std::vector<Buffer> buffers_;  // the oldest first
};

}  // namespace mask_predict
