#include "base/buffer.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <utility>

#if defined(__linux__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "base/error.h"

namespace mask_predict {
namespace {

constexpr uint64_t huge_page = 2 << 20;

std::string megabytes(uint64_t bytes) {
  const uint64_t tenths = (bytes * 10 + (1 << 19)) >> 20;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

uint64_t read_number(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : UINT64_MAX;  // "max" does not parse: no limit
}

#if defined(__linux__) || defined(__APPLE__)
uint64_t whole_pages(uint64_t bytes) {
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}
#endif

// Small blocks come from the heap, aligned to 64 bytes. A large one is a mapping of its own, on huge pages, which
// goes back to the system when it is freed.
void* allocate_host(uint64_t bytes, void*) {
#if defined(__linux__) || defined(__APPLE__)
  if (bytes >= huge_page) {
    const uint64_t mapped = bytes + huge_page;
    void* const all = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return nullptr;
    char* const base = static_cast<char*>(all);
    const uint64_t skip = (huge_page - reinterpret_cast<uintptr_t>(base) % huge_page) % huge_page;
    const uint64_t kept = whole_pages(bytes);
    if (skip > 0) munmap(base, skip);
    if (mapped - skip > kept) munmap(base + skip + kept, mapped - skip - kept);
#if defined(__linux__)
    madvise(base + skip, kept, MADV_HUGEPAGE);
#endif
    return base + skip;
  }
#endif
  void* data = ::operator new (bytes, std::align_val_t{64}, std::nothrow);
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

void release_host(void* data, uint64_t bytes) {
#if defined(__linux__) || defined(__APPLE__)
  if (bytes >= huge_page) {
    munmap(data, whole_pages(bytes));
    return;
  }
#endif
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

uint64_t available_memory() {
  uint64_t available = UINT64_MAX;
#if defined(__linux__)
  std::ifstream meminfo("/proc/meminfo");
  std::string key, rest;
  uint64_t kilobytes = 0;
  while (meminfo >> key >> kilobytes) {
    if (key == "MemAvailable:") available = kilobytes << 10;
    std::getline(meminfo, rest);
  }
  const uint64_t group_limit = read_number("/sys/fs/cgroup/memory.max");
  if (group_limit != UINT64_MAX) {
    const uint64_t group_used = read_number("/sys/fs/cgroup/memory.current");
    const uint64_t left = group_used < group_limit ? group_limit - group_used : 0;
    if (left < available) available = left;
  }
#elif defined(__APPLE__)
  available = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
#endif
  return available;
}

const Memory host_memory = {allocate_host, release_host};

Buffer::Buffer(uint64_t bytes, std::shared_ptr<MemoryBudget> budget, const std::string& purpose, const Memory& memory,
               void* stream) {
  if (bytes == 0) return;
  if (budget) budget->reserve(bytes, purpose);
  try {
    data_ = memory.allocate(bytes, stream);
    if (data_ == nullptr && budget && budget->reclaim()) data_ = memory.allocate(bytes, stream);
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
  if (memory_ != nullptr) memory_->release(data_, bytes_);
  if (budget_) budget_->release(bytes_);
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(memory_, other.memory_);
  std::swap(owner_, other.owner_);
  std::swap(budget_, other.budget_);
}

}  // namespace mask_predict
