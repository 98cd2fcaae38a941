#include "model/torch_file.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "model/zip_archive.h"

namespace mask_predict {

namespace {

constexpr uint64_t largest_pickle = 64'000'000;

struct StorageType {
  const char* name;
  const char* type_name;
  uint64_t bytes;
  TensorType type;
};

constexpr StorageType storage_types[] = {
    {"FloatStorage", "F32", 4, TensorType::F32},      {"HalfStorage", "F16", 2, TensorType::F16},
    {"BFloat16Storage", "BF16", 2, TensorType::BF16}, {"DoubleStorage", "F64", 8, TensorType::Other},
    {"LongStorage", "I64", 8, TensorType::I64},       {"IntStorage", "I32", 4, TensorType::Other},
    {"ShortStorage", "I16", 2, TensorType::Other},    {"CharStorage", "I8", 1, TensorType::Other},
    {"ByteStorage", "U8", 1, TensorType::U8},         {"BoolStorage", "BOOL", 1, TensorType::Other},
};

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::ModelFormat, where + ": " + message);
}

bool is_size(const PickleValue& value) { return value.is(PickleKind::Integer) && value.integer >= 0; }

uint64_t size_of(const PickleValue& value) { return static_cast<uint64_t>(value.integer); }

// a * b and a + b, or fails: numbers in a pickle may be anything.
uint64_t product(uint64_t a, uint64_t b, const std::string& where) {
  if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) fail(where, "its size is beyond 64 bits");
  return a * b;
}
uint64_t sum(uint64_t a, uint64_t b, const std::string& where) {
  if (a > std::numeric_limits<uint64_t>::max() - b) fail(where, "its size is beyond 64 bits");
  return a + b;
}

// A shape or strides: a tuple of sizes, or torch.Size of one.
std::vector<int64_t> sizes_of(const PickleValue& value, const std::string& where, const char* what) {
  const PickleValue* tuple = &value;
  if (value.is(PickleKind::Made) && value.callable->is_global("torch", "Size") &&
      value.arguments->is(PickleKind::Tuple) && value.arguments->items.size() == 1)
    tuple = value.arguments->items.front();
  if (!tuple->is(PickleKind::Tuple)) fail(where, std::string(what) + " is " + tuple->describe() + ", not a tuple");
  std::vector<int64_t> sizes;
  for (const PickleValue* size : tuple->items) {
    if (!is_size(*size)) fail(where, std::string(what) + " has what is no size from 0 on");
    sizes.push_back(size->integer);
  }
  return sizes;
}

// True if values of that shape follow each other in row-major order without a gap.
bool are_row_major(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

}  // namespace

TorchFile::TorchFile(const uint8_t* data, uint64_t size, const std::string& path) : path_(path) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  constexpr std::string_view zip_start = "PK", pickle_start = "\x80", pointer_start = "version https://git-lfs";
  if (file.substr(0, zip_start.size()) == zip_start)
    read_archive(file);
  else if (file.substr(0, pickle_start.size()) == pickle_start)
    read_legacy(file);
  else if (file.substr(0, pointer_start.size()) == pointer_start)
    fail(path, "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`");
  else
    fail(path, "not a file that torch.save wrote, or a damaged one");
}

void TorchFile::read_pickle(std::string_view bytes) {
  if (bytes.size() > largest_pickle) bytes = bytes.substr(0, largest_pickle);
  try {
    pickle_ = std::make_unique<const Pickle>(bytes);
  } catch (const PickleError& error) {
    fail(path_, error.what());
  }
  for (const PickleValue& value : pickle_->values())
    if (value.is(PickleKind::Persistent)) storages_.emplace(&value, storage_of(value));
}

// ('storage', type, key, location, number of values), and in old files what it is a view of: nothing.
TorchFile::Storage TorchFile::storage_of(const PickleValue& persistent) const {
  const PickleValue& named = *persistent.arguments;
  const auto is_text = [&](size_t i) { return named.items[i]->is(PickleKind::Text); };
  const size_t count = named.is(PickleKind::Tuple) ? named.items.size() : 0;
  if ((count != 5 && count != 6) || !is_text(0) || named.items[0]->text != "storage" || !is_text(2) ||
      !is_size(*named.items[4]))
    fail(path_, "its pickle refers to something that is no storage");
  Storage storage;
  storage.key = std::string(named.items[2]->text);
  const std::string where = path_ + ": storage " + quote(storage.key);
  if (count == 6 && !named.items[5]->is(PickleKind::None)) fail(where, "a view of another storage, which is not read");
  const PickleValue& type = *named.items[1];
  const auto known =
      std::find_if(std::begin(storage_types), std::end(storage_types),
                   [&](const StorageType& candidate) { return type.is_global("torch", candidate.name); });
  if (known == std::end(storage_types)) fail(where, "its type is " + type.describe() + ", which is unknown");
  storage.type = known->type;
  storage.type_name = known->type_name;
  storage.value_bytes = known->bytes;
  storage.values = size_of(*named.items[4]);
  product(storage.values, storage.value_bytes, where);
  return storage;
}

