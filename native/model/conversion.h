// A model of another kind of file as one of Hugging Face's: its tensors under those names, as views of the mapped files
// they are in, and their way into a safetensors file, tensor by tensor.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/config.h"

namespace mask_predict {

class MappedFile;

// Rows first ... first + rows - 1 of a tensor of one or two extents.
struct TensorPart {
  const Tensor* tensor = nullptr;
  int64_t first = 0;
  int64_t rows = 0;
};

struct ConvertedTensor {
  std::string name;  // Hugging Face's
  TensorType type = TensorType::F32;
  std::vector<int64_t> shape;
  std::vector<TensorPart> parts;  // none: zeros
  bool side_by_side = false;      // parts are joined along the columns, not along the rows

  uint64_t values() const;
};

struct Conversion {
  std::vector<ConvertedTensor> tensors;
  // Sizes as the tensors have them; layers 0 where a config.json says them, heads 0 where nothing does.
  ModelConfig config;
  std::vector<std::string> left_out;  // names of tensors that have no place

  // The tensors are views of these files.
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::deque<Tensor> stored;
  std::shared_ptr<const Checkpoint> checkpoint;

  const ConvertedTensor* find(const std::string& name) const;
  uint64_t file_bytes() const;
};

// Reads a checkpoint of fairseq: one file, or the parts of tensor parallelism in their order. Names are those of XLM-R's
// pretrained checkpoints (of 2019 as well) or of Instruct-XMLR's. Of what the file holds beside the tensors only numbers
// of its args or cfg are read. Throws Error(ModelFormat) that names the file and the tensor: a tensor that is missing, has
// another shape than the others ask for, or is there under two spellings; parts that do not fit each other.
Conversion read_fairseq(const std::vector<std::string>& paths);

// A checkpoint of Hugging Face, safetensors or of torch.save: a directory or one file.
Conversion read_checkpoint(const std::string& path);

// Leaves of every tensor that has a row for each id (the embeddings, the head's own matrix and its bias) only `rows`, which
// rise; config.vocabulary becomes their number. Throws Error(InvalidArgument) for rows that do not rise or are not there,
// Error(ModelFormat) that names a tensor with another number of rows than the embeddings.
void keep_rows(Conversion& conversion, const std::vector<int32_t>& rows);

// The last row of a matrix that is not all zeros, -1 if there is none.
int64_t last_row_in_use(const ConvertedTensor& matrix);
// True if both have the same bytes.
bool same_values(const ConvertedTensor& a, const ConvertedTensor& b);

// Writes the tensors, as BF16 or as they are. `progress` goes from 0 to 1. Throws what SafetensorsOutput throws.
void write_conversion(const Conversion& conversion, const std::string& path, bool as_bf16,
                      const std::function<void(double)>& progress, const std::atomic<bool>& cancelled);

}  // namespace mask_predict
