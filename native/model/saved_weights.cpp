#include "model/saved_weights.h"

#include <deque>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/safetensors_output.h"
#include "model/tensor_table.h"

namespace mask_predict {
namespace {

// Tensors in the order of the file.
class Contents {
 public:
  void packed(const std::string& name, const PackedMatrix& matrix) {
    add(name, "U8", {static_cast<int64_t>(matrix.data.bytes())}, matrix.data.as<void>(), matrix.data.bytes());
  }
  void vector(const std::string& name, const float* values, int64_t size) {
    add(name, "F32", {size}, values, static_cast<uint64_t>(size) * sizeof(float));
  }
  void rows(const std::string& name, const float* values, int64_t rows, int64_t columns) {
    add(name, "F32", {rows, columns}, values, static_cast<uint64_t>(rows * columns) * sizeof(float));
  }
  // An unpacked copy: of a matrix that is small.
  void row_major(const std::string& name, const PackedMatrix& matrix) {
    std::vector<float>& values = copies_.emplace_back(static_cast<size_t>(matrix.outputs * matrix.inputs));
    for (int64_t i = 0; i < matrix.outputs; i++) cpu::unpack_row(matrix, i, values.data() + i * matrix.inputs);
    rows(name, values.data(), matrix.outputs, matrix.inputs);
  }

  const std::vector<TensorOutline>& outlines() const { return outlines_; }

  struct Bytes {
    const void* data;
    uint64_t size;
  };
  const std::vector<Bytes>& bytes() const { return bytes_; }

 private:
  void add(const std::string& name, const char* type, std::vector<int64_t> shape, const void* data, uint64_t size) {
    outlines_.push_back({name, type, std::move(shape), size});
    bytes_.push_back({data, size});
  }

  std::vector<TensorOutline> outlines_;
  std::vector<Bytes> bytes_;
  std::deque<std::vector<float>> copies_;
};

// Packed matrices first: each is a multiple of saved_alignment bytes, vectors are not.
Contents contents_of(const Weights& weights) {
  Contents contents;
  const auto nothing = [](const TensorEntry&, const auto&) {};
  const auto packed = [&](const TensorEntry& entry, const PackedMatrix& matrix) {
    if (!entry.is_never_bytes()) contents.packed(entry.name(), matrix);
  };
  const auto row_major = [&](const TensorEntry& entry, const PackedMatrix& matrix) {
    if (entry.is_never_bytes()) contents.row_major(entry.name(), matrix);
  };
  const auto values = [&](const TensorEntry& entry, const Buffer& buffer) {
    const float* next = buffer.as<float>();
    if (!entry.is_vector()) return contents.rows(entry.name(), next, entry.outputs, entry.inputs);
    const int64_t part = entry.outputs / static_cast<int64_t>(entry.names.size());
    for (const std::string& name : entry.names) contents.vector(name, std::exchange(next, next + part), part);
  };
  each_tensor(weights.config, weights, {packed, nothing});
  each_tensor(weights.config, weights, {row_major, values});
  return contents;
}

}  // namespace

void save_weights(const Weights& weights, const std::string& path, const std::atomic<bool>& cancelled) {
  if (weights.words.type != WeightType::I8 || weights.decoder().type != WeightType::I8)
    throw Error(ErrorCode::InvalidArgument,
                "only int8 weights can be saved; load the model with precision 'int8' and without headPrecision");
  const Contents contents = contents_of(weights);
  SafetensorsOutput output(path, contents.outlines(), {{saved_layout_key, saved_layout}}, cancelled);
  for (const auto& [data, size] : contents.bytes()) output.put(data, size);
  output.finish();
}

}  // namespace mask_predict
