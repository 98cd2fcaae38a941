// The machine's memory, as each system gives it: files _posix and _windows, _linux and _macos.
#pragma once

#include <cstdint>

namespace mask_predict {

// Zeroed pages of their own, which go back to the system when they are released; nullptr if there are none. Aligned to 2 MiB
// and on huge pages where the system has those, else to 4 KiB at least. `bytes` is more than 0 and the same for both.
void* take_pages(uint64_t bytes);
void release_pages(void* data, uint64_t bytes);

// Bytes this process may still take: the machine's available memory or what its control group leaves.
uint64_t available_memory();

}  // namespace mask_predict
