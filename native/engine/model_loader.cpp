#include "engine/model_loader.h"
#include "cpu/kernels.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/paths.h"

namespace mask_predict {
namespace {

// Weights by what they were made from. Entries do not keep weights alive; the lock of an entry is held while its
// weights are being made, so that two engines that start together read a model once.
struct SharedWeights {
  std::mutex loading;
  std::weak_ptr<const Weights> weights;
};

std::shared_ptr<SharedWeights> shared_entry(const std::string& key) {
  // Never destroyed: engines of other threads may still be running when the process exits.
  static auto* mutex = new std::mutex;
  static auto* entries = new std::map<std::string, std::shared_ptr<SharedWeights>>;
  const std::lock_guard<std::mutex> lock(*mutex);
  for (auto i = entries->begin(); i != entries->end();) {
    const bool unused = !i->second || (i->second.use_count() == 1 && i->second->weights.expired());
    i = unused ? entries->erase(i) : std::next(i);
  }
  auto& entry = (*entries)[key];
  if (!entry) entry = std::make_shared<SharedWeights>();
  return entry;
}

// A directory's files by name and stamp: a changed file is another model.
std::string identity_of(const std::string& directory) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path path = fs::canonical(path_of(directory), error);
  if (error) return directory;
  std::map<std::string, std::string> files;
  for (const std::string& name : entries_of(text_of(path))) {
    const fs::path file = path / path_of(name);
    if (file.extension() != ".safetensors" && file.extension() != ".bin" && file.extension() != ".json") continue;
    files[name] = stamp_of(text_of(file));
  }
  std::string identity = text_of(path);
  for (const auto& [name, stamp] : files) identity += "\n" + name + " " + stamp;
  return identity;
}

const char* name_of(WeightType type) {
  switch (type) {
    case WeightType::F32: return "fp32";
    case WeightType::F16: return "fp16";
    case WeightType::BF16: return "bf16";
    case WeightType::I8: return "int8";
    case WeightType::F8: return "fp8";
  }
  return "";
}

// None: as the weights are stored.
std::optional<WeightType> weight_type(const std::string& precision, const Context& device) {
  for (const WeightType type : {WeightType::F16, WeightType::BF16, WeightType::I8, WeightType::F8})
    if (precision == name_of(type)) return type;
  return device.operations->default_type(device);
}

// The type of the head's matrix; none: that of the others.
std::optional<WeightType> head_type(const std::string& precision, const Context& device, const std::string& name) {
  if (precision == "auto") return std::nullopt;
  for (const WeightType type : {WeightType::F32, WeightType::F16, WeightType::BF16, WeightType::I8, WeightType::F8})
    if (precision == name_of(type)) {
      const bool cpu = device.operations->host_memory;
      if (cpu ? type == WeightType::F8
              : device.activations == ValueType::F32 || type == WeightType::F32 || type == WeightType::F16)
        throw Error(ErrorCode::Device, "headPrecision '" + precision + "' is not available on device '" + name + "'" +
                                           (cpu ? "; use 'int8', which takes as many bytes"
                                            : device.activations == ValueType::F32
                                                ? " with precision 'fp32', which is for verification; leave it out"
                                                : "; use 'bf16', 'int8' or 'fp8'"));
      return type;
    }
  throw Error(ErrorCode::InvalidArgument,
              "headPrecision must be 'auto', 'fp32', 'bf16', 'fp16', 'int8' or 'fp8', not '" + precision + "'");
}

// ModernBERT runs on the CPU so far: 'auto' takes it, and a GPU is refused before it is opened.
std::string device_for(const ModelRequest& request, const std::string& device) {
  if (request.random || !read_config(request.directory).is_modern_bert()) return device;
  const std::string asked = device == "auto" ? default_device() : device;
  if (asked == "auto" || asked == "cpu") return "cpu";
  throw Error(ErrorCode::Device, request.directory +
                                     ": models of the architecture ModernBERT run on the CPU so far, not "
                                     "on device '" +
                                     asked + "'; use 'cpu' or 'auto'");
}

void check_added_ids(const ModelRequest& request, const std::vector<int32_t>& added_ids) {
  if (request.random || added_ids.empty()) return;
  const ModelConfig config = read_config(request.directory);
  if (added_ids.back() >= config.vocabulary)
    throw Error(ErrorCode::ModelFormat,
                request.directory + ": an added token has the id " + std::to_string(added_ids.back()) +
                    " (tokenizer_config.json, added_tokens.json or tokenizer.json), but the embeddings have only " +
                    std::to_string(config.vocabulary) +
                    " rows (vocab_size in config.json); take the token out, or resize the model's embeddings");
}

}  // namespace

