// A restricted reader of Python's pickles, as torch.save writes them. It calls nothing: a pickle is a program, and what
// it wants to call or to make becomes a value that says what was asked for (PickleKind::Made). Only an OrderedDict is
// made what it is, a dictionary.
//
// Opcodes are those torch.save and fairseq emit; any other is an error. Values lie in the Pickle, texts in its bytes.
#pragma once

#include <cstdint>
#include <deque>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mask_predict {

enum class PickleKind {
  None,
  Boolean,
  Integer,
  LongInteger,  // more than 64 bits: `text` has its bytes, little-endian
  Real,
  Text,
  Bytes,
  Tuple,
  List,
  Set,
  Dictionary,
  Global,      // a name: module `text`, attribute `name`
  Persistent,  // what the file's format gives a meaning to: `arguments`
  Made,        // `callable` applied to `arguments`, with what BUILD gave it as `state`
};

struct PickleValue {
  PickleKind kind = PickleKind::None;
  int64_t integer = 0;  // also of a Boolean: 0 or 1
  double real = 0;
  std::string_view text;
  std::string_view name;
  std::vector<const PickleValue*> items;  // of a Dictionary: a key, its value, the next key, ...
  const PickleValue* callable = nullptr;
  const PickleValue* arguments = nullptr;
  const PickleValue* state = nullptr;

  bool is(PickleKind other) const { return kind == other; }
  bool is_global(std::string_view module, std::string_view attribute) const {
    return kind == PickleKind::Global && text == module && name == attribute;
  }
  // The last value under a text as key, or nullptr; also nullptr if this is no dictionary.
  const PickleValue* find(std::string_view key) const;
  // For messages: "a number", "what posix.system would make".
  std::string describe() const;
};

// An error in a pickle, with the byte at which it was found.
class PickleError : public std::runtime_error {
 public:
  PickleError(const std::string& message, uint64_t offset)
      : std::runtime_error("its pickle has, at byte " + std::to_string(offset) + ", " + message), offset(offset) {}
  const uint64_t offset;
};

class Pickle {
 public:
  // Reads the pickle that `bytes` begin with; `bytes` must outlive it. Throws PickleError: an opcode that is not known,
  // truncated, more than 2^20 values or references to them, a stack that does not hold what an opcode needs.
  explicit Pickle(std::string_view bytes);

  const PickleValue& root() const { return *root_; }
  uint64_t size() const { return size_; }  // of the pickle, in bytes
  // All values, those included that the root does not lead to.
  const std::deque<PickleValue>& values() const { return values_; }

 private:
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace mask_predict
