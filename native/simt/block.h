// One block of threads at a time: a fiber per thread, the turns they take, and where they wait for each
// other.
//
// Everything here is state of the one launch that runs in the process (Launch, block.cpp); launches of
// several operating-system threads wait for each other.
#pragma once

#include <cstdint>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "simt/fiber.h"
#include "simt/language.h"

namespace mask_predict::simt {

using Site = std::source_location;
std::string describe(Site site);  // file:line

// An error of a kernel, thrown to whoever runs it; the message names kernel, block and thread.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct KernelLaunch {
  const char* name;
  dim3 grid, block;
  size_t shared_bytes;
  bool dependent;  // may begin before the launch before it has ended
  const void* stream;
  std::function<void()> body;  // calls the kernel; run by every thread
};

// Runs all blocks. Throws Fault.
void run(const KernelLaunch& launch);

// ---- for the functions that kernels call ------------------------------------------------------------------

// Ends the kernel: "kernel K, block (x, y, z), thread t, file:line: message".
[[noreturn]] void fault(std::string message, Site site);

// A gap in the thread at which the random schedule may let others go on.
void may_pause();

// Waits for all 32 lanes, each at the same site of the same operation. The last one to arrive calls `compute`
// with the arguments of lanes 0 ... 31, for all of them.
void collective(const char* operation, void* argument, void (*compute)(void* const* arguments), Site site);

// A copy that has been started. A null source writes zeros.
struct AsyncCopy {
  void* shared;
  const void* global;
};

struct Thread {
  Fiber fiber;
  uint3 index;
  std::vector<AsyncCopy> copies;  // started, not applied, oldest first
  std::vector<size_t> groups;     // copies in each committed group, oldest first
  size_t uncommitted = 0;         // copies after the last group
  bool waited_for_earlier_kernels = false;
  const char* waits_in = nullptr;  // what for, if it waits
  Site waits_at;
};

Thread& running_thread();
int running_thread_number();
bool running_kernel_is_dependent();

}  // namespace mask_predict::simt
