#include <sys/mman.h>
#include <unistd.h>

#include "base/host_memory.h"

namespace mask_predict {
namespace {

constexpr uint64_t huge_page = 2 << 20;

uint64_t whole_pages(uint64_t bytes) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

void* take_pages(uint64_t bytes) {
  const uint64_t mapped = bytes + huge_page;
  void* const all = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  char* const base = static_cast<char*>(all);
  const uint64_t skip = (huge_page - reinterpret_cast<uintptr_t>(base) % huge_page) % huge_page;
  const uint64_t kept = whole_pages(bytes);
  if (skip > 0) munmap(base, skip);
  if (mapped - skip > kept) munmap(base + skip + kept, mapped - skip - kept);
#if defined(MADV_HUGEPAGE)
  madvise(base + skip, kept, MADV_HUGEPAGE);
#endif
  return base + skip;
}

void release_pages(void* data, uint64_t bytes) { munmap(data, whole_pages(bytes)); }

}  // namespace mask_predict
