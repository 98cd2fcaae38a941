// Small arrays in a device's memory that live as long as one call: ids, positions, offsets, scores. Blocks are kept
// from call to call, so that a call allocates nothing once it has been as large before.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "ops/operations.h"

namespace mask_predict {

class DeviceArena {
 public:
  DeviceArena(const Context& context, std::shared_ptr<MemoryBudget> budget)
      : context_(context), budget_(std::move(budget)) {}

  // A point to come back to: what was taken since is free again.
  struct Mark {
    size_t block = 0;
    uint64_t filled = 0;
  };
  Mark mark() const { return filled_; }
  void rewind(const Mark& mark) { filled_ = mark; }

  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<uint64_t>(count) * sizeof(T)));
  }
  // A copy of the host's values.
  template <class T>
  T* put(const std::vector<T>& values) {
    T* array = take<T>(static_cast<int64_t>(values.size()));
    context_.operations->upload(context_, array, values.data(), values.size() * sizeof(T));
    return array;
  }
  template <class T>
  std::vector<T> get(const T* array, int64_t count) const {
    std::vector<T> values(static_cast<size_t>(count));
    context_.operations->download(context_, values.data(), array, values.size() * sizeof(T));
    return values;
  }

 private:
  void* take_bytes(uint64_t bytes);

  const Context& context_;
  std::shared_ptr<MemoryBudget> budget_;
  std::vector<Buffer> blocks_;
  Mark filled_;  // the block being filled, and the bytes of it that are
};

}  // namespace mask_predict
