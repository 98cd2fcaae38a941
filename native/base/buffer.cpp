#include "base/buffer.h"

#include <cstring>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/host_memory.h"

namespace mask_predict {
namespace {

constexpr uint64_t large_block = 2 << 20;

std::string megabytes(uint64_t bytes) {
  const uint64_t tenths = (bytes * 10 + (1 << 19)) >> 20;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

// Small blocks come from the heap, aligned to 64 bytes; a large one has pages of its own.
void* allocate_host(uint64_t bytes, void*, int&) {
  if (bytes >= large_block) return take_pages(bytes);
  void* data = ::operator new (bytes, std::align_val_t{64}, std::nothrow);
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

void release_host(void* data, uint64_t bytes, int) {
  if (bytes >= large_block) return release_pages(data, bytes);
  ::operator delete (data, std::align_val_t{64});
}

}  // namespace

bool MemoryBudget::try_reserve(uint64_t bytes) {
  uint64_t used = used_.load();
  do {
    if (bytes > limit_ || used > limit_ - bytes) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes));
  return true;
}

void MemoryBudget::reserve(uint64_t bytes, const std::string& purpose) {
  if (try_reserve(bytes) || (reclaim() && try_reserve(bytes))) return;
  throw Error(ErrorCode::OutOfMemory,
              purpose + " needs " + megabytes(bytes) + ", but " + megabytes(used()) + " of the limit of " +
                  megabytes(limit_) +
                  " are in use; raise memoryLimit, choose a narrower precision, or ask for less at once");
}

const Memory host_memory = {allocate_host, release_host};

Buffer::Buffer(uint64_t bytes, std::shared_ptr<MemoryBudget> budget, const std::string& purpose, const Memory& memory,
               void* stream) {
  if (bytes == 0) return;
  if (budget) budget->reserve(bytes, purpose);
  try {
    data_ = memory.allocate(bytes, stream, device_);
    if (data_ == nullptr && budget && budget->reclaim()) data_ = memory.allocate(bytes, stream, device_);
  } catch (...) {  // a device that failed
    if (budget) budget->release(bytes);
    throw;
  }
  if (data_ == nullptr) {
    if (budget) budget->release(bytes);
    throw Error(ErrorCode::OutOfMemory, purpose + " needs " + megabytes(bytes) + ", which the system refused");
  }
  bytes_ = bytes;
  memory_ = &memory;
  budget_ = std::move(budget);
}

Buffer Buffer::view(const void* data, uint64_t bytes, std::shared_ptr<const void> owner,
                    std::shared_ptr<MemoryBudget> budget, const std::string& purpose) {
  if (budget) budget->reserve(bytes, purpose);
  Buffer buffer;
  buffer.data_ = const_cast<void*>(data);
  buffer.bytes_ = bytes;
  buffer.owner_ = std::move(owner);
  buffer.budget_ = std::move(budget);
  return buffer;
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (memory_ != nullptr) memory_->release(data_, bytes_, device_);
  if (budget_) budget_->release(bytes_);
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(device_, other.device_);
  std::swap(memory_, other.memory_);
  std::swap(owner_, other.owner_);
  std::swap(budget_, other.budget_);
}

}  // namespace mask_predict
