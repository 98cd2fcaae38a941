#include <cstdint>

#include "addon/arguments.h"
#include "addon/file_lock.h"
#include "base/windows_system.h"

namespace mask_predict {
namespace {

// The numbers of Node.js's files are of its own C library, not of the one that this file is linked with.
HANDLE handle_of(int descriptor) {
  using GetHandle = HANDLE (*)(int);
  static const auto get = reinterpret_cast<GetHandle>(
      reinterpret_cast<void*>(::GetProcAddress(::GetModuleHandleW(nullptr), "uv_get_osfhandle")));
  return get == nullptr ? nullptr : get(descriptor);
}

}  // namespace

// Locks of Windows keep others from reading and writing the range: this one is one byte, where no file has any.
const char* try_lock(int descriptor) {
  const HANDLE file = handle_of(descriptor);
  if (file == nullptr) return "unsupported";
  if (file == INVALID_HANDLE_VALUE) invalid("descriptor is not an open file");
  OVERLAPPED place{};
  place.Offset = 0xfffffffe;
  place.OffsetHigh = 0x7fffffff;
  if (::LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place)) return "locked";
  const DWORD reason = ::GetLastError();
  if (reason == ERROR_LOCK_VIOLATION || reason == ERROR_IO_PENDING) return "busy";
  if (reason == ERROR_INVALID_HANDLE) invalid("descriptor is not an open file");
  return "unsupported";
}

}  // namespace mask_predict
