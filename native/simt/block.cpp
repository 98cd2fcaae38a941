#include "simt/block.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "simt/access_counts.h"
#include "simt/dependency.h"
#include "simt/memory.h"
#include "simt/races.h"
#include "simt/schedule.h"

namespace mask_predict::simt {

namespace {

constexpr int max_threads = 1024;
constexpr uint32_t all_lanes = 0xffffffff;

struct Warp {
  uint32_t ended = 0;
  uint32_t arrived = 0;  // lanes that wait in the collective
  const char* operation = nullptr;
  Site site;
  void* arguments[32];
};

struct Block {
  Fiber host;
  std::vector<Thread> threads;
  Warp warps[max_threads / 32];
  int warp_count = 0;
  Ready ready;
  int running = 0;
  int at_barrier = 0;
  Site barrier_site;
  const KernelLaunch* launch = nullptr;
  std::string failure;
};
Block& block = *new Block;  // for the life of the process, as the stacks in it

std::string describe_block() {
  return "(" + std::to_string(blockIdx.x) + ", " + std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ")";
}

bool equal(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

bool same(Site a, Site b) { return a.line() == b.line() && equal(a.file_name(), b.file_name()); }

// Leaves the kernel for good. What is on the running stack is never destroyed: no string may be left there.
[[noreturn]] void leave() {
  switch_fiber(block.threads[block.running].fiber, block.host);
  std::abort();
}

// Why nothing can go on: one thread that waits, and one that it waits for.
std::string describe_stuck() {
  const int count = block.warp_count * 32;
  const auto number_with = [&](auto&& condition) {
    for (int i = 0; i < count; ++i) {
      if (condition(i)) return i;
    }
    return -1;
  };
  const auto ended = [](int i) { return (block.warps[i / 32].ended >> i % 32 & 1) != 0; };
  const auto in_collective = [](int i) { return (block.warps[i / 32].arrived >> i % 32 & 1) != 0; };
  const int waiting_in_warp = number_with(in_collective);
  const bool warp = waiting_in_warp >= 0;
  const int waiting = warp ? waiting_in_warp : number_with([&](int i) { return !ended(i); });
  const int other = number_with(
      [&](int i) { return i != waiting && (warp ? i / 32 == waiting / 32 && !in_collective(i) : ended(i)); });
  const Thread& thread = block.threads[waiting];
  std::string text = std::string("kernel ") + block.launch->name + ", block " + describe_block() + ": thread " +
                     std::to_string(waiting) + " waits in " + thread.waits_in + " at " + describe(thread.waits_at);
  if (other < 0) return text;
  const Thread& missing = block.threads[other];
  text += " for thread " + std::to_string(other) + ", which ";
  return text + (ended(other) ? "has ended"
                              : std::string("waits in ") + missing.waits_in + " at " + describe(missing.waits_at));
}

std::string describe_mixed(const Warp& warp, const char* operation) {
  return std::string("calls ") + operation + " while other lanes of its warp wait in " + warp.operation + " at " +
         describe(warp.site);
}

// Lets the thread go on whose turn it is. Returns when it is the running thread's again.
void take_turns() {
  const int next = block.ready.take(block.running);
  if (next < 0) {
    const bool all_ended = std::all_of(block.warps, block.warps + block.warp_count,
                                       [](const Warp& warp) { return warp.ended == all_lanes; });
    if (!all_ended) block.failure = describe_stuck();
    leave();
  }
  if (next == block.running) return;
  Fiber& from = block.threads[block.running].fiber;
  block.running = next;
  threadIdx = block.threads[next].index;
  switch_fiber(from, block.threads[next].fiber);
}

void wait(const char* operation, Site site) {
  Thread& thread = block.threads[block.running];
  thread.waits_in = operation;
  thread.waits_at = site;
  take_turns();
  thread.waits_in = nullptr;
}

void thread_main() {
  block.launch->body();
  Thread& thread = running_thread();
  if (!thread.copies.empty()) {
    fault("ends with a cp.async that it has not waited for", Site{});
  }
  if (block.launch->dependent && !thread.waited_for_earlier_kernels) {
    fault("ends without wait_for_earlier_kernels() in a dependent launch", Site{});
  }
  block.warps[block.running / 32].ended |= 1u << block.running % 32;
  take_turns();
}

void run_block(uint3 index) {
  const dim3 size = block.launch->block;
  blockIdx = index;
  for (int i = 0; i < block.warp_count * 32; ++i) {
    Thread& thread = block.threads[i];
    const unsigned number = static_cast<unsigned>(i);
    thread.index = {number % size.x, number / size.x % size.y, number / size.x / size.y};
    thread.copies.clear();
    thread.groups.clear();
    thread.uncommitted = 0;
    thread.waited_for_earlier_kernels = false;
    restart(thread.fiber, thread_main);
  }
  for (int i = 0; i < block.warp_count; ++i) {
    block.warps[i] = Warp{};
    block.ready.add(i, all_lanes);
  }
  block.at_barrier = 0;
  block.failure.clear();
  block.running = block.ready.take(block.warp_count * 32 - 1);
  threadIdx = block.threads[block.running].index;
  switch_fiber(block.host, block.threads[block.running].fiber);
  if (!block.failure.empty()) throw Fault(block.failure + " (" + describe(current_schedule()) + ")");
}

}  // namespace

std::string describe(Site site) { return std::string(site.file_name()) + ":" + std::to_string(site.line()); }

void run(const KernelLaunch& launch) {
  block.launch = &launch;
  block.host.stack = nullptr;  // this operating-system thread's, learnt at the first switch
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  block.warp_count = static_cast<int>(threads / 32);
  while (block.threads.size() < threads) allocate_stack(block.threads.emplace_back().fiber);
  blockDim = launch.block;
  gridDim = launch.grid;

  const uint64_t blocks = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
  begin_counting(launch, blocks);
  begin_kernel(launch.stream, launch.dependent);
  const DeviceMemoryInReach in_reach;
  for (const uint64_t number : order_of_blocks(blocks)) {
    block.ready = Ready(block.warp_count, number);
    prepare_shared_memory(launch.shared_bytes);
    begin_block_of_accesses();
    const auto x = static_cast<unsigned>(number % launch.grid.x);
    const auto y = static_cast<unsigned>(number / launch.grid.x % launch.grid.y);
    const auto z = static_cast<unsigned>(number / launch.grid.x / launch.grid.y);
    run_block({x, y, z});
    finish_counting_block();
    const std::string damage = damage_to_memory();
    if (!damage.empty()) {
      throw Fault(std::string("kernel ") + launch.name + ", block " + describe_block() + ": " + damage + " (" +
                  describe(current_schedule()) + ")");
    }
  }
}

void fault(std::string message, Site site) {
  {
    const std::string text = std::move(message);
    block.failure = std::string("kernel ") + block.launch->name + ", block " + describe_block() + ", thread " +
                    std::to_string(block.running) + (site.line() ? ", " + describe(site) : "") + ": " + text;
  }
  leave();
}

void may_pause() {
  if (!pauses_here()) return;
  block.ready.add(block.running / 32, 1u << block.running % 32);
  take_turns();
}

void collective(const char* operation, void* argument, void (*compute)(void* const* arguments), Site site) {
  Warp& warp = block.warps[block.running / 32];
  const uint32_t self = 1u << block.running % 32;
  if (!warp.arrived) {
    warp.operation = operation;
    warp.site = site;
  } else if (!equal(warp.operation, operation) || !same(warp.site, site)) {
    fault(describe_mixed(warp, operation), site);
  }
  warp.arguments[block.running % 32] = argument;
  warp.arrived |= self;
  if (warp.arrived != all_lanes) return wait(operation, site);
  warp.arrived = 0;
  compute(warp.arguments);
  block.ready.add(block.running / 32, all_lanes & ~self);
}

Thread& running_thread() { return block.threads[block.running]; }
int running_thread_number() { return block.running; }
bool running_kernel_is_dependent() { return block.launch->dependent; }

}  // namespace mask_predict::simt

void __syncthreads(std::source_location site) {
  using namespace mask_predict::simt;
  if (!block.at_barrier) {
    block.barrier_site = site;
  } else if (!same(block.barrier_site, site)) {
    fault("reaches this barrier while other threads wait at " + describe(block.barrier_site), site);
  }
  if (++block.at_barrier == block.warp_count * 32) {
    block.at_barrier = 0;
    order_block();
    for (int i = 0; i < block.warp_count; ++i) block.ready.add(i, all_lanes);
  }
  wait("__syncthreads", site);
}

void __trap() { mask_predict::simt::fault("__trap()", {}); }
