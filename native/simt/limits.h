// The limits of a GPU of each compute capability on one block of a kernel: threads, registers and shared memory.
//
// A launch that needs more than its GPU has does not run on it, whatever the emulator could do. It is an error that names
// the kernel, the compute capability, the need and the limit.
#pragma once

#include <cstddef>
#include <string>

#include "simt/language.h"

namespace mask_predict::simt {

inline constexpr int most_block_threads = 1024;
inline constexpr int registers_of_multiprocessor = 64 * 1024;
inline constexpr int most_thread_registers = 255;

struct ComputeCapability {
  int major, minor;

  std::string name() const { return std::to_string(major) + "." + std::to_string(minor); }
};

// Bytes of shared memory ("Technical Specifications per Compute Capability" in NVIDIA's programming guide). Of those of
// a multiprocessor the driver keeps 1 KiB for each block.
struct SharedMemory {
  size_t without_asking;  // of a block that has not set cudaFuncAttributeMaxDynamicSharedMemorySize
  size_t of_block;
  size_t of_multiprocessor;
};
SharedMemory shared_memory_of(ComputeCapability capability);

// The compute capability of the code that runs there, of a binary for 8.0, 9.0, 10.0 and 12.0: 80, 90, …
int code_for(ComputeCapability capability);

// What __launch_bounds__ says of a kernel. Zeros: the kernel has none. -1: this compiler does not tell.
struct LaunchBounds {
  int threads;  // of a block, at most
  int blocks;   // that a multiprocessor is to hold, at least
};
LaunchBounds launch_bounds_of(const void* kernel);

// Registers of a thread at most: the compiler keeps to the launch bounds, and is free where there are none.
int most_registers(LaunchBounds bounds);

// Why a block of so many threads cannot be launched on such a GPU: a sentence without its end, or nothing if it can.
std::string beyond_limits(const char* kernel, LaunchBounds bounds, int threads, ComputeCapability capability);

// The same of shared memory.
std::string beyond_shared_memory(const char* kernel, size_t bytes, ComputeCapability capability);

}  // namespace mask_predict::simt
