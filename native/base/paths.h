// Paths are UTF-8 in this code on every system. On Windows std::filesystem would take a std::string to be in the machine's
// code page, so strings become paths here.
#pragma once

#include <filesystem>
#include <string>

namespace mask_predict {

std::filesystem::path path_of(const std::string& utf8);
std::string text_of(const std::filesystem::path& path);

// Throws Error(ModelFormat) if there is a zero byte in the path: to the system it would name another file than to the
// reader of a message.
void check_path(const std::string& path);

}  // namespace mask_predict
