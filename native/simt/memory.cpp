#include "simt/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "base/error.h"
#include "simt/simt.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) (static_cast<void>(address), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) (static_cast<void>(address), static_cast<void>(bytes))
#endif

namespace mask_predict::simt {

namespace {

constexpr size_t shared_red_zone = 1024;
constexpr size_t device_red_zone = 256;  // also the alignment of an allocation

alignas(1024) char shared_area[shared_red_zone + largest_shared_bytes + shared_red_zone];
char* const shared_begin = shared_area + shared_red_zone;
size_t shared_bytes;

struct Allocation {
  size_t bytes = 0;
  bool is_frozen = false;
};

struct DeviceMemory {
  std::recursive_mutex mutex;
  std::map<uintptr_t, Allocation> allocations;
  size_t total = size_t{64} << 30;
  size_t used = 0;
  int in_reach = 0;
  // of the last hit: accesses come in runs
  uintptr_t recent = 0;
  Allocation recent_allocation;

  // The allocation that `address` is in or just behind becomes the recent one; false if there is none before it.
  bool find(uintptr_t address) {
    if (address >= recent && address < recent + recent_allocation.bytes) return true;
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return false;
    --after;
    recent = after->first;
    recent_allocation = after->second;
    return true;
  }
};
// Never destroyed: allocations may be given back by destructors that run at the end of the process.
DeviceMemory& device() {
  static DeviceMemory& memory = *new DeviceMemory;
  return memory;
}

// AddressSanitizer's own instrumentation must not see the look at the red zones.
__attribute__((no_sanitize("address"))) bool is_intact(const char* zone, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) {
    if (static_cast<unsigned char>(zone[i]) != poison_byte) return false;
  }
  return true;
}

std::string hexadecimal(const void* pointer) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", pointer);
  return text;
}

}  // namespace

char* shared_memory_begin() { return shared_begin; }

void prepare_shared_memory(size_t bytes) {
  ASAN_UNPOISON_MEMORY_REGION(shared_area, sizeof shared_area);
  std::memset(shared_begin - shared_red_zone, poison_byte, shared_red_zone + bytes + shared_red_zone);
  shared_bytes = bytes;
  ASAN_POISON_MEMORY_REGION(shared_area, shared_red_zone);
  ASAN_POISON_MEMORY_REGION(shared_begin + bytes, sizeof shared_area - shared_red_zone - bytes);
}

std::string damage_to_memory() {
  const bool before = !is_intact(shared_begin - shared_red_zone, shared_red_zone);
  if (before || !is_intact(shared_begin + shared_bytes, shared_red_zone)) {
    ASAN_UNPOISON_MEMORY_REGION(shared_area, sizeof shared_area);
    return std::string("wrote ") + (before ? "before" : "beyond") + " its " + std::to_string(shared_bytes) +
           " bytes of shared memory";
  }
  const std::lock_guard lock(device().mutex);
  for (const auto& [address, allocation] : device().allocations) {
    char* begin = reinterpret_cast<char*>(address);
    const size_t bytes = allocation.bytes;
    const bool intact_before = is_intact(begin - device_red_zone, device_red_zone);
    if (intact_before && is_intact(begin + bytes, device_red_zone)) continue;
    for (char* zone : {begin - device_red_zone, begin + bytes}) {  // report it once
      ASAN_UNPOISON_MEMORY_REGION(zone, device_red_zone);
      std::memset(zone, poison_byte, device_red_zone);
      ASAN_POISON_MEMORY_REGION(zone, device_red_zone);
    }
    return std::string("wrote ") + (intact_before ? "beyond" : "before") + " an allocation of " +
           std::to_string(bytes) + " bytes";
  }
  return "";
}

void* allocate_device(size_t bytes) {
  const std::lock_guard lock(device().mutex);
  if (bytes > device().total - device().used) return nullptr;
  const size_t rounded = (bytes + device_red_zone - 1) / device_red_zone * device_red_zone;
  char* area = static_cast<char*>(std::aligned_alloc(device_red_zone, rounded + 2 * device_red_zone));
  if (!area) return nullptr;
  std::memset(area, poison_byte, rounded + 2 * device_red_zone);
  char* begin = area + device_red_zone;
  device().allocations[reinterpret_cast<uintptr_t>(begin)] = {bytes};
  device().used += bytes;
  ASAN_POISON_MEMORY_REGION(area, rounded + 2 * device_red_zone);
  if (device().in_reach) ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
  return begin;
}

