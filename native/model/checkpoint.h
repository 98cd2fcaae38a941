// The tensors of a model directory: model.safetensors, or the shards of model.safetensors.index.json,
// memory-mapped, every offset checked before it is used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace mask_predict {

enum class FileUse;
class MappedFile;

enum class TensorType { F32, F16, BF16, I64, U8, Other };

struct Tensor {
  std::string name;
  TensorType type = TensorType::Other;
  std::string type_name;  // as written in the file, for messages
  std::vector<int64_t> shape;
  const uint8_t* data = nullptr;  // inside the mapping; not necessarily aligned
  uint64_t bytes = 0;
  const MappedFile* file = nullptr;
};

class Checkpoint {
 public:
  // Throws Error(ModelFormat): no such directory or file, or anything in the files that is not as it must be.
  static Checkpoint open(const std::string& directory, FileUse use);

  // The tensor, with or without the "roberta." prefix in the file, or nullptr. Names removed as aliases of
  // another tensor (__metadata__ of the file) are found under that tensor.
  const Tensor* find(const std::string& name) const;

  // What the __metadata__ of the first file that has the key say, or nullptr.
  const std::string* metadata(const std::string& key) const;

  // What keeps the tensor's bytes mapped.
  std::shared_ptr<const MappedFile> mapping(const Tensor& tensor) const;

  // Tells the system that the tensor's pages are no longer needed (they are read again if touched), or those of a part.
  void release(const Tensor& tensor) const { release(tensor, 0, tensor.bytes); }
  void release(const Tensor& tensor, uint64_t offset, uint64_t bytes) const;

  const std::vector<std::string>& files() const { return paths_; }

  // Bytes of the files that were read into memory instead of mapped.
  uint64_t bytes_read() const;

 private:
  // Maps one file and adds its tensors and aliases; the names its tensors have in the file.
  std::set<std::string> add_file(const std::string& path);

  FileUse use_{};
  std::vector<std::shared_ptr<MappedFile>> mappings_;
  std::vector<std::string> paths_;
  // Both by the one spelling of a name: without "roberta.", LayerNorm's gamma and beta as weight and bias.
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> aliases_;  // removed name -> kept name
  std::map<std::string, std::string> metadata_;
};

}  // namespace mask_predict
