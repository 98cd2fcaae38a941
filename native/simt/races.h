// Finds accesses to shared memory that nothing orders, whatever the schedule: two threads come to the same
// bytes, at least one of them writes, and between them lies no barrier (nor, in one warp, a sync_warp). A
// shuffle orders nothing. Bytes that an asynchronous copy is still to deliver may not be touched at all.
//
// Sees what goes through ptx.cuh, in units of 2 bytes; single bytes are left out.
#pragma once

#include <cstddef>

#include "simt/block.h"

namespace mask_predict::simt {

void begin_block_of_accesses();
void order_block();         // at a barrier, once all threads are there
void order_warp(int warp);  // at a sync_warp

// Each ends the kernel where the access is not in order.
void note_read(const char* operation, const void* shared, size_t bytes, Site site);
void note_write(const char* operation, const void* shared, size_t bytes, Site site);

// An asynchronous copy of 16 bytes: when it starts and when it was waited for.
void note_copy_start(const void* shared, Site site);
void note_copy_end(const void* shared, Site site);

}  // namespace mask_predict::simt
