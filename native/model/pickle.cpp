#include "model/pickle.h"

#include <cstring>
#include <unordered_map>

#include "base/text.h"

namespace mask_predict {

namespace {

// Limit for the number of values and for the number of references to them: many times more than the largest checkpoint
// with an optimizer has.
constexpr size_t most_values = size_t{1} << 20;

enum Opcode : uint8_t {
  Mark = '(',
  EmptyTuple = ')',
  Stop = '.',
  Pop = '0',
  BinBytes = 'B',
  ShortBinBytes = 'C',
  BinFloat = 'G',
  BinInt = 'J',
  BinInt1 = 'K',
  BinInt2 = 'M',
  None = 'N',
  BinPersistentId = 'Q',
  Reduce = 'R',
  BinUnicode = 'X',
  EmptyList = ']',
  Append = 'a',
  Build = 'b',
  Global = 'c',
  Appends = 'e',
  BinGet = 'h',
  LongBinGet = 'j',
  BinPut = 'q',
  LongBinPut = 'r',
  SetItem = 's',
  Tuple = 't',
  SetItems = 'u',
  EmptyDictionary = '}',
  Protocol = 0x80,
  NewObject = 0x81,
  Tuple1 = 0x85,
  Tuple2 = 0x86,
  Tuple3 = 0x87,
  NewTrue = 0x88,
  NewFalse = 0x89,
  Long1 = 0x8A,
  ShortBinUnicode = 0x8C,
  BinUnicode8 = 0x8D,
  EmptySet = 0x8F,
  AddItems = 0x90,
  StackGlobal = 0x93,
  Memoize = 0x94,
  Frame = 0x95,
};

// Runs a pickle's opcodes over a stack of values.
class PickleMachine {
 public:
  PickleMachine(std::string_view bytes, std::deque<PickleValue>& values) : bytes_(bytes), values_(values) {}

  const PickleValue* run() {
    for (;;) {
      opcode_at_ = at_;
      const uint8_t opcode = byte();
      if (opcode == Opcode::Stop) return pop();
      step(opcode);
    }
  }

  uint64_t offset() const { return at_; }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw PickleError(message, opcode_at_); }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) fail("an opcode that reaches beyond its end: it is truncated");
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  uint8_t byte() { return static_cast<uint8_t>(take(1)[0]); }

