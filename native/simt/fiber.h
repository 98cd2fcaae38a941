// Fibers: stacks that one operating-system thread switches between at points of its own choosing.
// AddressSanitizer is told of every switch.
#pragma once

#include <cstddef>

namespace mask_predict::simt {

struct Fiber {
  void* context = nullptr;      // where it stopped
  void* fake_stack = nullptr;   // AddressSanitizer's
  const void* stack = nullptr;  // lowest address
  size_t stack_bytes = 0;
};

// A stack that stays for the life of the process, with a page below it that traps. Aborts the process where
// there is no memory.
void allocate_stack(Fiber& fiber);

// The next switch to `fiber`, which has a stack, calls `entry`, which never returns. What ran on it before is
// gone.
void restart(Fiber& fiber, void (*entry)());

// Saves the running fiber in `from` and goes on with `to`. Returns when something switches back.
void switch_fiber(Fiber& from, Fiber& to);

}  // namespace mask_predict::simt
