// A whole model directory, loaded as an engine does; a model that loads encodes a source and writes a target.
//
// The input is the directory: for each file a byte that says which (modulo the names below), its size in three bytes,
// little-endian, and its content. Later files replace earlier ones of the same name.
#include <array>
#include <cstdio>
#include <set>

#include "../masked_target.h"
#include "engine/model_loader.h"
#include "safetensors_mutation.h"
#include "target.h"

using namespace mask_predict;

namespace {

constexpr std::array names = {"config.json", "model.safetensors", "model.safetensors.index.json", "a.safetensors",
                              "b.safetensors"};
constexpr size_t prefix_bytes = 4;
// Far more than a right input needs, far less than a wrong one can ask for.
constexpr uint64_t memory_limit = 64 << 20;

struct File {
  size_t name;
  std::vector<uint8_t> content;
};

std::vector<File> files_of(const uint8_t* data, size_t size) {
  std::vector<File> files;
  while (size >= prefix_bytes) {
    const size_t stated = static_cast<size_t>(data[1] | data[2] << 8 | data[3] << 16);
    const size_t length = std::min(stated, size - prefix_bytes);
    files.push_back({data[0] % names.size(), {data + prefix_bytes, data + prefix_bytes + length}});
    data += prefix_bytes + length;
    size -= prefix_bytes + length;
  }
  return files;
}

size_t join(const std::vector<File>& files, uint8_t* data) {
  uint8_t* at = data;
  for (const File& file : files) {
    const size_t length = file.content.size();
    for (const size_t byte : {file.name, length & 255, length >> 8 & 255, length >> 16 & 255})
      *at++ = static_cast<uint8_t>(byte);
    at = std::copy(file.content.begin(), file.content.end(), at);
  }
  return static_cast<size_t>(at - data);
}

void use(Engine& engine) {
  const std::atomic<bool> cancelled{false};
  const auto sources = engine.encode({{0, 3, 2}}, true, cancelled);
  const Targets targets = {masked_target(engine, sources[0], 3)};
  engine.decode(targets, 2, std::nullopt, {}, 0, cancelled);
  const int32_t id = targets[0]->tokens[1];
  fuzz::require(id >= 0 && id < engine.config().real_ids() && id != engine.mask_token_id());
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  std::vector<File> files = files_of(data, size);
  std::minstd_rand random(seed);
  if (files.empty() || most <= size || random() % 16 == 0) return LLVMFuzzerMutate(data, size, most);
  File& file = files[random() % files.size()];
  std::vector<uint8_t>& content = file.content;
  const size_t old = content.size();
  content.resize(old + most - size);
  const bool is_json = names[file.name] == std::string_view("config.json") || file.name == 2;
  content.resize(is_json ? LLVMFuzzerMutate(content.data(), old, content.size())
                         : fuzz::mutate_safetensors(content.data(), old, content.size(), seed));
  return join(files, data);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static std::set<size_t> present;
  std::set<size_t> written;
  for (const auto& [name, content] : files_of(data, size)) {
    fuzz::write_file(names[name], fuzz::text_of(content.data(), content.size()));
    written.insert(name);
  }
  for (const size_t name : present)
    if (written.count(name) == 0) std::remove((fuzz::directory() + "/" + names[name]).c_str());
  present = written;

  fuzz::accepts([] {
    LoadOptions options;
    options.device = "cpu";
    options.threads = 1;
    options.memory_limit = memory_limit;
    const std::atomic<bool> cancelled{false};
    const LoadedModel model = load_model(
        {fuzz::directory(), std::nullopt}, options, [](double) {}, cancelled);
    use(*model.engine);
  });
  return 0;
}
