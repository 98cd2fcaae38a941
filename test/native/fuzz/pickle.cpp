// The reader of pickles: values that all lie in the pickle and refer to each other, or a PickleError whose offset lies in
// the input.
#include "model/pickle.h"

#include <set>

#include "target.h"

using namespace mask_predict;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = fuzz::text_of(data, size);
  try {
    const Pickle pickle(bytes);
    fuzz::require(pickle.size() <= size);
    std::set<const PickleValue*> values;
    for (const PickleValue& value : pickle.values()) values.insert(&value);
    const auto is_one = [&](const PickleValue* value) { return value == nullptr || values.count(value) != 0; };
    const auto lies_inside = [&](std::string_view text) {
      return text.empty() || (text.data() >= bytes.data() && text.data() + text.size() <= bytes.data() + size);
    };
    fuzz::require(is_one(&pickle.root()));
    for (const PickleValue& value : pickle.values()) {
      for (const PickleValue* item : value.items) fuzz::require(item != nullptr && is_one(item));
      fuzz::require(is_one(value.callable) && is_one(value.arguments) && is_one(value.state));
      fuzz::require(lies_inside(value.text) && lies_inside(value.name));
      fuzz::require(!value.describe().empty());
      fuzz::require(!value.is(PickleKind::Dictionary) || value.items.size() % 2 == 0);
      value.find("model");
    }
  } catch (const PickleError& error) {
    fuzz::require(error.offset <= size);
  }
  return 0;
}
