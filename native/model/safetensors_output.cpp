#include "model/safetensors_output.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/durable_files.h"
#include "base/error.h"
#include "base/paths.h"

namespace mask_predict {
namespace {

constexpr uint64_t piece = 4 << 20;  // bytes written between two looks at `cancelled`
constexpr uint64_t alignment = 64;

[[noreturn]] void fail(const std::string& path) {
  throw Error(ErrorCode::InvalidArgument, path + " cannot be written: " + std::generic_category().message(errno));
}

std::string json_string(const std::string& text) {
  std::string json = "\"";
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(byte));
      json += escaped;
      continue;
    }
    if (byte == '"' || byte == '\\') json += '\\';
    json += character;
  }
  return json + "\"";
}

// The length, and JSON with spaces behind it so that the tensors begin at a multiple of alignment.
std::string header_of(const std::vector<TensorOutline>& tensors, const std::map<std::string, std::string>& metadata) {
  std::string json;
  const auto member = [&](const std::string& name) {
    json += json.empty() ? "{" : ",";  // appended: GCC 12 warns of a prepended one
    json += json_string(name) + ":";
  };
  if (!metadata.empty()) {
    member("__metadata__");
    const char* before = "{";
    for (const auto& [key, value] : metadata) {
      json += before;
      json += json_string(key) + ":" + json_string(value);
      before = ",";
    }
    json += "}";
  }
  uint64_t end = 0;
  for (const TensorOutline& tensor : tensors) {
    member(tensor.name);
    std::string shape;
    for (const int64_t extent : tensor.shape) {
      if (!shape.empty()) shape += ',';
      shape += std::to_string(extent);
    }
    json += "{\"dtype\":\"";
    json += tensor.type;
    json += "\",\"shape\":[";
    json += shape;
    json += "],\"data_offsets\":[";
    json += std::to_string(end);
    json += ",";
    json += std::to_string(end + tensor.bytes);
    json += "]}";
    end += tensor.bytes;
  }
  json += json.empty() ? "{}" : "}";
  json.resize((json.size() + 8 + alignment - 1) / alignment * alignment - 8, ' ');
  std::string length;
  for (int i = 0; i < 8; i++) length += static_cast<char>(json.size() >> (8 * i) & 255);
  return length + json;
}

void make_directories(const std::filesystem::path& directory) {
  if (directory.empty()) return;
  std::error_code reason;
  std::filesystem::create_directories(directory, reason);
  if (reason) throw Error(ErrorCode::InvalidArgument, text_of(directory) + " cannot be made: " + reason.message());
}

}  // namespace

SafetensorsOutput::SafetensorsOutput(const std::string& path, const std::vector<TensorOutline>& tensors,
                                     const std::map<std::string, std::string>& metadata,
                                     const std::atomic<bool>& cancelled)
    : path_(path), partial_(path + ".partial"), cancelled_(cancelled) {
  make_directories(path_of(path).parent_path());
  file_.reset(open_to_write(partial_));
  if (!file_) fail(partial_);
  try {
    const std::string header = header_of(tensors, metadata);
    put(header.data(), header.size());
  } catch (...) {
    remove_file(partial_);
    throw;
  }
}

SafetensorsOutput::~SafetensorsOutput() {
  file_ = nullptr;
  remove_file(partial_);
}

void SafetensorsOutput::put(const void* bytes, uint64_t count) {
  const char* const from = static_cast<const char*>(bytes);
  for (uint64_t at = 0; at < count; at += piece) {
    if (cancelled_.load()) throw Cancelled();
    const auto part = static_cast<size_t>(std::min(piece, count - at));
    if (std::fwrite(from + at, 1, part, file_.get()) != part) fail(partial_);
  }
}

void SafetensorsOutput::finish() {
  if (!flush_to_disk(file_.get())) fail(partial_);
  if (std::fclose(file_.release()) != 0) fail(partial_);
  if (!rename_over(partial_, path_)) fail(path_);
  flush_directory(text_of(path_of(path_).parent_path()));
}

}  // namespace mask_predict
