#include "base/paths.h"

#include "base/error.h"
#include "base/text.h"

namespace mask_predict {

std::filesystem::path path_of(const std::string& utf8) {
  return std::filesystem::path(std::u8string(utf8.begin(), utf8.end()));
}

std::string text_of(const std::filesystem::path& path) {
  const std::u8string utf8 = path.u8string();
  return std::string(utf8.begin(), utf8.end());
}

void check_path(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    throw Error(ErrorCode::ModelFormat, quote(path) + ": a path cannot have a zero byte in it");
}

}  // namespace mask_predict
