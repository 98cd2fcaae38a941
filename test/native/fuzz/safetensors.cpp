// The reader of a safetensors header: tensors that lie in the file one behind the other, or Error(ModelFormat).
#include "model/safetensors.h"

#include "safetensors_mutation.h"
#include "target.h"

using namespace mask_predict;

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  return fuzz::mutate_safetensors(data, size, most, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::accepts([&] {
    const SafetensorsContents contents = read_safetensors(data, size, "model.safetensors");
    const uint8_t* end = nullptr;
    for (const Tensor& tensor : contents.tensors) {
      fuzz::require(end == nullptr || tensor.data == end);
      end = tensor.data + tensor.bytes;
      fuzz::require(tensor.data >= data && tensor.bytes <= size && end <= data + size);
    }
    fuzz::require(end == nullptr || end == data + size);
  });
  return 0;
}
