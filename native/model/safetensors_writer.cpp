#include "model/safetensors_writer.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include "base/error.h"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <unistd.h>
#endif

namespace mask_predict {
namespace {

constexpr int64_t piece = 1 << 20;  // values written between two looks at `cancelled`
constexpr uint64_t alignment = 64;

[[noreturn]] void fail(const std::string& path) {
  throw Error(ErrorCode::InvalidArgument, path + " cannot be written: " + std::generic_category().message(errno));
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// A file that is removed again unless it was renamed.
struct Temporary {
  const std::string path;
  ~Temporary() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

std::string json_string(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      json += escape;
    } else {
      json += c;
    }
  }
  return json + "\"";
}

int64_t count_of(const TensorToWrite& tensor) {
  int64_t count = 1;
  for (const int64_t extent : tensor.shape) count *= extent;
  return count;
}

const char* name_of(WeightType type) {
  return type == WeightType::F32 ? "F32" : type == WeightType::F16 ? "F16" : "BF16";
}

// The length, and JSON with spaces behind it so that the tensors begin at a multiple of `alignment`.
std::string header_of(const std::vector<TensorToWrite>& tensors, WeightType type,
                      const std::map<std::string, std::string>& metadata) {
  std::string json = "{\"__metadata__\":{";
  const char* comma = "";
  for (const auto& [key, value] : metadata) {
    json += comma + json_string(key) + ":" + json_string(value);
    comma = ",";
  }
  json += "}";
  int64_t end = 0;
  for (const TensorToWrite& tensor : tensors) {
    std::string shape;
    for (const int64_t extent : tensor.shape) shape += (shape.empty() ? "" : ",") + std::to_string(extent);
    const int64_t begin = end;
    end += count_of(tensor) * bytes_of(type);
    json += "," + json_string(tensor.name) + ":{\"dtype\":\"" + name_of(type) + "\",\"shape\":[" + shape +
            "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  }
  json += "}";
  json.resize((json.size() + 8 + alignment - 1) / alignment * alignment - 8, ' ');
  std::string header;
  for (int i = 0; i < 8; i++) header += static_cast<char>(json.size() >> (8 * i) & 255);
  return header + json;
}

void narrow(const TensorToWrite& tensor, int64_t first, int64_t count, WeightType type, std::vector<uint16_t>& to) {
  to.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) {
    const float value = tensor.values[first + i];
    const uint16_t bits = type == WeightType::F16 ? float_to_half(value) : float_to_bf16(value);
    const float kept = type == WeightType::F16 ? half_to_float(bits) : bf16_to_float(bits);
    if (std::isfinite(value) && !std::isfinite(kept))
      throw Error(ErrorCode::InvalidArgument, "tensor \"" + tensor.name + "\" has the value " + std::to_string(value) +
                                                  ", which " + name_of(type) +
                                                  " cannot hold; save with precision 'bf16' or 'fp32'");
    to[static_cast<size_t>(i)] = bits;
  }
}

void flush(std::FILE* file, const std::string& path) {
  if (std::fflush(file) != 0) fail(path);
#if defined(__unix__) || defined(__APPLE__)
  if (fsync(fileno(file)) != 0) fail(path);
#endif
}

// A rename lasts when the directory is on the disk; a system that cannot do that for a directory is left alone.
void flush_directory(const std::filesystem::path& directory) {
#if defined(__unix__) || defined(__APPLE__)
  const int descriptor = open(directory.empty() ? "." : directory.c_str(), O_RDONLY);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
#endif
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors, WeightType type,
                       const std::map<std::string, std::string>& metadata, const std::atomic<bool>& cancelled) {
  const Temporary temporary{path + ".partial"};
  std::unique_ptr<std::FILE, Close> file(std::fopen(temporary.path.c_str(), "wb"));
  if (!file) fail(temporary.path);
  const auto write = [&](const void* bytes, size_t count) {
    if (std::fwrite(bytes, 1, count, file.get()) != count) fail(temporary.path);
  };
  const std::string header = header_of(tensors, type, metadata);
  write(header.data(), header.size());
  std::vector<uint16_t> narrowed;
  for (const TensorToWrite& tensor : tensors)
    for (int64_t first = 0, all = count_of(tensor); first < all; first += piece) {
      if (cancelled.load()) throw Cancelled();
      const int64_t count = std::min(piece, all - first);
      if (type == WeightType::F32) {
        write(tensor.values + first, static_cast<size_t>(count) * sizeof(float));
        continue;
      }
      narrow(tensor, first, count, type, narrowed);
      write(narrowed.data(), narrowed.size() * sizeof(uint16_t));
    }
  flush(file.get(), temporary.path);
  if (std::fclose(file.release()) != 0) fail(temporary.path);
  if (std::rename(temporary.path.c_str(), path.c_str()) != 0) fail(path);
  flush_directory(std::filesystem::path(path).parent_path());
}

}  // namespace mask_predict
