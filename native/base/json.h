// A strict JSON reader (RFC 8259) for files nobody vouches for: UTF-8 is validated, a key may appear once per
// object (also when two spellings are equal only after unescaping), nesting and the number of values are
// bounded, and nothing but white space may follow the value. Unpaired surrogates are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mask_predict {

class JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Object = std::map<std::string, JsonValue, std::less<>>;

  JsonValue() = default;
  template <typename T>
  explicit JsonValue(T value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  // Pointers to what the value is, or nullptr if it is something else.
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  // Only numbers written without fraction and exponent, within int64.
  const int64_t* integer() const { return std::get_if<int64_t>(&value_); }
  // All other numbers, -0 included.
  const double* real() const { return std::get_if<double>(&value_); }
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }

  // The member of that name, or nullptr; also nullptr if this is not an object.
  const JsonValue* find(std::string_view name) const;

  // For messages: a scalar as JSON, shortened if long, otherwise "an array" or "an object".
  std::string describe() const;

 private:
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value_;
};

class JsonError : public std::runtime_error {
 public:
  JsonError(const std::string& message, uint64_t offset)
      : std::runtime_error("not valid JSON at byte " + std::to_string(offset) + ": " + message), offset(offset) {}
  const uint64_t offset;
};

// Throws JsonError with the byte offset of what is wrong.
JsonValue parse_json(std::string_view text);

// A whole file, with or without a byte-order mark. Throws Error(ModelFormat) that names the file; files above 100 MB are refused.
JsonValue read_json_file(const std::string& path);

}  // namespace mask_predict