  uint64_t number(int bytes) {
    uint64_t value = 0;
    const std::string_view taken = take(static_cast<uint64_t>(bytes));
    for (int i = 0; i < bytes; i++) value |= static_cast<uint64_t>(static_cast<uint8_t>(taken[i])) << (8 * i);
    return value;
  }

  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) fail("a name without an end: it is truncated");
    const std::string_view taken = take(end - at_);
    at_++;
    return taken;
  }

  void check_count(size_t count, const char* what) const {
    if (count >= most_values) fail("more than " + std::to_string(most_values) + " " + what);
  }

  PickleValue& push(PickleKind kind) {
    check_count(values_.size(), "values");
    PickleValue& value = values_.emplace_back();
    value.kind = kind;
    push(value);
    return value;
  }

  void push(PickleValue& value) {
    check_count(stack_.size(), "values on its stack");
    stack_.push_back(&value);
  }

  void push_text(PickleKind kind, std::string_view text) { push(kind).text = text; }
  void push_integer(int64_t value) { push(PickleKind::Integer).integer = value; }

  // How many values lie above the last mark.
  size_t height() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  PickleValue& top() {
    if (height() == 0) fail("an opcode that needs a value, of which there is none");
    return *stack_.back();
  }

  PickleValue* pop() {
    PickleValue* const value = &top();
    stack_.pop_back();
    return value;
  }

  std::vector<const PickleValue*> pop_to_mark() {
    if (marks_.empty()) fail("an opcode that needs a mark, of which there is none");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<const PickleValue*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  std::vector<const PickleValue*> pop_some(size_t count) {
    if (height() < count) fail("an opcode that needs " + std::to_string(count) + " values");
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<const PickleValue*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    return items;
  }

  void push_tuple(std::vector<const PickleValue*> items) { push(PickleKind::Tuple).items = std::move(items); }

  // Into the container below; what only a call could have made takes everything and keeps nothing.
  void add(const std::vector<const PickleValue*>& items, PickleKind kind) {
    PickleValue& container = top();
    if (container.is(PickleKind::Made)) return;
    if (!container.is(kind)) fail("items for " + container.describe());
    if (kind == PickleKind::Dictionary && items.size() % 2 != 0) fail("a key without a value");
    container.items.insert(container.items.end(), items.begin(), items.end());
  }

  void remember(uint64_t index) {
    check_count(memo_.size(), "values to refer to");
    memo_[index] = &top();
  }

  void recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail("a reference to value " + std::to_string(index) + ", which is not there");
    push(*found->second);
  }

  void push_global(std::string_view module, std::string_view name) {
    PickleValue& value = push(PickleKind::Global);
    value.text = module;
    value.name = name;
  }

  void push_stack_global() {
    const PickleValue* const name = pop();
    const PickleValue* const module = pop();
    if (!name->is(PickleKind::Text) || !module->is(PickleKind::Text)) fail("a name that is no text");
    push_global(module->text, name->text);
  }

  // `arguments` are the call's; nothing is called.
  void push_made() {
    const PickleValue* const arguments = pop();
    const PickleValue* const callable = pop();
    const bool empty = arguments->is(PickleKind::Tuple) && arguments->items.empty();
    if (empty && callable->is_global("collections", "OrderedDict")) {
      push(PickleKind::Dictionary);
    } else {
      PickleValue& made = push(PickleKind::Made);
      made.callable = callable;
      made.arguments = arguments;
    }
  }

  // An OrderedDict's attributes (a state dictionary's _metadata) are left out.
  void build() {
    const PickleValue* const state = pop();
    PickleValue& object = top();
    if (object.is(PickleKind::Made))
      object.state = state;
    else if (!object.is(PickleKind::Dictionary))
      fail("a state for " + object.describe());
  }

  void push_long(uint64_t length) {
    const std::string_view digits = take(length);
    if (length > 8) return push_text(PickleKind::LongInteger, digits);
    uint64_t value = !digits.empty() && (digits.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = 0; i < digits.size(); i++) {
      value &= ~(uint64_t{0xFF} << (8 * i));
      value |= static_cast<uint64_t>(static_cast<uint8_t>(digits[i])) << (8 * i);
    }
    push_integer(static_cast<int64_t>(value));
  }

  void push_real() {
    uint64_t bits = 0;
    for (const char character : take(8)) bits = bits << 8 | static_cast<uint8_t>(character);
    std::memcpy(&push(PickleKind::Real).real, &bits, sizeof bits);
  }

  void mark() {
    check_count(marks_.size(), "marks");
    marks_.push_back(stack_.size());
  }

  void drop() {
    if (height() > 0)
      stack_.pop_back();
    else if (!marks_.empty())
      marks_.pop_back();
    else
      fail("an opcode that needs a value, of which there is none");
  }

  void step(uint8_t opcode) {
    switch (opcode) {
      case Opcode::Protocol:
        if (const uint8_t protocol = byte(); protocol > 5) fail("protocol " + std::to_string(protocol));
        return;
      case Opcode::Frame:
        if (number(8) > bytes_.size() - at_) fail("a frame that reaches beyond its end: it is truncated");
        return;
      case Opcode::Mark: return mark();
      case Opcode::Pop: return drop();
      case Opcode::None: push(PickleKind::None); return;
      case Opcode::NewTrue: push(PickleKind::Boolean).integer = 1; return;
      case Opcode::NewFalse: push(PickleKind::Boolean); return;
      case Opcode::BinInt: return push_integer(static_cast<int32_t>(number(4)));
      case Opcode::BinInt1: return push_integer(static_cast<int64_t>(number(1)));
      case Opcode::BinInt2: return push_integer(static_cast<int64_t>(number(2)));
      case Opcode::Long1: return push_long(number(1));
      case Opcode::BinFloat: return push_real();
      case Opcode::BinUnicode: return push_text(PickleKind::Text, take(number(4)));
      case Opcode::ShortBinUnicode: return push_text(PickleKind::Text, take(number(1)));
      case Opcode::BinUnicode8: return push_text(PickleKind::Text, take(number(8)));
      case Opcode::BinBytes: return push_text(PickleKind::Bytes, take(number(4)));
      case Opcode::ShortBinBytes: return push_text(PickleKind::Bytes, take(number(1)));
      case Opcode::EmptyTuple: push(PickleKind::Tuple); return;
      case Opcode::EmptyList: push(PickleKind::List); return;
      case Opcode::EmptySet: push(PickleKind::Set); return;
      case Opcode::EmptyDictionary: push(PickleKind::Dictionary); return;
      case Opcode::Tuple: return push_tuple(pop_to_mark());
      case Opcode::Tuple1: return push_tuple(pop_some(1));
      case Opcode::Tuple2: return push_tuple(pop_some(2));
      case Opcode::Tuple3: return push_tuple(pop_some(3));
      case Opcode::Append: return add(pop_some(1), PickleKind::List);
      case Opcode::Appends: return add(pop_to_mark(), PickleKind::List);
      case Opcode::AddItems: return add(pop_to_mark(), PickleKind::Set);
      case Opcode::SetItem: return add(pop_some(2), PickleKind::Dictionary);
      case Opcode::SetItems: return add(pop_to_mark(), PickleKind::Dictionary);
      case Opcode::BinPut: return remember(number(1));
      case Opcode::LongBinPut: return remember(number(4));
      case Opcode::Memoize: return remember(memo_.size());
      case Opcode::BinGet: return recall(number(1));
      case Opcode::LongBinGet: return recall(number(4));
      case Opcode::Global: {
        const std::string_view module = line();
        return push_global(module, line());
      }
      case Opcode::StackGlobal: return push_stack_global();
      case Opcode::Reduce:
      case Opcode::NewObject: return push_made();
      case Opcode::Build: return build();
      case Opcode::BinPersistentId: {
        const PickleValue* const arguments = pop();
        push(PickleKind::Persistent).arguments = arguments;
        return;
      }
      default: fail("opcode " + std::to_string(opcode) + ", which no state dictionary needs");
    }
  }

  const std::string_view bytes_;
  std::deque<PickleValue>& values_;
  uint64_t at_ = 0;
  uint64_t opcode_at_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

