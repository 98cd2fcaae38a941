// The safetensors format: u64 N, little-endian; N bytes of JSON that name every tensor with its type, shape
// and place; the tensors' bytes, one behind the other without gap.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/checkpoint.h"

namespace mask_predict {

struct SafetensorsContents {
  std::vector<Tensor> tensors;                  // in the order of their bytes; `data` points into the file
  std::map<std::string, std::string> metadata;  // __metadata__
};

// Reads and checks the header of the file that `data` and `size` are; `path` is for messages. After it
// returns, every tensor lies inside the file, is as large as its type and shape say, and overlaps no other;
// `data` of a tensor may have any alignment. Throws Error(ModelFormat) that names the file and the tensor for
// anything else: a header longer than the file or than 100 MB, not a JSON object from its first byte on,
// duplicate names, metadata that are not strings, an unknown type, bad shapes or offsets, gaps, overlaps, a
// truncated file and bytes after the last tensor. Fields of a tensor beside these are ignored.
SafetensorsContents read_safetensors(const uint8_t* data, uint64_t size, const std::string& path);

}  // namespace mask_predict