void TorchFile::read_archive(std::string_view file) {
  const ZipArchive archive(file, path_);
  constexpr std::string_view pickle_name = "/data.pkl";
  std::string folder;
  for (const auto& [name, content] : archive.entries()) {
    if (name.size() < pickle_name.size() ||
        name.compare(name.size() - pickle_name.size(), pickle_name.size(), pickle_name) != 0)
      continue;
    if (!folder.empty()) fail(path_, "two entries are named data.pkl");
    folder = name.substr(0, name.size() - pickle_name.size() + 1);
  }
  if (folder.empty()) fail(path_, "a zip archive without data.pkl, not one of torch.save");
  if (archive.find(folder + "constants.pkl") != nullptr)
    fail(path_, "a TorchScript program, not a file of weights; save its state_dict() with torch.save");
  const std::string_view* const order = archive.find(folder + "byteorder");
  if (order != nullptr && *order != "little") fail(path_, "its byte order is " + quote(*order) + ", not little");
  const std::string_view pickle = *archive.find(folder + "data.pkl");
  if (pickle.size() > largest_pickle) fail(path_, "its pickle has more than 64000000 bytes");
  read_pickle(pickle);
  if (pickle_->size() != pickle.size()) fail(path_, "bytes follow its pickle");

  for (auto& [named, storage] : storages_) {
    const std::string_view* const content = archive.find(folder + "data/" + storage.key);
    const std::string where = path_ + ": storage " + quote(storage.key);
    if (content == nullptr) fail(where, "is not in the archive");
    if (content->size() != storage.values * storage.value_bytes)
      fail(where, "has " + std::to_string(content->size()) + " bytes, but its pickle says " +
                      std::to_string(storage.values * storage.value_bytes));
    storage.data = reinterpret_cast<const uint8_t*>(content->data());
  }
}

// Pickles of a magic number, of the format's version, of the machine and of the values; one of the storages' keys; for
// each key the number of values and the values themselves.
void TorchFile::read_legacy(std::string_view file) {
  constexpr std::string_view magic_number = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  constexpr int64_t protocol_version = 1001;
  std::string_view rest = file;
  const auto next = [&] {
    try {
      Pickle pickle(rest.substr(0, largest_pickle));
      rest.remove_prefix(pickle.size());
      return pickle;
    } catch (const PickleError& error) {
      fail(path_, error.what());
    }
  };
  if (const Pickle magic = next(); !magic.root().is(PickleKind::LongInteger) || magic.root().text != magic_number)
    fail(path_, "a pickle, but not one of torch.save");
  if (const Pickle version = next(); !is_size(version.root()) || version.root().integer != protocol_version)
    fail(path_, "not of version 1001 of torch.save's older format");
  const Pickle machine = next();
  const PickleValue* const little = machine.root().find("little_endian");
  if (little == nullptr || !little->is(PickleKind::Boolean) || little->integer == 0)
    fail(path_, "it does not say that it is little-endian");
  read_pickle(rest);
  rest.remove_prefix(pickle_->size());

  std::map<std::string_view, std::vector<Storage*>> named;
  for (auto& [value, storage] : storages_) named[storage.key].push_back(&storage);
  const Pickle keys = next();
  if (!keys.root().is(PickleKind::List)) fail(path_, "its list of storages is " + keys.root().describe());
  for (const PickleValue* key : keys.root().items) {
    const auto found = key->is(PickleKind::Text) ? named.find(key->text) : named.end();
    if (found == named.end()) fail(path_, "it has a storage that its values do not name, or one twice");
    const std::string where = path_ + ": storage " + quote(key->text);
    const Storage& first = *found->second.front();
    const uint64_t bytes = first.values * first.value_bytes;
    constexpr uint64_t count_bytes = 8;
    if (rest.size() < count_bytes || bytes > rest.size() - count_bytes) fail(where, "the file is truncated");
    uint64_t count = 0;
    for (uint64_t i = 0; i < count_bytes; i++) count |= static_cast<uint64_t>(static_cast<uint8_t>(rest[i])) << (8 * i);
    for (Storage* const storage : found->second) {
      if (storage->values != count || storage->type != first.type || storage->value_bytes != first.value_bytes)
        fail(where, "it has " + std::to_string(count) + " values, but its pickle says otherwise");
      storage->data = reinterpret_cast<const uint8_t*>(rest.data()) + count_bytes;
    }
    rest.remove_prefix(count_bytes + bytes);
    named.erase(found);
  }
  if (!named.empty()) fail(path_ + ": storage " + quote(named.begin()->first), "is not in the file");
  if (!rest.empty()) fail(path_, std::to_string(rest.size()) + " bytes follow the last storage");
}

