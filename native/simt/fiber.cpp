#include "simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace mask_predict::simt {

namespace {

constexpr size_t stack_bytes = 256 * 1024;  // only pages that are touched take memory

Fiber* origin;  // who made the switch under way
void (*entry_of_new)();

// Runs on the new stack, right after a switch.
void arrive([[maybe_unused]] Fiber* self) {
#ifdef __SANITIZE_ADDRESS__
  const void* stack;
  size_t bytes;
  __sanitizer_finish_switch_fiber(self ? self->fake_stack : nullptr, &stack, &bytes);
  if (!origin->stack) {  // the stack of the operating-system thread
    origin->stack = stack;
    origin->stack_bytes = bytes;
  }
#endif
}

void enter() {
  arrive(nullptr);
  entry_of_new();
  std::abort();
}

}  // namespace

void allocate_stack(Fiber& fiber) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory =
      mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
    std::fputs("simt: no memory for a thread's stack\n", stderr);
    std::abort();
  }
  fiber.stack = static_cast<char*>(memory) + page;
  fiber.stack_bytes = stack_bytes;
}

#ifdef __x86_64__

// Saves what a called function must preserve, stores the stack pointer at *rdi, takes rsi as the stack
// pointer, and returns to where that stack was left.
asm(R"(
.text
.p2align 4
.type mask_predict_switch_stack, @function
mask_predict_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mask_predict_switch_stack, . - mask_predict_switch_stack
)");
extern "C" void mask_predict_switch_stack(void** from, void* to);

void restart(Fiber& fiber, void (*entry)()) {
  entry_of_new = entry;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);  // frames of a kernel that was broken off
#endif
  const uintptr_t end = reinterpret_cast<uintptr_t>(fiber.stack) + fiber.stack_bytes;
  void** top = reinterpret_cast<void**>(end);
  *--top = nullptr;  // a function starts with the stack pointer 8 below a multiple of 16
  *--top = reinterpret_cast<void*>(&enter);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  fiber.context = top;
  fiber.fake_stack = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to) {
  origin = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
  mask_predict_switch_stack(&from.context, to.context);
  arrive(&from);
}

#else  // any other processor: slower, because every switch also sets the signal mask

void restart(Fiber& fiber, void (*entry)()) {
  entry_of_new = entry;
  auto* context = static_cast<ucontext_t*>(fiber.context);
  if (!context) fiber.context = context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = const_cast<void*>(fiber.stack);
  context->uc_stack.ss_size = fiber.stack_bytes;
  context->uc_link = nullptr;
  makecontext(context, &enter, 0);
  fiber.fake_stack = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to) {
  origin = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
#endif
  if (!from.context) from.context = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from.context), static_cast<ucontext_t*>(to.context));
  arrive(&from);
}

#endif

}  // namespace mask_predict::simt
