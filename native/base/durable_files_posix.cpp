#include <fcntl.h>
#include <unistd.h>

#include "base/durable_files.h"

namespace mask_predict {

std::FILE* open_to_write(const std::string& path) { return std::fopen(path.c_str(), "wb"); }

bool flush_to_disk(std::FILE* file) { return std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0; }

bool rename_over(const std::string& from, const std::string& to) { return std::rename(from.c_str(), to.c_str()) == 0; }

void remove_file(const std::string& path) { std::remove(path.c_str()); }

void flush_directory(const std::string& directory) {
  const int descriptor = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace mask_predict
