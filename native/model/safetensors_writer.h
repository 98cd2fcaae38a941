// Writes float32 values as a safetensors file of a type that is asked for (safetensors_output.h says how a file appears).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/numbers.h"

namespace mask_predict {

struct TensorToWrite {
  std::string name;
  std::vector<int64_t> shape;
  const float* values;
};

// `type`: F32, F16 or BF16; values are rounded to the nearest. Throws Error(InvalidArgument) that names the path and the
// system's reason, or the tensor with a finite value that the type cannot hold; Cancelled. Then no file of this call is
// left behind, and one that was at `path` is untouched.
void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors, WeightType type,
                       const std::map<std::string, std::string>& metadata, const std::atomic<bool>& cancelled);

}  // namespace mask_predict
