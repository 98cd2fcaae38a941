// Whose turn it is: the threads of a block that could go on, and the rule by which one of them does.
#pragma once

#include <cstdint>
#include <vector>

#include "simt/simt.h"

namespace mask_predict::simt {

class Ready {
 public:
  Ready() = default;
  // `block_number` chooses the warp that runs ahead.
  Ready(int warps, uint64_t block_number);

  void add(int warp, uint32_t lanes);

  // The thread whose turn it is after thread `running`; it is no longer among the ready ones. -1 if there is
  // none.
  int take(int running);

 private:
  int choose(int running) const;

  uint32_t lanes_[32] = {};  // of each warp
  uint32_t warps_ = 0;       // that have such lanes
  int warp_count_ = 0;
  int first_warp_ = 0;
};

// The numbers 0 ... count - 1 in the order in which the blocks run.
std::vector<uint64_t> order_of_blocks(uint64_t count);

// True if a thread that need not wait lets others go on, this time.
bool pauses_here();

}  // namespace mask_predict::simt
