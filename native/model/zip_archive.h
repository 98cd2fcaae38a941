// The entries of a zip archive that are stored as they are, where they lie in it: what torch.save writes. No file is
// taken out of it and nothing is copied.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace mask_predict {

class ZipArchive {
 public:
  // `file` is the whole archive and must stay where it is; `path` is for messages. The central directory alone says what
  // is in it, with zip64's sizes where there are any. Throws Error(ModelFormat): no or a truncated directory, several
  // disks, an entry that is compressed, encrypted, outside the file or there twice.
  ZipArchive(std::string_view file, const std::string& path);

  // Names and contents.
  const std::map<std::string, std::string_view>& entries() const { return entries_; }
  // The content of that name, or nullptr.
  const std::string_view* find(const std::string& name) const;

 private:
  std::map<std::string, std::string_view> entries_;
};

}  // namespace mask_predict
