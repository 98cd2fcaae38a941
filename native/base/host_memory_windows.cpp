#include "base/host_memory.h"

#include <algorithm>

#include "base/windows_system.h"

namespace mask_predict {

void* take_pages(uint64_t bytes) {
  return ::VirtualAlloc(nullptr, static_cast<size_t>(bytes), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void release_pages(void* data, uint64_t) { ::VirtualFree(data, 0, MEM_RELEASE); }

uint64_t available_memory() {
  MEMORYSTATUSEX status;
  status.dwLength = sizeof status;
  if (!::GlobalMemoryStatusEx(&status)) return UINT64_MAX;
  return std::min<uint64_t>(status.ullAvailPhys, status.ullAvailPageFile);
}

}  // namespace mask_predict
