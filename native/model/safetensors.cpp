#include "model/safetensors.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace mask_predict {

namespace {

constexpr uint64_t length_bytes = 8;
constexpr uint64_t longest_header = 100'000'000;

struct TypeDescription {
  const char* name;
  uint64_t bits;
  TensorType type;
};

constexpr TypeDescription type_descriptions[] = {
    {"F32", 32, TensorType::F32},      {"F16", 16, TensorType::F16},          {"BF16", 16, TensorType::BF16},
    {"I64", 64, TensorType::I64},      {"BOOL", 8, TensorType::Other},        {"F4", 4, TensorType::Other},
    {"F6_E2M3", 6, TensorType::Other}, {"F6_E3M2", 6, TensorType::Other},     {"U8", 8, TensorType::U8},
    {"I8", 8, TensorType::Other},      {"F8_E5M2", 8, TensorType::Other},     {"F8_E4M3", 8, TensorType::Other},
    {"F8_E8M0", 8, TensorType::Other}, {"F8_E4M3FNUZ", 8, TensorType::Other}, {"F8_E5M2FNUZ", 8, TensorType::Other},
    {"I16", 16, TensorType::Other},    {"U16", 16, TensorType::Other},        {"I32", 32, TensorType::Other},
    {"U32", 32, TensorType::Other},    {"U64", 64, TensorType::Other},        {"F64", 64, TensorType::Other},
    {"C64", 64, TensorType::Other},
};

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::ModelFormat, where + ": " + message);
}

struct Entry {
  Tensor tensor;
  uint64_t begin;
  uint64_t end;
};

// a * b, or fails: sizes in a header may be anything.
uint64_t product(uint64_t a, uint64_t b, const std::string& where) {
  if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) fail(where, "the shape's size is beyond 64 bits");
  return a * b;
}

const int64_t* non_negative_integer(const JsonValue& value) {
  const int64_t* integer = value.integer();
  return integer != nullptr && *integer >= 0 ? integer : nullptr;
}

Entry read_entry(const std::string& name, const JsonValue& description, const std::string& path) {
  const std::string where = path + ": tensor " + quote(name);
  if (description.object() == nullptr) fail(where, "its description is " + description.describe() + ", not an object");
  Entry entry{};
  entry.tensor.name = name;

  const JsonValue* type = description.find("dtype");
  if (type == nullptr) fail(where, "has no dtype");
  const auto is_named = [type](const TypeDescription& candidate) {
    return type->string() != nullptr && *type->string() == candidate.name;
  };
  const auto known = std::find_if(std::begin(type_descriptions), std::end(type_descriptions), is_named);
  if (known == std::end(type_descriptions)) fail(where, "the dtype " + type->describe() + " is unknown");
  entry.tensor.type = known->type;
  entry.tensor.type_name = known->name;

  const JsonValue* shape = description.find("shape");
  if (shape == nullptr || shape->array() == nullptr) fail(where, "has no shape that is an array");
  uint64_t elements = 1;
  for (const JsonValue& extent : *shape->array()) {
    const int64_t* value = non_negative_integer(extent);
    if (value == nullptr) fail(where, "its shape has " + extent.describe() + ", not a non-negative integer");
    elements = product(elements, static_cast<uint64_t>(*value), where);
    entry.tensor.shape.push_back(*value);
  }
  const uint64_t bits = product(elements, known->bits, where);
  if (bits % 8 != 0) fail(where, "its size is not a whole number of bytes");

  const JsonValue* offsets = description.find("data_offsets");
  if (offsets == nullptr || offsets->array() == nullptr || offsets->array()->size() != 2)
    fail(where, "has no data_offsets that are an array of two");
  const int64_t* begin = non_negative_integer(offsets->array()->front());
  const int64_t* end = non_negative_integer(offsets->array()->back());
  if (begin == nullptr || end == nullptr) fail(where, "its data_offsets are not two non-negative integers");
  if (*end < *begin) fail(where, "its data_offsets end before they begin");
  entry.begin = static_cast<uint64_t>(*begin);
  entry.end = static_cast<uint64_t>(*end);
  entry.tensor.bytes = entry.end - entry.begin;
  if (entry.tensor.bytes != bits / 8) {
    fail(where, "its data_offsets span " + std::to_string(entry.tensor.bytes) + " bytes, its shape and dtype need " +
                    std::to_string(bits / 8));
  }
  return entry;
}

