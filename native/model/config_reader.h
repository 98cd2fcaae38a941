// The fields of a config.json, each checked as it is read. Errors name the file, the field, what it is and what it may be.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "model/config.h"

namespace mask_predict {

// Sizes far above any real model: products of them still fit 64 bits.
inline constexpr int64_t most_layers = 1000;
inline constexpr int64_t most_heads = 1024;
inline constexpr int64_t largest_hidden = 65536;
inline constexpr int64_t largest_feed_forward = int64_t{1} << 20;
inline constexpr int64_t largest_vocabulary = int64_t{1} << 24;
inline constexpr int64_t most_positions = int64_t{1} << 20;
inline constexpr int64_t fewest_lengths = 4;  // class 3, one token between <s> and </s>, is the first in use

class ConfigReader {
 public:
  explicit ConfigReader(const std::string& path) : path_(path), root_(read_json_file(path)) {
    if (root_.object() == nullptr)
      throw Error(ErrorCode::ModelFormat, path + ": is " + root_.describe() + ", not an object");
  }

  // The field, or nullptr where it is missing or null.
  const JsonValue* field(const char* name) const {
    const JsonValue* value = root_.find(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  bool is_null(const char* name) const {
    const JsonValue* value = root_.find(name);
    return value != nullptr && value->is_null();
  }

  [[noreturn]] void fail(const char* name, const std::string& allowed) const {
    const JsonValue* value = root_.find(name);
    throw Error(
        ErrorCode::ModelFormat,
        path_ + ": " + name + (value == nullptr ? " is missing" : " is " + value->describe()) + ", must be " + allowed);
  }

  [[noreturn]] void fail_value(const std::string& name, const JsonValue& value, const std::string& allowed) const {
    throw Error(ErrorCode::ModelFormat, path_ + ": " + name + " is " + value.describe() + ", must be " + allowed);
  }

  int64_t size(const char* name, int64_t lowest, int64_t highest) const {
    const JsonValue* value = field(name);
    const int64_t* integer = value == nullptr ? nullptr : value->integer();
    if (integer == nullptr || *integer < lowest || *integer > highest)
      fail(name, "an integer from " + std::to_string(lowest) + " to " + std::to_string(highest));
    return *integer;
  }

  int64_t optional_size(const char* name, int64_t otherwise, int64_t lowest, int64_t highest) const {
    return field(name) == nullptr ? otherwise : size(name, lowest, highest);
  }

  bool optional_boolean(const char* name, bool otherwise) const {
    const JsonValue* value = field(name);
    if (value == nullptr) return otherwise;
    if (value->boolean() == nullptr) fail(name, "true or false");
    return *value->boolean();
  }

  // Any number above 0.
  double optional_positive(const char* name, double otherwise) const {
    return field(name) == nullptr ? otherwise : positive(*field(name), name);
  }
  double positive(const JsonValue& value, const char* name) const {
    const double number = value.integer() != nullptr ? static_cast<double>(*value.integer())
                          : value.real() != nullptr  ? *value.real()
                                                     : 0;
    if (!(number > 0)) fail_value(name, value, "a number above 0");
    return number;
  }

  double optional_epsilon(const char* name, double otherwise) const {
    const JsonValue* value = field(name);
    if (value == nullptr) return otherwise;
    const double* epsilon = value->real();  // an integer cannot lie between
    if (epsilon == nullptr || !(*epsilon > 0 && *epsilon <= 0.1)) fail(name, "a number above 0 and up to 0.1");
    return *epsilon;
  }

  void require_if_present(const char* name, const char* expected) const {
    const JsonValue* value = field(name);
    if (value != nullptr && (value->string() == nullptr || *value->string() != expected)) fail(name, quote(expected));
  }

  void require_id_if_present(const char* name, int64_t expected) const {
    const JsonValue* value = field(name);
    if (value != nullptr && (value->integer() == nullptr || *value->integer() != expected))
      fail(name, std::to_string(expected) + " as in every XLM-R vocabulary");
  }

 private:
  const std::string path_;
  const JsonValue root_;
};

// ModernBERT's config.json (modern_bert_config.cpp).
inline constexpr const char* modern_bert_type = "modernbert";
bool is_modern_bert(const ConfigReader& reader);
ModelConfig read_modern_bert(const ConfigReader& reader);
// The id of the mask token in `directory`/tokenizer.json, or -1 where it is not to be found.
int64_t mask_in_tokenizer(const std::string& directory);

}  // namespace mask_predict
