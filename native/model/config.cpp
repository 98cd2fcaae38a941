#include "model/config.h"


#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/paths.h"
#include "base/text.h"
#include "model/tensor_table.h"

namespace mask_predict {

namespace {

struct KnownModel {
  const char* type;
  NormPlacement norm;
  double layer_norm_epsilon;  // what Hugging Face takes if config.json says nothing
};

constexpr KnownModel kKnownModels[] = {
    {"xlm-roberta", NormPlacement::Post, 1e-12},
    {"xlm-roberta-xl", NormPlacement::Pre, 1e-5},
};

// Sizes far above any real model: products of them still fit 64 bits.
constexpr int64_t kMostLayers = 1000;
constexpr int64_t kMostHeads = 1024;
constexpr int64_t kLargestHidden = 65536;
constexpr int64_t kLargestFeedForward = int64_t{1} << 20;
constexpr int64_t kLargestVocabulary = int64_t{1} << 24;
constexpr int64_t kMostPositions = int64_t{1} << 20;

constexpr int64_t kSmallestVocabulary = 5;  // <s> <pad> </s> <unk> <mask>
constexpr int64_t kFewestPositions = 5;     // <s>, one token and </s>, from position 2 on
constexpr int64_t kFewestLengths = 4;       // class 3, one token between <s> and </s>, is the first in use

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

  [[noreturn]] void fail(const char* name, const std::string& allowed) const {
    const JsonValue* value = root_.find(name);
    throw Error(
        ErrorCode::ModelFormat,
        path_ + ": " + name + (value == nullptr ? " is missing" : " is " + value->describe()) + ", must be " + allowed);
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

const KnownModel& read_model_type(const ConfigReader& reader) {
  std::string known;
  const JsonValue* type = reader.field("model_type");
  for (const KnownModel& model : kKnownModels) {
    if (type != nullptr && type->string() != nullptr && *type->string() == model.type) return model;
    known += (known.empty() ? "" : " or ") + quote(model.type);
  }
  reader.fail("model_type", known);
}

}  // namespace

ModelConfig read_config(const std::string& directory) {
  check_directory(directory);
  const ConfigReader reader(text_of(path_of(directory) / "config.json"));
  const KnownModel& model = read_model_type(reader);

  reader.require_if_present("hidden_act", "gelu");
  reader.require_if_present("position_embedding_type", "absolute");
  if (reader.optional_boolean("is_decoder", false))
    reader.fail("is_decoder", "false: a decoder reads from left to right and is another model than XLM-R");
  reader.require_id_if_present("bos_token_id", 0);
  reader.require_id_if_present("pad_token_id", 1);
  reader.require_id_if_present("eos_token_id", 2);

  ModelConfig config;
  config.model_type = model.type;
  config.norm = model.norm;
  config.layers = reader.size("num_hidden_layers", 1, kMostLayers);
  config.hidden = reader.size("hidden_size", 1, kLargestHidden);
  config.heads = reader.size("num_attention_heads", 1, kMostHeads);
  if (config.hidden % config.heads != 0)
    reader.fail("num_attention_heads", "a divisor of hidden_size, " + std::to_string(config.hidden));
  config.feed_forward = reader.size("intermediate_size", 1, kLargestFeedForward);
  config.vocabulary = reader.size("vocab_size", kSmallestVocabulary, kLargestVocabulary);
  config.max_positions = reader.size("max_position_embeddings", kFewestPositions, kMostPositions);
  config.token_types = reader.optional_size("type_vocab_size", 1, 1, kLargestVocabulary);
  config.lengths = reader.optional_size("length_vocab_size", 0, kFewestLengths, kMostPositions);
  config.mask_token_id = reader.optional_size("mask_token_id", -1, kSmallestVocabulary - 1, config.vocabulary - 1);
  config.layer_norm_epsilon = reader.optional_epsilon("layer_norm_eps", model.layer_norm_epsilon);
  config.tie_word_embeddings = reader.optional_boolean("tie_word_embeddings", true);
  return config;
}

int64_t ModelConfig::parameters() const {
  int64_t count = 0;
  for (const TensorEntry& entry : tensors_of(*this)) count += entry.values() + entry.added_rows * entry.inputs;
  return count;
}

int64_t ModelConfig::body_weights() const {
  int64_t count = 0;
  LayerWeights layer;
  each_tensor_of_layer(*this, 0, layer,
                       {[&](const TensorEntry& entry, const PackedMatrix&) { count += entry.values(); },
                        [](const TensorEntry&, const Buffer&) {}});
  return layers * count;
}

}  // namespace mask_predict
