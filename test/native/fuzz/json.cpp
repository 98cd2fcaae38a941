// The JSON reader: a value, or a JsonError whose offset lies in the text.
#include "base/json.h"
#include "base/text.h"

#include "target.h"

using namespace mask_predict;

namespace {

// Everything a reader of the value may ask for.
void visit(const JsonValue& value) {
  fuzz::require(!value.describe().empty());
  if (value.array() != nullptr)
    for (const JsonValue& element : *value.array()) visit(element);
  if (value.object() != nullptr) {
    for (const auto& [name, member] : *value.object()) {
      fuzz::require(value.find(name) == &member);
      fuzz::require(quote(name).size() >= 2);
      visit(member);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    visit(parse_json(fuzz::text_of(data, size)));
  } catch (const JsonError& error) {
    fuzz::require(error.offset <= size);
  }
  quote(fuzz::text_of(data, size));
  return 0;
}
