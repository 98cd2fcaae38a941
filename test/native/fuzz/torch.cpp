// The reader of torch.save's files: tensors all of whose values lie in the file, or Error(ModelFormat). And fairseq's
// names over it: a whole model, or Error(ModelFormat).
#include "model/torch_file.h"

#include "base/numbers.h"
#include "model/conversion.h"
#include "target.h"
#include "torch_mutation.h"

using namespace mask_predict;

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  return fuzz::mutate_torch_file(data, size, most, seed);
}

namespace {

// Touches every value, in any order the strides give.
void visit(const Tensor& tensor, const uint8_t* data, size_t size) {
  if (tensor.bytes == 0) return;
  fuzz::require(tensor.data >= data && tensor.data < data + size && tensor.bytes <= size);
  if (tensor.shape.empty() || tensor.shape.size() > 2) return;
  std::vector<uint8_t> buffer;
  const uint8_t* const rows = rows_of(tensor, 0, tensor.shape[0], buffer);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < tensor.bytes; i++) sum += rows[i];
  fuzz::require(sum <= 255 * tensor.bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::accepts([&] {
    const TorchFile file(data, size, "pytorch_model.bin");
    const PickleValue* const model = file.root().find("model");
    for (const Tensor& tensor : file.tensors(model == nullptr ? file.root() : *model)) visit(tensor, data, size);
  });
  fuzz::write_file("model.pt", fuzz::text_of(data, size));
  fuzz::accepts([&] {
    const Conversion conversion = read_fairseq({fuzz::directory() + "/model.pt"});
    fuzz::require(conversion.config.vocabulary > 0 && conversion.config.parameters() > 0);
    const ConvertedTensor* const words = conversion.find("roberta.embeddings.word_embeddings.weight");
    fuzz::require(words != nullptr && last_row_in_use(*words) < words->shape[0]);
    const std::atomic<bool> cancelled{false};
    write_conversion(conversion, fuzz::directory() + "/out/model.safetensors", size % 2 == 0, {}, cancelled);
  });
  return 0;
}