std::vector<Tensor> TorchFile::tensors(const PickleValue& dictionary) const {
  if (!dictionary.is(PickleKind::Dictionary))
    fail(path_, "it holds " + dictionary.describe() + ", not a dictionary of tensors");
  std::vector<Tensor> tensors;
  std::set<std::string_view> names;
  for (size_t i = 0; i < dictionary.items.size(); i += 2) {
    const PickleValue& name = *dictionary.items[i];
    if (!name.is(PickleKind::Text)) fail(path_, "a tensor's name is " + name.describe());
    if (!names.insert(name.text).second) fail(path_, "there are two tensors " + quote(name.text));
    tensors.push_back(tensor(name.text, *dictionary.items[i + 1]));
  }
  return tensors;
}

// The call that makes the tensor; a parameter is the tensor in it.
const PickleValue& TorchFile::tensor_call(const PickleValue& value, const std::string& where) const {
  const auto made_by = [](const PickleValue& made, const char* name) {
    return made.is(PickleKind::Made) && made.callable->is_global("torch._utils", name) &&
           made.arguments->is(PickleKind::Tuple);
  };
  const PickleValue* made = &value;
  if (made_by(value, "_rebuild_parameter") && !value.arguments->items.empty()) made = value.arguments->items.front();
  const size_t least = made_by(*made, "_rebuild_tensor_v2") ? 6 : made_by(*made, "_rebuild_tensor") ? 4 : 0;
  if (least == 0) fail(where, "it is " + made->describe() + ", not a tensor");
  if (made->arguments->items.size() < least) fail(where, "it is a tensor without all that makes one");
  return *made;
}

Tensor TorchFile::tensor(std::string_view name, const PickleValue& value) const {
  const std::string where = path_ + ": entry " + quote(name);
  const std::vector<const PickleValue*>& arguments = tensor_call(value, where).arguments->items;
  const auto found = storages_.find(arguments[0]);
  if (found == storages_.end()) fail(where, "its storage is " + arguments[0]->describe());
  const Storage& storage = found->second;
  if (!is_size(*arguments[1])) fail(where, "its offset is " + arguments[1]->describe() + ", not a size from 0 on");

  Tensor tensor;
  tensor.name = std::string(name);
  tensor.type = storage.type;
  tensor.type_name = storage.type_name;
  tensor.shape = sizes_of(*arguments[2], where, "its shape");
  tensor.strides = sizes_of(*arguments[3], where, "its strides");
  if (tensor.strides.size() != tensor.shape.size()) fail(where, "it has not one stride for each extent");

  uint64_t elements = 1, last = size_of(*arguments[1]);
  for (const int64_t extent : tensor.shape) elements = product(elements, static_cast<uint64_t>(extent), where);
  if (elements > storage.values) fail(where, "it has more values than its storage");
  if (elements == 0) {
    tensor.data = storage.data;
    tensor.strides.clear();
    return tensor;
  }
  for (size_t i = 0; i < tensor.shape.size(); i++)
    last =
        sum(last, product(static_cast<uint64_t>(tensor.shape[i]) - 1, static_cast<uint64_t>(tensor.strides[i]), where),
            where);
  if (last >= storage.values) fail(where, "its offset or its strides lead out of its storage");
  tensor.data = storage.data + size_of(*arguments[1]) * storage.value_bytes;
  tensor.bytes = elements * storage.value_bytes;
  if (are_row_major(tensor.shape, tensor.strides)) tensor.strides.clear();
  return tensor;
}

}  // namespace mask_predict
