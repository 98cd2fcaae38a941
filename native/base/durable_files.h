// Files that are written whole and last: on the disk before they get their name. Paths are UTF-8; reasons are in errno.
#pragma once

#include <cstdio>
#include <string>

namespace mask_predict {

// nullptr if it cannot be written.
std::FILE* open_to_write(const std::string& path);
// Forces the written bytes of the file to the disk.
bool flush_to_disk(std::FILE* file);
// Renames in one step, also over an existing file.
bool rename_over(const std::string& from, const std::string& to);
void remove_file(const std::string& path);
// A rename lasts when the directory is on the disk; a system that cannot do that for a directory is left alone.
void flush_directory(const std::string& directory);

}  // namespace mask_predict
