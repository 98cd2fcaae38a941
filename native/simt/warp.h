// The parts of ptx.h: copies that arrive late, and the operations of a warp as meetings of its 32 lanes.
#pragma once

#include <cstdint>

#include "simt/access_counts.h"
#include "simt/block.h"

namespace mask_predict::simt {

void start_copy(void* shared, const void* global, bool valid, Site site, const char* source = copy_of_rows);
void commit_copies();
void wait_for_copies(int pending, Site site);

void load_matrices(const char* operation, int count, bool transposed, uint32_t* fragment, const void* row, Site site);
void multiply_add(float* accumulator, const uint32_t* a, uint32_t b0, uint32_t b1, Site site);
uint32_t vote(bool predicate, Site site);
void synchronize_warp(Site site);

// The value of lane `lane`.
template <class T>
T exchange(const char* operation, T value, int lane, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "as __shfl_sync");
  struct Argument {
    T value, result;
    int lane;
  } argument{value, value, lane};
  collective(
      operation, &argument,
      [](void* const* arguments) {
        for (int i = 0; i < 32; ++i) {
          Argument& own = *static_cast<Argument*>(arguments[i]);
          own.result = static_cast<Argument*>(arguments[own.lane])->value;
        }
      },
      site);
  return argument.result;
}

}  // namespace mask_predict::simt
