#include "base/mapped_file.h"

#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/paths.h"
#include "base/text.h"

namespace mask_predict {

void check_directory(const std::string& path) {
  check_path(path);
  std::error_code reason;
  const auto status = std::filesystem::status(path_of(path), reason);
  if (status.type() == std::filesystem::file_type::directory) return;
  if (status.type() == std::filesystem::file_type::not_found)
    throw Error(ErrorCode::ModelFormat, quote(path) + ": no such directory");
  throw Error(ErrorCode::ModelFormat, path + ": " + (reason ? reason.message() : "not a directory"));
}

bool entry_exists(const std::string& path) {
  std::error_code reason;
  return std::filesystem::symlink_status(path_of(path), reason).type() != std::filesystem::file_type::not_found;
}

}  // namespace mask_predict
