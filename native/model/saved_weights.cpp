#include "model/saved_weights.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/tensor_table.h"

namespace mask_predict {
namespace {

constexpr size_t piece = 4 << 20;  // bytes written between two looks at `cancelled`

// Tensors in the order of the file, and its header.
class Contents {
 public:
  void packed(const std::string& name, const PackedMatrix& matrix) {
    add(name, "U8", std::to_string(matrix.data.bytes()), matrix.data.as<void>(), matrix.data.bytes());
  }
  void vector(const std::string& name, const float* values, int64_t size) {
    add(name, "F32", std::to_string(size), values, static_cast<uint64_t>(size) * sizeof(float));
  }
  void rows(const std::string& name, const float* values, int64_t rows, int64_t columns) {
    add(name, "F32", std::to_string(rows) + "," + std::to_string(columns), values,
        static_cast<uint64_t>(rows * columns) * sizeof(float));
  }
  // An unpacked copy: of a matrix that is small.
  void plain(const std::string& name, const PackedMatrix& matrix) {
    std::vector<float>& values = copies_.emplace_back(static_cast<size_t>(matrix.outputs * matrix.inputs));
    for (int64_t i = 0; i < matrix.outputs; i++) cpu::unpack_row(matrix, i, values.data() + i * matrix.inputs);
    rows(name, values.data(), matrix.outputs, matrix.inputs);
  }

  // The length, and JSON with spaces behind it so that the tensors begin at a multiple of saved_alignment.
  std::string header() const {
    std::string json =
        std::string("{\"__metadata__\":{\"") + saved_layout_key + "\":\"" + saved_layout + "\"}" + entries_ + "}";
    json.resize((json.size() + 8 + saved_alignment - 1) / saved_alignment * saved_alignment - 8, ' ');
    std::string length;
    for (int i = 0; i < 8; i++) length += static_cast<char>(json.size() >> (8 * i) & 255);
    return length + json;
  }

  struct Bytes {
    const char* data;
    uint64_t size;
  };
  const std::vector<Bytes>& bytes() const { return bytes_; }

 private:
  void add(const std::string& name, const char* type, const std::string& shape, const void* data, uint64_t size) {
    entries_ += ",\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
                std::to_string(end_) + "," + std::to_string(end_ + size) + "]}";
    end_ += size;
    bytes_.push_back({static_cast<const char*>(data), size});
  }

  std::string entries_;
  std::vector<Bytes> bytes_;
  std::deque<std::vector<float>> copies_;
  uint64_t end_ = 0;
};

// Packed matrices first: each is a multiple of saved_alignment bytes, vectors are not.
Contents contents_of(const Weights& weights) {
  Contents contents;
  const auto nothing = [](const TensorEntry&, const auto&) {};
  const auto packed = [&](const TensorEntry& entry, const PackedMatrix& matrix) {
    if (entry.role != TensorEntry::Role::Lengths) contents.packed(entry.name(), matrix);
  };
  const auto plain = [&](const TensorEntry& entry, const PackedMatrix& matrix) {
    if (entry.role == TensorEntry::Role::Lengths) contents.plain(entry.name(), matrix);
  };
  const auto values = [&](const TensorEntry& entry, const Buffer& buffer) {
    const float* next = buffer.as<float>();
    if (!entry.is_vector()) return contents.rows(entry.name(), next, entry.outputs, entry.inputs);
    const int64_t part = entry.outputs / static_cast<int64_t>(entry.names.size());
    for (const std::string& name : entry.names) contents.vector(name, std::exchange(next, next + part), part);
  };
  each_tensor(weights.config, weights, {packed, nothing});
  each_tensor(weights.config, weights, {plain, values});
  return contents;
}

[[noreturn]] void fail(const std::string& path) {
  throw Error(ErrorCode::InvalidArgument, path + " cannot be written: " + std::generic_category().message(errno));
}

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// A file that is removed again unless it is kept.
struct Temporary {
  const std::string path;
  ~Temporary() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

}  // namespace

void save_weights(const Weights& weights, const std::string& path, const std::atomic<bool>& cancelled) {
  if (weights.words.type != WeightType::I8)
    throw Error(ErrorCode::InvalidArgument, "only int8 weights can be saved; load the model with precision 'int8'");
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  std::error_code reason;
  std::filesystem::create_directories(directory, reason);
  if (reason) throw Error(ErrorCode::InvalidArgument, directory.string() + " cannot be made: " + reason.message());
  const Contents contents = contents_of(weights);
  const Temporary temporary{path + ".partial"};
  std::unique_ptr<std::FILE, Close> file(std::fopen(temporary.path.c_str(), "wb"));
  if (!file) fail(temporary.path);
  const std::string header = contents.header();
  if (std::fwrite(header.data(), 1, header.size(), file.get()) != header.size()) fail(temporary.path);
  for (const auto& [data, size] : contents.bytes())
    for (uint64_t at = 0; at < size; at += piece) {
      if (cancelled.load()) throw Cancelled();
      const size_t count = std::min<size_t>(piece, size - at);
      if (std::fwrite(data + at, 1, count, file.get()) != count) fail(temporary.path);
    }
  if (std::fclose(file.release()) != 0) fail(temporary.path);
  if (std::rename(temporary.path.c_str(), path.c_str()) != 0) fail(path);
}

}  // namespace mask_predict