// Checks that the tensors follow each other from the buffer's first byte to its last.
void check_layout(const std::vector<Entry>& entries, uint64_t buffer_size, const std::string& path) {
  // The end first: of a tensor that is far out of place, it is the others that seem to leave a gap.
  for (const Entry& entry : entries) {
    if (entry.end > buffer_size) {
      fail(path + ": tensor " + quote(entry.tensor.name),
           "ends at offset " + std::to_string(entry.end) + ", but " + std::to_string(buffer_size) +
               " bytes follow the header: the file is truncated or the offset wrong");
    }
  }
  uint64_t reached = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != reached) {
      fail(path + ": tensor " + quote(entry.tensor.name),
           "begins at offset " + std::to_string(entry.begin) + " where the one before ends at " +
               std::to_string(reached) + (entry.begin > reached ? ": a gap" : ": an overlap"));
    }
    reached = entry.end;
  }
  if (reached < buffer_size) fail(path, std::to_string(buffer_size - reached) + " bytes follow the last tensor");
}

std::string_view header_of(const uint8_t* data, uint64_t size, const std::string& path) {
  if (size < length_bytes) fail(path, "shorter than 8 bytes, not a safetensors file");
  constexpr std::string_view pointer_start = "version https://git-lfs";
  if (size >= pointer_start.size() && std::memcmp(data, pointer_start.data(), pointer_start.size()) == 0)
    fail(path, "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`");
  uint64_t length = 0;
  for (uint64_t i = 0; i < length_bytes; i++) length |= static_cast<uint64_t>(data[i]) << (8 * i);
  if (length > longest_header) {
    fail(path, "says its header has " + std::to_string(length) +
                   " bytes, more than the 100000000 allowed; not a safetensors file");
  }
  if (length > size - length_bytes) {
    fail(path, "truncated: says its header has " + std::to_string(length) + " bytes, the file has " +
                   std::to_string(size - length_bytes) + " after the first 8");
  }
  if (length == 0 || data[length_bytes] != '{') fail(path, "its header does not begin with {");
  return {reinterpret_cast<const char*>(data) + length_bytes, static_cast<size_t>(length)};
}

}  // namespace

SafetensorsContents read_safetensors(const uint8_t* data, uint64_t size, const std::string& path) {
  const std::string_view header = header_of(data, size, path);
  JsonValue root;
  try {
    root = parse_json(header);
  } catch (const JsonError& error) {
    fail(path, std::string("its header is ") + error.what());
  }

  SafetensorsContents contents;
  std::vector<Entry> entries;
  for (const auto& [name, description] : *root.object()) {
    if (name != "__metadata__") {
      entries.push_back(read_entry(name, description, path));
      continue;
    }
    if (description.object() == nullptr)
      fail(path, "its __metadata__ are " + description.describe() + ", not an object");
    for (const auto& [key, value] : *description.object()) {
      if (value.string() == nullptr)
        fail(path, "its __metadata__ " + quote(key) + " is " + value.describe() + ", not a string");
      contents.metadata.emplace(key, *value.string());
    }
  }

  // By the end as well, so that an empty tensor comes before the one that begins where it lies.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
  });
  const uint64_t buffer_offset = length_bytes + header.size();
  check_layout(entries, size - buffer_offset, path);
  for (Entry& entry : entries) {
    entry.tensor.data = data + buffer_offset + entry.begin;
    contents.tensors.push_back(std::move(entry.tensor));
  }
  return contents;
}

}  // namespace mask_predict
