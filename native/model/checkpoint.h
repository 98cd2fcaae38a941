// The tensors of a model directory, memory-mapped, every offset checked before it is used: model.safetensors or the shards
// of model.safetensors.index.json, else pytorch_model.bin or the shards of pytorch_model.bin.index.json.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace mask_predict {

enum class TensorType { F32, F16, BF16, I64, U8, Other };

struct Tensor {
  std::string name;
  TensorType type = TensorType::Other;
  std::string type_name;  // as written in the file, for messages
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;   // in values; empty: row-major without gaps, as nearly every tensor is
  const uint8_t* data = nullptr;  // inside the mapping; not necessarily aligned
  uint64_t bytes = 0;             // of all values
  const MappedFile* file = nullptr;
};

// Rows first ... first + count - 1 (of a vector: values) in row-major order: where they lie, or, if the tensor has
// strides, copied to `buffer`. Only for tensors of one or two extents.
const uint8_t* rows_of(const Tensor& tensor, int64_t first, int64_t count, std::vector<uint8_t>& buffer);

class Checkpoint {
 public:
  // Throws Error(ModelFormat): no such directory or file, or anything in the files that is not as it must be.
  static Checkpoint open(const std::string& directory, FileUse use = FileUse::Map);
  // Opens one file of any name: safetensors, or one that torch.save wrote.
  static Checkpoint open_file(const std::string& path);

  // The tensor, with or without the "roberta." prefix in the file, or nullptr; prefixes that wrappers put before all
  // names ("module.", "_orig_mod.", "model.", "base_model.model.") are left out. Names removed as aliases of another
  // tensor (__metadata__ of the file) are found under that tensor.
  const Tensor* find(const std::string& name) const;

  // All tensors by the one spelling of their names: without "roberta." and the prefixes above.
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

  // For messages: how many tensors there are, and the names of some.
  std::string describe() const;

  // The value of this key in the __metadata__ of the first file that has it, or nullptr.
  const std::string* metadata(const std::string& key) const;

  // The mapping that holds the tensor's bytes; keep it as long as they are used.
  std::shared_ptr<const MappedFile> mapping(const Tensor& tensor) const;

  // Tells the system that the tensor's pages are no longer needed (they are read again if touched), or those of a part.
  void release(const Tensor& tensor) const { release(tensor, 0, tensor.bytes); }
  void release(const Tensor& tensor, uint64_t offset, uint64_t bytes) const;

  const std::vector<std::string>& files() const { return paths_; }

  uint64_t file_bytes() const;
  // Bytes of the files that were read into memory instead of mapped.
  uint64_t bytes_read() const;

 private:
  enum class Format { Safetensors, Torch };

  // Maps one file and adds its tensors and metadata; the names its tensors have in the file.
  std::set<std::string> add_file(const std::string& path, Format format);
  void add_shards(const std::string& index_path, const std::string& directory, Format format);
  // When all files are there: each tensor under the one spelling of its name.
  void settle_names();
  void add_tensor(Tensor tensor, const std::string& prefix);

  FileUse use_{};
  std::vector<std::shared_ptr<MappedFile>> mappings_;
  std::vector<std::string> paths_;
  std::vector<Tensor> found_;  // until names are settled
  // Both by the one spelling of a name: without "roberta.", LayerNorm's gamma and beta as weight and bias.
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> aliases_;  // removed name -> kept name
  std::map<std::string, std::string> metadata_;
};

}  // namespace mask_predict
