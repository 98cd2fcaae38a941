#include "engine/device_arena.h"

#include <algorithm>

namespace mask_predict {
namespace {

constexpr uint64_t smallest_block = 64 << 10;

}  // namespace

void* DeviceArena::take_bytes(uint64_t bytes) {
  bytes = std::max<uint64_t>((bytes + 63) / 64 * 64, 64);
  for (; filled_.block < blocks_.size(); filled_ = {filled_.block + 1, 0}) {
    const Buffer& block = blocks_[filled_.block];
    if (filled_.filled + bytes > block.bytes()) continue;
    void* taken = block.as<char>() + filled_.filled;
    filled_.filled += bytes;
    return taken;
  }
  blocks_.push_back(device_buffer(context_, std::max(bytes, smallest_block), budget_, "the arrays of a call"));
  filled_.filled = bytes;
  return blocks_.back().as<void>();
}

}  // namespace mask_predict
