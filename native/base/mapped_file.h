// A file mapped into memory, read-only, as long as the object lives. Pages come from the system's page cache,
// so every process and engine that maps the same file shares them. A file that is made shorter meanwhile ends the process
// at the next touch of what is gone (SIGBUS), which nothing can prevent: files are replaced by renaming. What was read
// into memory instead has no such end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mask_predict {

enum class FileUse { Map, Read };

class MappedFile {
 public:
  // Throws Error(ModelFormat) that names the path and the reason: not there, not readable, not a regular
  // file, or one that became shorter while it was read; Error(OutOfMemory) if the system has no memory for it.
  explicit MappedFile(const std::string& path, FileUse use = FileUse::Map);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }  // never nullptr, also for an empty file
  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  bool is_mapped() const { return use_ == FileUse::Map; }

  // Tells the system that the whole pages inside [offset, offset + length) are not needed for now; touching
  // them reads them again. What reaches beyond the file is ignored. What was read is kept.
  void release(uint64_t offset, uint64_t length) const;
  // Reads the whole pages of [offset, offset + length) now, where the system can be asked to.
  void fetch(uint64_t offset, uint64_t length) const;

 private:
  std::string path_;
  FileUse use_;
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

// Throws Error(ModelFormat) if there is no directory of that name.
void check_directory(const std::string& path);

// True if a directory entry of that name exists, even a link that leads nowhere: opening it then fails with a clear
// error.
bool entry_exists(const std::string& path);

// Size, times, and where it lies on the disk: another text for a file that was changed or replaced, whatever time stamp
// it was given afterwards. A file that is not there has one too.
std::string stamp_of(const std::string& path);

// Names of what is in a directory; none if it cannot be read.
std::vector<std::string> entries_of(const std::string& directory);

}  // namespace mask_predict
