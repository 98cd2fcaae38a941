// The reader of model.safetensors.index.json, beside two shards that are right: a.safetensors has the tensors x and
// roberta.y, b.safetensors has z.
#include "base/mapped_file.h"
#include "model/checkpoint.h"

#include "target.h"

using namespace mask_predict;

namespace {

std::string shard(const std::string& header, size_t bytes) {
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  return file + header + std::string(bytes, '\1');
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::write_file("a.safetensors", shard(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                          R"("roberta.y":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}})",
                                          10));
  fuzz::write_file("b.safetensors", shard(R"({"z":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}})", 2));
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::write_file("model.safetensors.index.json", fuzz::text_of(data, size));
  fuzz::accepts([] {
    const Checkpoint checkpoint = Checkpoint::open(fuzz::directory(), FileUse::Map);
    fuzz::require(!checkpoint.files().empty());
    for (const char* name : {"x", "y", "z", "roberta.z"}) {
      const Tensor* tensor = checkpoint.find(name);
      if (tensor == nullptr) continue;
      fuzz::require(tensor->data[0] == 1 && tensor->data[tensor->bytes - 1] == 1);
    }
  });
  return 0;
}
