// Dependent launches: a kernel may begin while the ones before it still run. Before it waits for them it must not write,
// and may read constant memory only (simt::freeze), which they have not just filled. Kernels run one after the other here,
// so the order is checked instead.
//
// Sees the global loads, stores and copies that go through ptx.cuh.
#pragma once

#include <cstddef>

#include "simt/block.h"

namespace mask_predict::simt {

// `stream` tells apart what is ordered; it is not looked into.
void begin_kernel(const void* stream, bool dependent);
// Other work in a stream, which no kernel overtakes.
void forget_kernels();

void note_global_read(const char* operation, const void* pointer, size_t bytes, Site site);
void note_global_write(const char* operation, const void* pointer, size_t bytes, Site site);
void note_next_kernel_allowed();

}  // namespace mask_predict::simt
