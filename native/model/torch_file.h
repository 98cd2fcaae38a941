// A file of torch.save, in either of its containers: a zip archive (since torch 1.6) or pickles with the storages behind
// them. The values are read by the restricted reader of model/pickle.h, so that nothing in a file is ever called; tensors
// are views of the storages where they lie in the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/checkpoint.h"
#include "model/pickle.h"

namespace mask_predict {

class TorchFile {
 public:
  // Reads the file that `data` and `size` are and that must stay where it is; `path` is for messages. After it returns,
  // every storage the pickle names lies inside the file and is as large as the pickle says. Throws Error(ModelFormat) that
  // names the file: neither container, truncated, compressed, encrypted, two entries of one name, big-endian, a pickle
  // above 64 MB or one that model/pickle.h refuses.
  TorchFile(const uint8_t* data, uint64_t size, const std::string& path);

  const PickleValue& root() const { return pickle_->root(); }

  // The tensors of a dictionary, in its order; all of them lie inside their storages and have no more values than those.
  // Throws Error(ModelFormat) that names the entry: not a tensor, a name twice, a shape, an offset or strides that lead
  // out of the storage.
  std::vector<Tensor> tensors(const PickleValue& dictionary) const;

 private:
  struct Storage {
    TensorType type = TensorType::Other;
    const char* type_name = "";
    uint64_t value_bytes = 0;
    uint64_t values = 0;
    std::string key;
    const uint8_t* data = nullptr;
  };

  void read_archive(std::string_view file);
  void read_legacy(std::string_view file);
  void read_pickle(std::string_view bytes);
  Storage storage_of(const PickleValue& persistent) const;
  const PickleValue& tensor_call(const PickleValue& value, const std::string& where) const;
  Tensor tensor(std::string_view name, const PickleValue& value) const;

  std::string path_;
  std::unique_ptr<const Pickle> pickle_;
  std::map<const PickleValue*, Storage> storages_;  // by what names them in the pickle
};

}  // namespace mask_predict
