// Counts what the hardware would do with the accesses of a warp. Lanes run one after another here, so the
// accesses of one instruction are brought together first: the n-th time each lane of a warp comes to the same
// place.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/block.h"

namespace mask_predict::simt {

enum class Space { Shared, Global };

// Accesses to global memory by their names. Those of weights have a cache policy of their own.
inline constexpr const char* copy_of_rows = "cp_async_16 (source)";
inline constexpr const char* copy_of_weights = "cp_async_16 (weights)";
inline constexpr const char* load_of_weights = "load_global_once";

// Prints simt::report() at the end of the process, if MASK_PREDICT_SIMT_REPORT is set.
void report_at_exit();

void begin_counting(const KernelLaunch& launch, uint64_t blocks);
void finish_counting_block();

// The running lane's part of one instruction.
void count_access(Space space, const char* access, const void* pointer, size_t bytes, Site site);

// A whole instruction: `count` rows of 16 bytes that are read together (ldmatrix).
void count_rows(const char* access, const void* const* rows, int count, Site site);

}  // namespace mask_predict::simt
