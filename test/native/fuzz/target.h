// Code that the fuzz targets share. A target is one LLVMFuzzerTestOneInput: it feeds the input to one of the readers of
// model files and passes if that returns or throws what its header promises; anything else, and every finding of the
// sanitizers, ends the process.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.h"

namespace mask_predict::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Runs `body`; whether it ended without Error(ModelFormat), or Error(OutOfMemory) of a budget.
template <class Body>
bool accepts(const Body& body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    if (error.code != ErrorCode::ModelFormat && error.code != ErrorCode::OutOfMemory) throw;
    return false;
  }
}

// A condition that holds for every input.
inline void require(bool condition) {
  if (!condition) std::abort();
}

// The empty directory, in memory, that run.cjs made for this process.
inline const std::string& directory() {
  static const std::string path = [] {
    const char* named = std::getenv("FUZZ_DIRECTORY");
    require(named != nullptr);
    return std::string(named);
  }();
  return path;
}

inline void write_file(const std::string& name, std::string_view content) {
  std::ofstream file(directory() + "/" + name, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  require(file.good());
}

}  // namespace mask_predict::fuzz
