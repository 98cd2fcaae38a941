// Aligned memory that is counted against a limit before it is taken and given back to the system at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace mask_predict {

// How many bytes may be taken in all, and how many are. Shared by everything one engine allocates.
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t limit) : limit_(limit) {}

  // Throws Error(OutOfMemory) that names `purpose`, the size and the limit; nothing is counted then.
  void reserve(uint64_t bytes, const std::string& purpose);
  void release(uint64_t bytes) { used_.fetch_sub(bytes); }
  uint64_t used() const { return used_.load(); }

  // Before the budget refuses memory, it calls this function, which frees spare memory and returns true if it freed
  // some. Set it before the budget is shared; the thread that reserves calls it.
  void set_reclaim(std::function<bool()> reclaim) { reclaim_ = std::move(reclaim); }
  bool reclaim() const { return reclaim_ && reclaim_(); }

 private:
  bool try_reserve(uint64_t bytes);

  std::function<bool()> reclaim_;
  const uint64_t limit_;
  std::atomic<uint64_t> used_{0};
};

// Where a device's memory comes from.
struct Memory {
  // Aligned to 64 bytes, zeroed; nullptr if there is none. `stream` is the device's own: what is put into it from now
  // on finds the zeros. The host has none, and its memory is zeroed when this returns. `device` is what release() needs to
  // know: which of several has the memory.
  void* (*allocate)(uint64_t bytes, void* stream, int& device);
  // From any thread.
  void (*release)(void* data, uint64_t bytes, int device);
};
extern const Memory host_memory;

// A block of a device's memory, zeroed; of the host's by default (device_buffer of ops/operations.h takes one of a
// context's device). Or a view of memory that is there already.
class Buffer {
 public:
  Buffer() = default;
  // Throws Error(OutOfMemory) that names `purpose`. A null budget counts nothing.
  Buffer(uint64_t bytes, std::shared_ptr<MemoryBudget> budget, const std::string& purpose)
      : Buffer(bytes, std::move(budget), purpose, host_memory, nullptr) {}
  // Allocates from another memory; cleared in that stream.
  Buffer(uint64_t bytes, std::shared_ptr<MemoryBudget> budget, const std::string& purpose, const Memory& memory,
         void* stream);
  // Read-only bytes of a file's mapping, which lives as long as `owner`; counted like any other.
  static Buffer view(const void* data, uint64_t bytes, std::shared_ptr<const void> owner,
                     std::shared_ptr<MemoryBudget> budget, const std::string& purpose);
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer();

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  void swap(Buffer& other) noexcept;

  void* data_ = nullptr;
  uint64_t bytes_ = 0;
  int device_ = 0;
  const Memory* memory_ = nullptr;  // none: the owner's
  std::shared_ptr<const void> owner_;
  std::shared_ptr<MemoryBudget> budget_;
};

}  // namespace mask_predict