bool LoadedModel::is_source_id(int32_t id) const {
  const ModelConfig& config = engine->config();
  if (id == config.special.pad) return false;
  return (id >= 0 && id < config.real_ids()) || std::binary_search(added_ids.begin(), added_ids.end(), id);
}

LoadedModel load_model(const ModelRequest& request, const LoadOptions& options,
                       const std::function<void(double)>& progress, const std::atomic<bool>& cancelled) {
  check_added_ids(request, options.added_ids);
  LoadedModel model;
  model.device =
      open_device(device_for(request, options.device), options.precision, options.threads, options.deterministic);
  const std::optional<WeightType> head = head_type(options.head_precision, model.device.context, model.device.name);
  if (head)
    model.device.context.rounded_head =
        *head == WeightType::BF16 && model.device.context.kernels != nullptr && model.device.context.kernels->round;
  const Context& device = model.device.context;
  model.memory_limit = options.memory_limit > 0 ? options.memory_limit : model.device.available_memory;

  const std::optional<WeightType> type = weight_type(options.precision, device);
  const LoadContext context{device,     std::make_shared<MemoryBudget>(model.memory_limit), progress,
                            &cancelled, options.map ? FileUse::Map : FileUse::Read,         head};
  std::shared_ptr<const Weights> weights;
  if (request.random) {
    weights = random_weights(*request.random, type.value_or(WeightType::F32), request.seed, context);
  } else {
    const std::string key = identity_of(request.directory) + "\n" + model.device.name + " " +
                            (type ? name_of(*type) : "stored") + (head ? std::string("/") + name_of(*head) : "") +
                            (device.row_major_copies ? " twice " : " ") + (options.map ? "mapped " : "read ") +
                            std::to_string(options.mask_token_id);
    const auto entry = shared_entry(key);
    // Asked again and again, so that a cancelled load need not wait. (Not a timed mutex: ThreadSanitizer does not see
    // how GCC's is locked.)
    while (!entry->loading.try_lock()) {
      if (cancelled.load()) throw Cancelled();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const std::lock_guard<std::mutex> lock(entry->loading, std::adopt_lock);
    weights = entry->weights.lock();
    if (!weights) {
      weights = load_weights(request.directory, type, options.mask_token_id, context);
      device.operations->wait(device);  // engines that share them have streams of their own
      entry->weights = weights;
    } else {
      const uint64_t bytes = weights->budget->used();  // shared, but this engine's limit covers them too
      context.budget->reserve(bytes, "the model in " + request.directory);
      progress(1);
    }
  }
  model.precision = name_of(weights->words.type);
  if (model.precision == "int8" && options.precision != "int8" && options.precision != "auto")
    throw Error(ErrorCode::InvalidArgument, "the weights in " + request.directory +
                                                " are saved as int8; precision must be 'auto' "
                                                "or 'int8', not '" +
                                                options.precision + "'");
  // int8 rounds its activations to less than eight bits, `bf16` asks for rounding; where nobody asked, none is rounded.
  if (device.kernels != nullptr && device.kernels->round != nullptr)
    model.device.context.rounded_attention = model.precision == "int8" || options.precision == "bf16";
  model.head_precision = name_of(weights->decoder().type);
  if (head && !weights->config.head)
    throw Error(
        ErrorCode::InvalidArgument,
        "this model has no language-model head (tensors lm_head.*), so headPrecision is of no use; leave it out");
  const TargetAttention attention = options.attention.value_or(weights->config.attention);
  if (attention == TargetAttention::Mixed && weights->config.is_modern_bert())
    throw Error(ErrorCode::InvalidArgument, request.directory +
                                                ": attention 'mixed' (eq. 6) is one of XLM-R's: rotary positions are "
                                                "not defined for it; leave it out");
  model.engine = std::make_unique<Engine>(std::move(weights), device, model.device.resources, model.memory_limit,
                                          options.allowed_ids, attention);
  const int64_t real_ids = model.engine->config().real_ids();
  std::copy_if(options.added_ids.begin(), options.added_ids.end(), std::back_inserter(model.added_ids),
               [&](int32_t id) { return id >= real_ids; });
  return model;
}

}  // namespace mask_predict
