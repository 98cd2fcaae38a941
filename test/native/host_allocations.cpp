// Allocations of the host: operator new, mappings and the starts of threads.
// With glibc, link with -Wl,--wrap=mmap,--wrap=munmap,--wrap=pthread_create. In a static program of musl's, whose functions
// of these names are weak, the ones here take their place.
#include <pthread.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <new>

#include "allocations.h"

namespace mask_predict::allocations {

Countdown countdown;

namespace {

std::atomic<int64_t> blocks{0};
std::atomic<int64_t> mapped_bytes{0};

void* allocate(size_t bytes, size_t alignment) {
  if (countdown.fails()) return nullptr;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const data = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (data != nullptr) blocks++;
  return data;
}

void* allocate_or_throw(size_t bytes, size_t alignment) {
  void* const data = allocate(bytes, alignment);
  if (data == nullptr) throw std::bad_alloc();
  return data;
}

void release(void* data) {
  if (data == nullptr) return;
  blocks--;
  std::free(data);
}

constexpr size_t usual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;
size_t size_of(std::align_val_t alignment) { return static_cast<size_t>(alignment); }

}  // namespace

int64_t alive() { return blocks + mapped_bytes; }

}  // namespace mask_predict::allocations

using namespace mask_predict::allocations;

void* operator new(size_t bytes) { return allocate_or_throw(bytes, usual); }
void* operator new[](size_t bytes) { return allocate_or_throw(bytes, usual); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, usual); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, usual); }
void* operator new(size_t bytes, std::align_val_t a) { return allocate_or_throw(bytes, size_of(a)); }
void* operator new[](size_t bytes, std::align_val_t a) { return allocate_or_throw(bytes, size_of(a)); }
void* operator new(size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(bytes, size_of(a));
}
void* operator new[](size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
  return allocate(bytes, size_of(a));
}
void operator delete(void* data) noexcept { release(data); }
void operator delete[](void* data) noexcept { release(data); }
void operator delete(void* data, size_t) noexcept { release(data); }
void operator delete[](void* data, size_t) noexcept { release(data); }
void operator delete(void* data, std::align_val_t) noexcept { release(data); }
void operator delete[](void* data, std::align_val_t) noexcept { release(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { release(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { release(data); }

#ifdef __GLIBC__
#define REPLACED(function) __wrap_##function
#define OWN(function) __real_##function
constexpr bool counts_mappings = true;
#else
#define REPLACED(function) function
#define OWN(function) __##function
constexpr bool counts_mappings = false;  // musl's free() gives back by munmap what its malloc() did not take by mmap
#endif

extern "C" {

void* OWN(mmap)(void* address, size_t bytes, int protection, int flags, int file, off_t offset);
int OWN(munmap)(void* address, size_t bytes);
int OWN(pthread_create)(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument);

void* REPLACED(mmap)(void* address, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (countdown.fails()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* const mapped = OWN(mmap)(address, bytes, protection, flags, file, offset);
  if (counts_mappings && mapped != MAP_FAILED) mapped_bytes += static_cast<int64_t>(bytes);
  return mapped;
}

int REPLACED(munmap)(void* address, size_t bytes) {
  if (counts_mappings) mapped_bytes -= static_cast<int64_t>(bytes);
  return OWN(munmap)(address, bytes);
}

int REPLACED(pthread_create)(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                             void* argument) {
  return countdown.fails() ? EAGAIN : OWN(pthread_create)(thread, attributes, start, argument);
}
}