std::string name_of(const PickleValue& value) {
  return value.is(PickleKind::Global) ? quote(std::string(value.text) + "." + std::string(value.name)) : "an object";
}

}  // namespace

Pickle::Pickle(std::string_view bytes) {
  PickleMachine machine(bytes, values_);
  root_ = machine.run();
  size_ = machine.offset();
}

const PickleValue* PickleValue::find(std::string_view key) const {
  if (kind != PickleKind::Dictionary) return nullptr;
  for (size_t i = items.size(); i >= 2; i -= 2)
    if (items[i - 2]->is(PickleKind::Text) && items[i - 2]->text == key) return items[i - 1];
  return nullptr;
}

std::string PickleValue::describe() const {
  switch (kind) {
    case PickleKind::None: return "None";
    case PickleKind::Boolean: return "a boolean";
    case PickleKind::Integer:
    case PickleKind::LongInteger:
    case PickleKind::Real: return "a number";
    case PickleKind::Text: return "a text";
    case PickleKind::Bytes: return "bytes";
    case PickleKind::Tuple: return "a tuple";
    case PickleKind::List: return "a list";
    case PickleKind::Set: return "a set";
    case PickleKind::Dictionary: return "a dictionary";
    case PickleKind::Global: return "the name " + name_of(*this);
    case PickleKind::Persistent: return "a storage";
    case PickleKind::Made: return "what " + name_of(*callable) + " would make (it was not called)";
  }
  return "";
}

}  // namespace mask_predict
