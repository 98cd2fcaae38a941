#include "model/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/paths.h"
#include "base/text.h"
#include "model/safetensors.h"
#include "model/torch_file.h"

namespace mask_predict {

namespace {

constexpr const char* single_file_name = "model.safetensors";
constexpr const char* index_file_name = "model.safetensors.index.json";
constexpr const char* torch_file_name = "pytorch_model.bin";
constexpr const char* torch_index_file_name = "pytorch_model.bin.index.json";

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::ModelFormat, where + ": " + message);
}

std::string path_in(const std::string& directory, const std::string& name) {
  return text_of(path_of(directory) / path_of(name));
}

bool begins_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

bool replace_suffix(std::string& name, std::string_view suffix, std::string_view replacement) {
  if (name.size() < suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
    return false;
  name.replace(name.size() - suffix.size(), suffix.size(), replacement);
  return true;
}

// The one spelling of a name: an encoder saved by itself has no "roberta.", and LayerNorm's weight and bias
// were once called gamma and beta.
std::string canonical_name(std::string name) {
  constexpr std::string_view roberta_prefix = "roberta.";
  if (begins_with(name, roberta_prefix)) name.erase(0, roberta_prefix.size());
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
  std::string message = std::string("has none of ") + single_file_name + ", " + index_file_name + ", " +
                        torch_file_name + " and " + torch_index_file_name;
  for (const std::string& name : entries_of(directory))
    if (path_of(name).extension() == ".pt")
      message = "its weights are in " + name + ", as fairseq writes them; run `mask-predict convert " + directory +
                " OUT` and load OUT";
  fail(directory, message);
}

// The prefix that DataParallel, torch.compile, Lightning or PEFT put before every name; empty unless all names have it.
std::string common_prefix(const std::vector<Tensor>& tensors) {
  std::string prefix;
  for (bool longer = !tensors.empty(); longer;) {
    longer = false;
    for (const char* const wrapper : {"module.", "_orig_mod.", "model.", "base_model.model."}) {
      const std::string candidate = prefix + wrapper;
      const auto has_it = [&](const Tensor& tensor) { return begins_with(tensor.name, candidate); };
      if (!std::all_of(tensors.begin(), tensors.end(), has_it)) continue;
      prefix = candidate;
      longer = true;
    }
  }
  return prefix;
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& directory, FileUse use) {
  check_directory(directory);
  const auto is_there = [&](const char* name) { return entry_exists(path_in(directory, name)); };
  Checkpoint checkpoint;
  checkpoint.use_ = use;
  if (is_there(single_file_name))
    checkpoint.add_file(path_in(directory, single_file_name), Format::Safetensors);
  else if (is_there(index_file_name))
    checkpoint.add_shards(path_in(directory, index_file_name), directory, Format::Safetensors);
  else if (is_there(torch_file_name))
    checkpoint.add_file(path_in(directory, torch_file_name), Format::Torch);
  else if (is_there(torch_index_file_name))
    checkpoint.add_shards(path_in(directory, torch_index_file_name), directory, Format::Torch);
  else
    fail_without_weights(directory);
  checkpoint.settle_names();
  return checkpoint;
}

Checkpoint Checkpoint::open_file(const std::string& path) {
  Checkpoint checkpoint;
  const bool safe = path_of(path).extension() == ".safetensors";
  checkpoint.add_file(path, safe ? Format::Safetensors : Format::Torch);
  checkpoint.settle_names();
  return checkpoint;
}

void Checkpoint::add_shards(const std::string& index_path, const std::string& directory, Format format) {
  for (const auto& [file, tensors] : read_index(index_path)) {
    const std::string path = path_in(directory, file);
    if (!entry_exists(path)) fail(index_path, "names the shard " + quote(file) + ", which is not there");
    const std::set<std::string> present = add_file(path, format);
    for (const std::string& tensor : tensors) {
      if (present.count(tensor) == 0) {
        fail(index_path, "places tensor " + quote(tensor) + " in " + quote(file) + ", which does not have it");
      }
    }
  }
}

std::set<std::string> Checkpoint::add_file(const std::string& path, Format format) {
  const auto file = std::make_shared<MappedFile>(path, use_);
  SafetensorsContents contents;
  if (format == Format::Safetensors) {
    contents = read_safetensors(file->data(), file->size(), path);
  } else {
    const TorchFile torch_file(file->data(), file->size(), path);
    if (torch_file.root().find("model") != nullptr)
      fail(path, "a checkpoint of fairseq; run `mask-predict convert` on it and load what that writes");
    contents.tensors = torch_file.tensors(torch_file.root());
  }
  std::set<std::string> names;
  for (Tensor& tensor : contents.tensors) {
    names.insert(tensor.name);
    tensor.file = file.get();
    found_.push_back(std::move(tensor));
  }
  metadata_.merge(contents.metadata);
  mappings_.push_back(file);
  paths_.push_back(path);
  return names;
}

void Checkpoint::settle_names() {
  for (const Tensor& tensor : found_)
    if (tensor.name.find(".lora_A.") != std::string::npos)
      fail(tensor.file->path(), "has adapters beside its weights (" + quote(tensor.name) +
                                    "); merge them first (PEFT: model.merge_and_unload().save_pretrained(directory))");
  const std::string prefix = common_prefix(found_);
  for (Tensor& tensor : std::exchange(found_, {})) add_tensor(std::move(tensor), prefix);
  const auto spelled = [&](const std::string& name) {
    return canonical_name(begins_with(name, prefix) ? name.substr(prefix.size()) : name);
  };
  for (const auto& [removed, kept] : metadata_) aliases_.emplace(spelled(removed), spelled(kept));
}

void Checkpoint::add_tensor(Tensor tensor, const std::string& prefix) {
  const auto [entry, is_new] = tensors_.try_emplace(canonical_name(tensor.name.substr(prefix.size())), tensor);
  if (is_new) return;
  const Tensor& other = entry->second;
  if (other.file != tensor.file) {
    fail(tensor.file->path(), "tensor " + quote(tensor.name) + " is in " + other.file->path() + " too" +
                                  (other.name == tensor.name ? "" : ", as " + quote(other.name)));
  }
  fail(tensor.file->path(),
       "tensors " + quote(other.name) + " and " + quote(tensor.name) + " are two spellings of one name");
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

std::string Checkpoint::describe() const {
  constexpr size_t most_names = 6;
  std::string names;
  size_t count = 0;
  for (const auto& [name, tensor] : tensors_)
    if (count++ < most_names) names += (names.empty() ? "" : ", ") + quote(tensor.name);
  return std::to_string(count) + " tensors" + (count > 0 ? ": " + names : "") + (count > most_names ? ", …" : "");
}

std::shared_ptr<const MappedFile> Checkpoint::mapping(const Tensor& tensor) const {
  for (const auto& mapping : mappings_)
    if (mapping.get() == tensor.file) return mapping;
  return nullptr;
}

uint64_t Checkpoint::file_bytes() const {
  uint64_t bytes = 0;
  for (const auto& file : mappings_) bytes += file->size();
  return bytes;
}

uint64_t Checkpoint::bytes_read() const {
  uint64_t bytes = 0;
  for (const auto& file : mappings_) bytes += file->is_mapped() ? 0 : file->size();
  return bytes;
}

void Checkpoint::release(const Tensor& tensor, uint64_t offset, uint64_t bytes) const {
  tensor.file->release(static_cast<uint64_t>(tensor.data - tensor.file->data()) + offset, bytes);
}

const uint8_t* rows_of(const Tensor& tensor, int64_t first, int64_t count, std::vector<uint8_t>& buffer) {
  const int64_t columns = tensor.shape.size() < 2 ? 1 : tensor.shape[1];
  const auto width = static_cast<int64_t>(tensor.bytes) / std::max<int64_t>(1, tensor.shape[0] * columns);
  if (tensor.strides.empty()) return tensor.data + first * columns * width;
  const int64_t across = tensor.shape.size() < 2 ? 1 : tensor.strides[1];
  buffer.resize(static_cast<size_t>(count * columns * width));
  uint8_t* to = buffer.data();
  for (int64_t row = first; row < first + count; row++)
    for (int64_t column = 0; column < columns; column++, to += width)
      std::memcpy(to, tensor.data + (row * tensor.strides[0] + column * across) * width, static_cast<size_t>(width));
  return buffer.data();
}

}  // namespace mask_predict
