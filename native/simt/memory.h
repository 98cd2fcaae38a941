// The memory that kernels see: the shared memory of the running block and the allocations of the device. Both
// are filled with 0xFF, a NaN in every float type, before anything is written; both lie between red zones.
// Accesses through ptx.cuh are checked against their bounds; others are by AddressSanitizer, where the build
// has it, and, as far as they write, by looking at the red zones after every block.
#pragma once

#include <cstddef>
#include <string>

#include "simt/block.h"

namespace mask_predict::simt {

inline constexpr unsigned char poison_byte = 0xff;
inline constexpr size_t largest_shared_bytes = 227 * 1024;

// ---- shared memory ----------------------------------------------------------------------------------------

char* shared_memory_begin();
void prepare_shared_memory(size_t bytes);

// Describes the bytes that were written outside of shared memory or of an allocation since the last call; empty if
// there are none.
std::string damage_to_memory();

// ---- device memory ----------------------------------------------------------------------------------------

void* allocate_device(size_t bytes);  // nullptr where there is none left
bool free_device(void* pointer);      // false for a pointer that allocate_device did not give

// For memory that a lost device does not take back: its pages go, its addresses stay.
void abandon_device(void* pointer);

// True if all of [pointer, pointer + bytes) lies in one allocation.
bool in_device_memory(const void* pointer, size_t bytes);

// True in an allocation that simt::freeze was called with. Such memory may be read before an earlier kernel has ended, and
// nothing may write to it.
bool is_frozen(const void* pointer);
// Throws Fault, which names the operation of the host, where it is.
void require_changeable(const char* operation, const void* pointer);

size_t device_memory_total();
size_t device_memory_used();

// While one of these lives, device memory can be read and written; else AddressSanitizer reports it, as the
// host of a real device must not touch it.
class DeviceMemoryInReach {
 public:
  DeviceMemoryInReach();
  ~DeviceMemoryInReach();
  DeviceMemoryInReach(const DeviceMemoryInReach&) = delete;
};

// ---- checks of a kernel's accesses ------------------------------------------------------------------------
// They end the kernel with an error that names the operation, the address and the bounds.

void check_shared(const char* operation, const void* pointer, size_t bytes, Site site);
void check_global(const char* operation, const void* pointer, size_t bytes, Site site);

}  // namespace mask_predict::simt
