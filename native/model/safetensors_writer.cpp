#include "model/safetensors_writer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/safetensors_output.h"

namespace mask_predict {
namespace {

constexpr int64_t piece = 1 << 20;  // values narrowed at a time

int64_t count_of(const TensorToWrite& tensor) {
  int64_t count = 1;
  for (const int64_t extent : tensor.shape) count *= extent;
  return count;
}

const char* name_of(WeightType type) {
  return type == WeightType::F32 ? "F32" : type == WeightType::F16 ? "F16" : "BF16";
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

}  // namespace

void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors, WeightType type,
                       const std::map<std::string, std::string>& metadata, const std::atomic<bool>& cancelled) {
  std::vector<TensorOutline> outlines;
  for (const TensorToWrite& tensor : tensors)
    outlines.push_back(
        {tensor.name, name_of(type), tensor.shape, static_cast<uint64_t>(count_of(tensor) * bytes_of(type))});
  SafetensorsOutput output(path, outlines, metadata, cancelled);
  std::vector<uint16_t> narrowed;
  for (const TensorToWrite& tensor : tensors)
    for (int64_t first = 0, all = count_of(tensor); first < all; first += piece) {
      const int64_t count = std::min(piece, all - first);
      if (type == WeightType::F32) {
        output.put(tensor.values + first, static_cast<uint64_t>(count) * sizeof(float));
        continue;
      }
      narrow(tensor, first, count, type, narrowed);
      output.put(narrowed.data(), narrowed.size() * sizeof(uint16_t));
    }
  output.finish();
}

}  // namespace mask_predict
