#include "base/json.h"

#include <charconv>
#include <cstdio>
#include <locale>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/text.h"

namespace mask_predict {

namespace {

constexpr int deepest = 64;
// A model's header has about ten values per tensor. The bound keeps a hostile file from turning each of its
// bytes into an object of a hundred.
constexpr size_t most_values = size_t{1} << 22;
constexpr uint64_t largest_file = 100'000'000;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  JsonValue document() {
    JsonValue result = value(0);
    skip_space();
    if (at_ != text_.size()) fail("something follows the value");
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw JsonError(message, at_); }
  [[noreturn]] void fail_at(size_t offset, const std::string& message) const { throw JsonError(message, offset); }

  // The next byte, or -1 at the end.
  int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }

  bool accept(char expected) {
    if (peek() != expected) return false;
    at_++;
    return true;
  }

  void skip_space() {
    while (at_ < text_.size()) {
      const char byte = text_[at_];
      if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r') return;
      at_++;
    }
  }

  JsonValue value(int depth) {
    skip_space();
    if (++values_ > most_values) fail("more than " + std::to_string(most_values) + " values");
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return JsonValue(string());
      case 't': return word("true", JsonValue(true));
      case 'f': return word("false", JsonValue(false));
      case 'n': return word("null", JsonValue());
      case -1: fail("the text ends where a value should be");
      default: return number();
    }
  }

  JsonValue word(std::string_view expected, JsonValue meaning) {
    if (text_.substr(at_, expected.size()) != expected) fail("expected " + std::string(expected));
    at_ += expected.size();
    return meaning;
  }

  JsonValue array(int depth) {
    if (depth == deepest) fail("nested deeper than " + std::to_string(deepest));
    at_++;
    JsonValue::Array elements;
    skip_space();
    if (accept(']')) return JsonValue(std::move(elements));
    for (;;) {
      elements.push_back(value(depth + 1));
      skip_space();
      if (accept(']')) return JsonValue(std::move(elements));
      if (!accept(',')) fail("expected , or ] in an array");
    }
  }

  JsonValue object(int depth) {
    if (depth == deepest) fail("nested deeper than " + std::to_string(deepest));
    at_++;
    JsonValue::Object members;
    skip_space();
    if (accept('}')) return JsonValue(std::move(members));
    for (;;) {
      skip_space();
      const size_t start = at_;
      if (peek() != '"') fail("expected a key in double quotes");
      std::string key = string();
      skip_space();
      if (!accept(':')) fail("expected : after the key");
      auto [member, is_new] = members.try_emplace(std::move(key));
      if (!is_new) fail_at(start, "the key " + quote(member->first) + " is there twice");
      member->second = value(depth + 1);
      skip_space();
      if (accept('}')) return JsonValue(std::move(members));
      if (!accept(',')) fail("expected , or } in an object");
    }
  }

  bool digits() {
    const size_t start = at_;
    while (peek() >= '0' && peek() <= '9') at_++;
    return at_ != start;
  }

  JsonValue number() {
    const size_t start = at_;
    accept('-');
    const size_t first_digit = at_;
    if (!digits()) fail_at(start, "expected a value");
    if (text_[first_digit] == '0' && at_ > first_digit + 1) fail_at(start, "a number has a leading zero");
    bool integral = true;
    if (accept('.')) {
      integral = false;
      if (!digits()) fail("expected a digit after the point");
    }
    if (peek() == 'e' || peek() == 'E') {
      at_++;
      integral = false;
      if (!accept('+')) accept('-');
      if (!digits()) fail("expected a digit in the exponent");
    }
    const std::string_view digits_read = text_.substr(start, at_ - start);
    if (integral && digits_read != "-0") {
      int64_t result = 0;
      const char* end = digits_read.data() + digits_read.size();
      if (std::from_chars(digits_read.data(), end, result).ec == std::errc()) return JsonValue(result);
    }
    // A stream of its own, because strtod follows the process's locale and from_chars for double is not
    // everywhere. It saturates where the number is too large. Being refused memory must not read as zero.
    std::istringstream stream{std::string(digits_read)};
    stream.exceptions(std::ios::badbit);
    stream.imbue(std::locale::classic());
    double result = 0;
    stream >> result;
    return JsonValue(result);
  }

  std::string string() {
    const size_t start = at_;
    at_++;
    std::string result;
    for (;;) {
      const int byte = peek();
      if (byte < 0) fail_at(start, "a string does not end");
      if (byte < 0x20) fail("a control character in a string");
      if (byte >= 0x80) {
        const size_t length = utf8_sequence();
        result.append(text_.substr(at_, length));
        at_ += length;
        continue;
      }
      at_++;
      if (byte == '"') return result;
      if (byte == '\\') {
        escape(result);
      } else {
        result.push_back(static_cast<char>(byte));
      }
    }
  }

  // Length of the UTF-8 sequence at the current byte, which is not ASCII (RFC 3629: no overlong forms, no
  // surrogates, nothing above U+10FFFF).
  size_t utf8_sequence() const {
    const auto byte = [this](size_t i) -> unsigned {
      return at_ + i < text_.size() ? static_cast<unsigned char>(text_[at_ + i]) : 0u;
    };
    const unsigned lead = byte(0);
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    unsigned lowest = 0x80, highest = 0xBF;  // of the second byte
    if (lead == 0xE0) lowest = 0xA0;
    if (lead == 0xED) highest = 0x9F;
    if (lead == 0xF0) lowest = 0x90;
    if (lead == 0xF4) highest = 0x8F;
    bool valid = lead >= 0xC2 && lead <= 0xF4 && byte(1) >= lowest && byte(1) <= highest;
    for (size_t i = 2; i < length; i++) valid = valid && byte(i) >= 0x80 && byte(i) <= 0xBF;
    if (!valid) fail("not UTF-8");
    return length;
  }

  unsigned hex4() {
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
      const int byte = peek();
      const int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                        : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                        : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                     : -1;
      if (digit < 0) fail("expected four hexadecimal digits after \\u");
      result = result * 16 + static_cast<unsigned>(digit);
      at_++;
    }
    return result;
  }

  void escape(std::string& result) {
    const size_t start = at_ - 1;
    const int byte = peek();
    at_++;
    switch (byte) {
      case '"':
      case '\\':
      case '/': result.push_back(static_cast<char>(byte)); return;
      case 'b': result.push_back('\b'); return;
      case 'f': result.push_back('\f'); return;
      case 'n': result.push_back('\n'); return;
      case 'r': result.push_back('\r'); return;
      case 't': result.push_back('\t'); return;
      case 'u': break;
      default: fail_at(start, "an unknown escape in a string");
    }
    unsigned code = hex4();
    if (code >= 0xD800 && code <= 0xDFFF) {
      const bool paired = code < 0xDC00 && accept('\\') && accept('u');
      const unsigned low = paired ? hex4() : 0;
      if (low < 0xDC00 || low > 0xDFFF) fail_at(start, "an unpaired surrogate in a string");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(result, code);
  }

  static void append_utf8(std::string& result, unsigned code) {
    const auto put = [&result](unsigned byte) { result.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | code >> 6);
      put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      put(0xE0 | code >> 12);
      put(0x80 | (code >> 6 & 0x3F));
      put(0x80 | (code & 0x3F));
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
      put(0x80 | (code >> 6 & 0x3F));
      put(0x80 | (code & 0x3F));
    }
  }

  const std::string_view text_;
  size_t at_ = 0;
  size_t values_ = 0;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view name) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  const auto found = members->find(name);
  return found == members->end() ? nullptr : &found->second;
}