bool free_device(void* pointer) {
  const std::lock_guard lock(device().mutex);
  const auto found = device().allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == device().allocations.end()) return false;
  const size_t bytes = found->second.bytes;
  device().used -= bytes;
  device().allocations.erase(found);
  device().recent_allocation = {};
  char* area = static_cast<char*>(pointer) - device_red_zone;
  ASAN_UNPOISON_MEMORY_REGION(area,
                              (bytes + device_red_zone - 1) / device_red_zone * device_red_zone + 2 * device_red_zone);
  std::free(area);
  return true;
}

void abandon_device(void* pointer) {
  constexpr uintptr_t page = 4096;
  const std::lock_guard lock(device().mutex);
  const auto found = device().allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == device().allocations.end()) return;
  const uintptr_t begin = (found->first + page - 1) / page * page,
                  end = (found->first + found->second.bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

bool in_device_memory(const void* pointer, size_t bytes) {
  const std::lock_guard lock(device().mutex);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (!device().find(address)) return false;
  const size_t offset = address - device().recent, all = device().recent_allocation.bytes;
  return offset <= all && bytes <= all - offset;
}

bool is_frozen(const void* pointer) {
  const std::lock_guard lock(device().mutex);
  return in_device_memory(pointer, 1) && device().recent_allocation.is_frozen;
}

void freeze(const void* pointer) {
  const std::lock_guard lock(device().mutex);
  const auto found = device().allocations.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == device().allocations.end()) throw Error(ErrorCode::Device, "freeze: no allocation begins here");
  found->second.is_frozen = true;
  device().recent_allocation = {};
}

void require_changeable(const char* operation, const void* pointer) {
  if (is_frozen(pointer)) throw Fault(std::string(operation) + " to memory that is constant");
}

size_t device_memory_total() { return device().total; }
size_t device_memory_used() { return device().used; }
void set_device_memory(size_t bytes) { device().total = bytes; }

DeviceMemoryInReach::DeviceMemoryInReach() {
  const std::lock_guard lock(device().mutex);
  if (device().in_reach++) return;
  for (const auto& [address, allocation] : device().allocations) {
    ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(address), allocation.bytes);
  }
}

DeviceMemoryInReach::~DeviceMemoryInReach() {
  const std::lock_guard lock(device().mutex);
  if (--device().in_reach) return;
  for (const auto& [address, allocation] : device().allocations) {
    ASAN_POISON_MEMORY_REGION(reinterpret_cast<void*>(address), allocation.bytes);
  }
}

void poison(void* pointer, size_t bytes) {
  if (!in_device_memory(pointer, bytes)) throw Error(ErrorCode::Device, "poison: not device memory");
  const DeviceMemoryInReach in_reach;
  std::memset(pointer, poison_byte, bytes);
}

void require_written(const void* pointer, size_t elements, size_t element_bytes, const std::string& what) {
  if (!in_device_memory(pointer, elements * element_bytes)) {
    throw Error(ErrorCode::Device, what + ": not device memory");
  }
  const DeviceMemoryInReach in_reach;
  const char* bytes = static_cast<const char*>(pointer);
  for (size_t i = 0; i < elements; ++i) {
    if (!is_intact(bytes + i * element_bytes, element_bytes)) continue;
    throw Error(ErrorCode::Device,
                what + ": element " + std::to_string(i) + " of " + std::to_string(elements) + " was not written");
  }
}

void check_shared(const char* operation, const void* pointer, size_t bytes, Site site) {
  const char* address = static_cast<const char*>(pointer);
  const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(shared_begin);
  if (offset > shared_bytes || bytes > shared_bytes - offset) {
    fault(std::string(operation) + ": byte " + std::to_string(static_cast<intptr_t>(offset)) + " of " +
              std::to_string(shared_bytes) + " bytes of shared memory",
          site);
  }
  if (offset % bytes) {
    fault(std::string(operation) + ": byte " + std::to_string(offset) + " of shared memory is not aligned to " +
              std::to_string(bytes),
          site);
  }
}

void check_global(const char* operation, const void* pointer, size_t bytes, Site site) {
  if (!in_device_memory(pointer, bytes)) {
    fault(std::string(operation) + ": " + std::to_string(bytes) + " bytes at " + hexadecimal(pointer) +
              " are not in device memory",
          site);
  }
  if (bytes && reinterpret_cast<uintptr_t>(pointer) % bytes) {
    fault(std::string(operation) + ": " + hexadecimal(pointer) + " is not aligned to " + std::to_string(bytes), site);
  }
}

}  // namespace mask_predict::simt
