#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/paths.h"

namespace mask_predict {
namespace {

// The data() of an empty file points here, because the system maps no empty ranges.
const uint8_t nothing = 0;

[[noreturn]] void fail(const std::string& path, int reason) {
  const ErrorCode code = reason == ENOMEM ? ErrorCode::OutOfMemory : ErrorCode::ModelFormat;
  throw Error(code, path + ": " + std::generic_category().message(reason));
}

class Descriptor {
 public:
  // O_NONBLOCK so that opening a pipe by mistake is an error below and not a wait for its writer.
  explicit Descriptor(const std::string& path) : number(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int number;
};

// Fills `to` from the file's beginning.
void read_whole(const Descriptor& descriptor, const std::string& path, void* to, uint64_t size) {
  for (uint64_t done = 0; done < size;) {
    const auto wanted = static_cast<size_t>(std::min(size - done, uint64_t{1} << 30));
    const ssize_t count = ::pread(descriptor.number, static_cast<char*>(to) + done, wanted, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, errno);
    if (count == 0) throw Error(ErrorCode::ModelFormat, path + ": it became shorter while it was read");
    done += static_cast<uint64_t>(count);
  }
}

}  // namespace

MappedFile::MappedFile(const std::string& path, FileUse use) : path_(path), use_(use), data_(&nothing) {
  check_path(path);
  const Descriptor descriptor(path);
  if (descriptor.number < 0) fail(path, errno);
  struct stat status;
  if (::fstat(descriptor.number, &status) != 0) fail(path, errno);
  if (S_ISDIR(status.st_mode)) fail(path, EISDIR);
  if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::ModelFormat, path + ": not a regular file");
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > std::numeric_limits<size_t>::max()) fail(path, EFBIG);
  if (size == 0) return;
  const bool map = use == FileUse::Map;
  void* mapping =
      map ? ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_SHARED, descriptor.number, 0)
          : ::mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) fail(path, errno);
  try {
    if (!map) read_whole(descriptor, path, mapping, size);
  } catch (...) {
    ::munmap(mapping, static_cast<size_t>(size));
    throw;
  }
  data_ = static_cast<const uint8_t*>(mapping);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (size_ != 0) ::munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(size_));
}

void MappedFile::release(uint64_t offset, uint64_t length) const {
  if (!is_mapped()) return;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  offset = std::min(offset, size_);
  const uint64_t end = offset + std::min(length, size_ - offset);
  const uint64_t first = (offset + page - 1) / page * page;
  // The last page of the file belongs to nothing else, even where the file ends inside it.
  const uint64_t last = end == size_ ? end : end / page * page;
  if (first >= last) return;
  ::madvise(const_cast<uint8_t*>(data_) + first, static_cast<size_t>(last - first), MADV_DONTNEED);
}

void MappedFile::fetch(uint64_t offset, uint64_t length) const {
  if (!is_mapped()) return;
#if defined(MADV_POPULATE_READ)
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  offset = std::min(offset, size_);
  const uint64_t first = offset / page * page, end = offset + std::min(length, size_ - offset);
  if (first < end) ::madvise(const_cast<uint8_t*>(data_) + first, static_cast<size_t>(end - first), MADV_POPULATE_READ);
#else
  static_cast<void>(offset);
  static_cast<void>(length);
#endif
}

std::string stamp_of(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return "none";
#if defined(__APPLE__)
  const timespec &written = status.st_mtimespec, &changed = status.st_ctimespec;
#else
  const timespec &written = status.st_mtim, &changed = status.st_ctim;
#endif
  std::string stamp;
  // The time of the last change of the file's entry is nobody's to set; the file's number differs after a rename.
  for (const auto part : {static_cast<int64_t>(status.st_size), static_cast<int64_t>(written.tv_sec),
                          static_cast<int64_t>(written.tv_nsec), static_cast<int64_t>(changed.tv_sec),
                          static_cast<int64_t>(changed.tv_nsec), static_cast<int64_t>(status.st_dev),
                          static_cast<int64_t>(status.st_ino)})
    stamp += std::to_string(part) + " ";
  return stamp;
}

// Not std::filesystem's iterator, which ends the process where it is refused memory.
std::vector<std::string> entries_of(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  std::vector<std::string> names;
  while (const dirent* entry = open == nullptr ? nullptr : ::readdir(open.get())) names.emplace_back(entry->d_name);
  return names;
}

}  // namespace mask_predict
