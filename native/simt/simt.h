// The interface between a test and the emulator. README.md explains the emulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace mask_predict::simt {

// ---- schedules --------------------------------------------------------------------------------------------
// Threads take turns where they wait: at barriers, warp functions and waits for copies. Blocks run one after
// the other.

enum class Order {
  RoundRobin,  // threads and blocks in their order
  Ahead,       // one warp runs as far as it can before the next one starts: the last one in the first block,
               // another one in each other block; lanes and blocks from the last to the first
  Random,      // drawn anew at every wait; blocks in random order
};

struct Schedule {
  Order order = Order::RoundRobin;
  uint64_t seed = 0;  // of Random
};

// For all later launches. Until it is called: MASK_PREDICT_SIMT_SCHEDULE = round-robin, ahead, random (with a
// seed from the clock, which is printed) or random:<seed>; round-robin without it.
void set_schedule(Schedule schedule);
Schedule current_schedule();
std::string describe(Schedule schedule);

// ---- races ------------------------------------------------------------------------------------------------

// Turns the check for races on or off: with it, which is the default, unordered accesses to shared memory end a kernel
// (races.h).
void check_races(bool wanted);

// ---- outputs ----------------------------------------------------------------------------------------------

// Fills device memory with the pattern that says "not written", which is a NaN in every float type. Fresh
// memory has it already.
void poison(void* device, size_t bytes);

// Throws Error(Device) that names `what` and the first element, of `element_bytes`, that still has the
// pattern.
void require_written(const void* device, size_t elements, size_t element_bytes, const std::string& what);

// ---- constant memory --------------------------------------------------------------------------------------

// The allocation that begins here is constant until it is freed: what a kernel writes to it, or a copy, is a fault.
// Kernels may read it, and nothing else, before wait_for_earlier_kernels(). Throws Error(Device) where none begins.
void freeze(const void* device);

// ---- limits -----------------------------------------------------------------------------------------------

// The memory of the device: what cudaMalloc gives out in all. 64 GiB unless set.
void set_device_memory(size_t bytes);

// ---- counts -----------------------------------------------------------------------------------------------

// Counts of the accesses that go through ptx.cuh, one for each warp and instruction.
struct AccessCounts {
  uint64_t shared_accesses = 0;
  uint64_t bank_conflicts = 0;  // passes over the shared memory beyond the ones the width of the access needs
  uint64_t global_accesses = 0;
  uint64_t sectors = 0;         // of 32 bytes, touched
  uint64_t needed_sectors = 0;  // that would hold the bytes asked for, if they lay side by side
};

struct SiteCounts {
  std::string site;  // file:line
  const char* access;
  AccessCounts counts;
};

struct KernelCounts {
  std::string kernel;
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t weight_sectors = 0;     // of what is read with a cache policy of its own, as weights are
  uint64_t most_threads = 0;       // of a block
  uint64_t most_shared_bytes = 0;  // of a block
  AccessCounts counts;
  std::vector<SiteCounts> sites;
};

// Since the process began or counts were reset. In the order of first launch.
std::vector<KernelCounts> counts();
KernelCounts counts(const std::string& kernel);  // zeros for one that was not launched
void reset_counts();

// A table of the counts and the largest blocks, with a line for every place that has conflicts or needless sectors. Printed to stderr
// at the end of the process if MASK_PREDICT_SIMT_REPORT is set.
std::string report();

}  // namespace mask_predict::simt
