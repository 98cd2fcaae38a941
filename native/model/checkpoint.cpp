#include "model/checkpoint.h"

#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "model/safetensors.h"

namespace mask_predict {

namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::ModelFormat, where + ": " + message);
}

std::string path_in(const std::string& directory, const std::string& name) {
  return (std::filesystem::path(directory) / name).string();
}

bool replace_suffix(std::string& name, std::string_view suffix, std::string_view replacement) {
  if (name.size() < suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
    return false;
  name.replace(name.size() - suffix.size(), suffix.size(), replacement);
  return true;
}

// The one spelling of a name: an encoder saved by itself has no "roberta.", and LayerNorm's weight and bias
// were once called gamma and beta.
std::string canonical_name(std::string name) {
  constexpr std::string_view kPrefix = "roberta.";
  if (name.compare(0, kPrefix.size(), kPrefix) == 0) name.erase(0, kPrefix.size());
  if (!replace_suffix(name, ".gamma", ".weight")) replace_suffix(name, ".beta", ".bias");
  return name;
}

// Tensor names by shard file. A shard is a bare name: an index must not reach out of its directory.
std::map<std::string, std::set<std::string>> read_index(const std::string& path) {
  const JsonValue index = read_json_file(path);
  const JsonValue* map = index.find("weight_map");
  if (map == nullptr || map->object() == nullptr) fail(path, "has no weight_map that is an object");
  if (map->object()->empty()) fail(path, "its weight_map is empty");
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, file] : *map->object()) {
    const std::string where = path + ": tensor " + quote(tensor);
    if (file.string() == nullptr) fail(where, "its file is " + file.describe() + ", not a string");
    const std::string& name = *file.string();
    const bool bare = !name.empty() && name != "." && name != ".." &&
                      name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos;
    if (!bare) fail(where, "its file is " + quote(name) + "; it must be the bare name of a file beside the index");
    shards[name].insert(tensor);
  }
  return shards;
}

[[noreturn]] void fail_without_weights(const std::string& directory) {
  const std::string looked_for = std::string("has neither ") + kSingleFile + " nor " + kIndexFile;
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (entry_exists(path_in(directory, name))) {
      fail(directory, looked_for + ", only " + name +
                          ", which is not read because it can run code; convert it to safetensors"
                          " (transformers: model.save_pretrained(directory, safe_serialization=True))");
    }
  }
  fail(directory, looked_for);
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& directory, FileUse use) {
  check_directory(directory);
  Checkpoint checkpoint;
  checkpoint.use_ = use;
  const std::string single_path = path_in(directory, kSingleFile);
  const std::string index_path = path_in(directory, kIndexFile);
  if (entry_exists(single_path)) {
    checkpoint.add_file(single_path);
  } else if (entry_exists(index_path)) {
    for (const auto& [file, tensors] : read_index(index_path)) {
      const std::string path = path_in(directory, file);
      if (!entry_exists(path)) fail(index_path, "names the shard " + quote(file) + ", which is not there");
      const std::set<std::string> present = checkpoint.add_file(path);
      for (const std::string& tensor : tensors) {
        if (present.count(tensor) == 0) {
          fail(index_path, "places tensor " + quote(tensor) + " in " + quote(file) + ", which does not have it");
        }
      }
    }
  } else {
    fail_without_weights(directory);
  }
  return checkpoint;
}

std::set<std::string> Checkpoint::add_file(const std::string& path) {
  const auto file = std::make_shared<MappedFile>(path, use_);
  SafetensorsContents contents = read_safetensors(file->data(), file->size(), path);
  std::set<std::string> names;
  for (Tensor& tensor : contents.tensors) {
    names.insert(tensor.name);
    tensor.file = file.get();
    const auto [entry, is_new] = tensors_.try_emplace(canonical_name(tensor.name), tensor);
    if (is_new) continue;
    const Tensor& other = entry->second;
    if (other.file != file.get()) {
      fail(path, "tensor " + quote(tensor.name) + " is in " + other.file->path() + " too" +
                     (other.name == tensor.name ? "" : ", as " + quote(other.name)));
    }
    fail(path, "tensors " + quote(other.name) + " and " + quote(tensor.name) + " are two spellings of one name");
  }
  for (const auto& [removed, kept] : contents.metadata) aliases_.emplace(canonical_name(removed), canonical_name(kept));
  metadata_.merge(contents.metadata);
  mappings_.push_back(file);
  paths_.push_back(path);
  return names;
}

const Tensor* Checkpoint::find(const std::string& name) const {
  const std::string canonical = canonical_name(name);
  auto found = tensors_.find(canonical);
  if (found == tensors_.end()) {
    // Metadata hold other notes as well ("format": "pt"); only one that leads to a tensor is an alias.
    const auto alias = aliases_.find(canonical);
    if (alias != aliases_.end()) found = tensors_.find(alias->second);
  }
  return found == tensors_.end() ? nullptr : &found->second;
}

const std::string* Checkpoint::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

std::shared_ptr<const MappedFile> Checkpoint::mapping(const Tensor& tensor) const {
  for (const auto& mapping : mappings_)
    if (mapping.get() == tensor.file) return mapping;
  return nullptr;
}

uint64_t Checkpoint::bytes_read() const {
  uint64_t bytes = 0;
  for (const auto& file : mappings_) bytes += file->is_mapped() ? 0 : file->size();
  return bytes;
}

void Checkpoint::release(const Tensor& tensor, uint64_t offset, uint64_t bytes) const {
  tensor.file->release(static_cast<uint64_t>(tensor.data - tensor.file->data()) + offset, bytes);
}

}  // namespace mask_predict