std::string JsonValue::describe() const {
  if (is_null()) return "null";
  if (boolean()) return *boolean() ? "true" : "false";
  if (integer()) return std::to_string(*integer());
  if (string()) return quote(*string());
  if (array()) return "an array";
  if (object()) return "an object";
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", *real());
  return digits;
}

JsonValue parse_json(std::string_view text) { return Parser(text).document(); }

JsonValue read_json_file(const std::string& path) {
  const MappedFile file(path);
  if (file.size() > largest_file)
    throw Error(ErrorCode::ModelFormat, path + ": larger than 100 MB, not a JSON file of a model");
  std::string_view text(reinterpret_cast<const char*>(file.data()), static_cast<size_t>(file.size()));
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF", pointer_start = "version https://git-lfs";
  if (text.substr(0, byte_order_mark.size()) == byte_order_mark) text.remove_prefix(byte_order_mark.size());
  if (text.substr(0, pointer_start.size()) == pointer_start)
    throw Error(ErrorCode::ModelFormat,
                path + ": a Git LFS pointer, not the file itself; fetch it with `git lfs pull`");
  try {
    return parse_json(text);
  } catch (const JsonError& error) {
    throw Error(ErrorCode::ModelFormat, path + ": " + error.what());
  }
}

}  // namespace mask_predict
