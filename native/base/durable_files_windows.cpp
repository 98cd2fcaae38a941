#include <io.h>

#include <cerrno>

#include "base/durable_files.h"
#include "base/windows_system.h"

namespace mask_predict {

std::FILE* open_to_write(const std::string& path) { return ::_wfopen(wide(path).c_str(), L"wb"); }

bool flush_to_disk(std::FILE* file) { return std::fflush(file) == 0 && ::_commit(::_fileno(file)) == 0; }

// Refused while somebody has the old file mapped, as an engine has the one it was loaded from.
bool rename_over(const std::string& from, const std::string& to) {
  if (::MoveFileExW(wide(from).c_str(), wide(to).c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
    return true;
  const int reason = errno_of(::GetLastError());
  errno = reason != 0 ? reason : EIO;
  return false;
}

void remove_file(const std::string& path) { ::DeleteFileW(wide(path).c_str()); }

// MOVEFILE_WRITE_THROUGH has done it.
void flush_directory(const std::string&) {}

}  // namespace mask_predict
