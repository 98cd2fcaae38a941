#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/paths.h"
#include "base/windows_system.h"

namespace mask_predict {
namespace {

// The data() of an empty file points here, because the system maps no empty ranges.
const uint8_t nothing = 0;

[[noreturn]] void fail(const std::string& path, DWORD reason) {
  const ErrorCode code = errno_of(reason) == ENOMEM ? ErrorCode::OutOfMemory : ErrorCode::ModelFormat;
  throw Error(code, path + ": " + describe(reason));
}

class Handle {
 public:
  explicit Handle(HANDLE value) : value(value) {}
  ~Handle() {
    if (is_open()) ::CloseHandle(value);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  bool is_open() const { return value != nullptr && value != INVALID_HANDLE_VALUE; }
  const HANDLE value;
};

// Others may read, replace and remove the file meanwhile, as elsewhere. Directories open only with the last flag.
HANDLE open_shared(const std::string& path, DWORD access) {
  return ::CreateFileW(wide(path).c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                       OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr);
}

void read_whole(const Handle& file, const std::string& path, void* to, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    const auto wanted = static_cast<DWORD>(std::min(size - done, uint64_t{1} << 30));
    DWORD count = 0;
    if (!::ReadFile(file.value, static_cast<char*>(to) + done, wanted, &count, nullptr)) fail(path, ::GetLastError());
    if (count == 0) throw Error(ErrorCode::ModelFormat, path + ": it became shorter while it was read");
    done += count;
  }
}

uint64_t page_size() {
  SYSTEM_INFO info;
  ::GetSystemInfo(&info);
  return info.dwPageSize;
}

// A view keeps its mapping and file alive after their handles are closed.
const void* map_whole(const Handle& file, const std::string& path) {
  const Handle mapping(::CreateFileMappingW(file.value, nullptr, PAGE_READONLY, 0, 0, nullptr));
  if (!mapping.is_open()) fail(path, ::GetLastError());
  const void* const view = ::MapViewOfFile(mapping.value, FILE_MAP_READ, 0, 0, 0);
  if (view == nullptr) fail(path, ::GetLastError());
  return view;
}

}  // namespace

MappedFile::MappedFile(const std::string& path, FileUse use) : path_(path), use_(use), data_(&nothing) {
  check_path(path);
  const Handle file(open_shared(path, GENERIC_READ));
  if (!file.is_open()) fail(path, ::GetLastError());
  BY_HANDLE_FILE_INFORMATION status;
  if (::GetFileType(file.value) != FILE_TYPE_DISK || !::GetFileInformationByHandle(file.value, &status))
    throw Error(ErrorCode::ModelFormat, path + ": not a regular file");
  if ((status.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0)
    throw Error(ErrorCode::ModelFormat, path + ": Is a directory");
  const uint64_t size = uint64_t{status.nFileSizeHigh} << 32 | status.nFileSizeLow;
  if (size > std::numeric_limits<size_t>::max()) throw Error(ErrorCode::ModelFormat, path + ": File too large");
  if (size == 0) return;
  if (use == FileUse::Map) {
    data_ = static_cast<const uint8_t*>(map_whole(file, path));
  } else {
    void* const memory = ::VirtualAlloc(nullptr, static_cast<size_t>(size), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (memory == nullptr) fail(path, ::GetLastError());
    try {
      read_whole(file, path, memory, size);
    } catch (...) {
      ::VirtualFree(memory, 0, MEM_RELEASE);
      throw;
    }
    data_ = static_cast<const uint8_t*>(memory);
  }
  size_ = size;
}

MappedFile::~MappedFile() {
  if (size_ == 0) return;
  if (is_mapped())
    ::UnmapViewOfFile(data_);
  else
    ::VirtualFree(const_cast<uint8_t*>(data_), 0, MEM_RELEASE);
}

// Unlocking pages that are not locked takes them out of the process's working set, and nothing else.
void MappedFile::release(uint64_t offset, uint64_t length) const {
  if (!is_mapped()) return;
  const uint64_t page = page_size();
  offset = std::min(offset, size_);
  const uint64_t end = offset + std::min(length, size_ - offset);
  const uint64_t first = (offset + page - 1) / page * page;
  const uint64_t last = end == size_ ? end : end / page * page;
  if (first < last) ::VirtualUnlock(const_cast<uint8_t*>(data_) + first, static_cast<size_t>(last - first));
}

void MappedFile::fetch(uint64_t offset, uint64_t length) const {
  if (!is_mapped()) return;
  const uint64_t page = page_size();
  offset = std::min(offset, size_);
  const uint64_t end = offset + std::min(length, size_ - offset);
  for (uint64_t at = offset / page * page; at < end; at += page)
    static_cast<void>(static_cast<const volatile uint8_t*>(data_)[at]);
}

std::string stamp_of(const std::string& path) {
  const Handle file(open_shared(path, FILE_READ_ATTRIBUTES));
  BY_HANDLE_FILE_INFORMATION status;
  FILE_BASIC_INFO times;
  if (!file.is_open() || !::GetFileInformationByHandle(file.value, &status) ||
      !::GetFileInformationByHandleEx(file.value, FileBasicInfo, &times, sizeof times))
    return "none";
  std::string stamp;
  for (const auto part :
       {uint64_t{status.nFileSizeHigh} << 32 | status.nFileSizeLow, static_cast<uint64_t>(times.LastWriteTime.QuadPart),
        static_cast<uint64_t>(times.ChangeTime.QuadPart), uint64_t{status.dwVolumeSerialNumber},
        uint64_t{status.nFileIndexHigh} << 32 | status.nFileIndexLow})
    stamp += std::to_string(part) + " ";
  return stamp;
}

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  WIN32_FIND_DATAW entry;
  const HANDLE search = ::FindFirstFileW(wide(directory + "/*").c_str(), &entry);
  if (search == INVALID_HANDLE_VALUE) return names;
  try {
    do names.push_back(narrow(entry.cFileName));
    while (::FindNextFileW(search, &entry));
  } catch (...) {
    ::FindClose(search);
    throw;
  }
  ::FindClose(search);
  return names;
}

}  // namespace mask_predict
