// ModernBERT's config.json in both of its styles: with global_attn_every_n_layers and *_rope_theta (transformers 4.48 to
// 4.57), and with layer_types and rope_parameters (5). Where both say something, the newer one counts.
#include <algorithm>
#include <filesystem>

#include "model/config_reader.h"

namespace mask_predict {
namespace {

constexpr const char* global_layer = "full_attention";
constexpr const char* local_layer = "sliding_attention";

void require_false(const ConfigReader& reader, const char* name) {
  if (reader.optional_boolean(name, false)) reader.fail(name, "false: such biases are not supported");
}

std::vector<bool> read_layer_types(const ConfigReader& reader, int64_t layers) {
  std::vector<bool> local;
  const JsonValue* types = reader.field("layer_types");
  if (types == nullptr) {
    const int64_t every = reader.optional_size("global_attn_every_n_layers", 3, 1, most_layers);
    for (int64_t i = 0; i < layers; i++) local.push_back(i % every != 0);
    return local;
  }
  if (types->array() == nullptr || static_cast<int64_t>(types->array()->size()) != layers)
    reader.fail("layer_types", "a list with one entry for each of the " + std::to_string(layers) + " layers");
  for (const JsonValue& type : *types->array()) {
    const std::string* name = type.string();
    if (name == nullptr || (*name != global_layer && *name != local_layer))
      reader.fail_value("an entry of layer_types", type, quote(global_layer) + " or " + quote(local_layer));
    local.push_back(*name == local_layer);
  }
  return local;
}

double read_theta(const ConfigReader& reader, const char* layer_type, const char* older, double otherwise) {
  otherwise = reader.optional_positive(older, otherwise);
  const JsonValue* all = reader.field("rope_parameters");
  const JsonValue* of_type = all == nullptr ? nullptr : all->find(layer_type);
  if (of_type == nullptr || of_type->is_null()) return otherwise;
  const JsonValue* type = of_type->find("rope_type");
  if (type != nullptr && (type->string() == nullptr || *type->string() != "default"))
    reader.fail_value("rope_type of rope_parameters", *type, quote("default") + ": scaled positions are not supported");
  const JsonValue* theta = of_type->find("rope_theta");
  return theta == nullptr || theta->is_null() ? otherwise : reader.positive(*theta, "rope_theta of rope_parameters");
}

RotaryPositions read_rotary(const ConfigReader& reader, int64_t layers) {
  const JsonValue* parameters = reader.field("rope_parameters");
  if (parameters != nullptr && parameters->object() == nullptr) reader.fail("rope_parameters", "an object");
  if (reader.field("rope_scaling") != nullptr)
    reader.fail("rope_scaling", "missing: scaled positions are not supported");
  RotaryPositions rotary;
  rotary.local = read_layer_types(reader, layers);
  rotary.global_theta = read_theta(reader, global_layer, "global_rope_theta", 160000);
  // Hugging Face writes null where a local layer has the global theta.
  const bool is_null = reader.is_null("local_rope_theta");
  rotary.local_theta = read_theta(reader, local_layer, "local_rope_theta", is_null ? rotary.global_theta : 10000);
  rotary.window = reader.optional_size("local_attention", 128, 2, most_positions) / 2;
  return rotary;
}

SpecialIds read_special_ids(const ConfigReader& reader, int64_t vocabulary) {
  const auto id = [&](const char* name, int64_t otherwise) {
    const int64_t value = reader.optional_size(name, otherwise, 0, vocabulary - 1);
    if (value >= vocabulary) reader.fail(name, "an id below vocab_size, " + std::to_string(vocabulary));
    return static_cast<int32_t>(value);
  };
  SpecialIds special;
  const int32_t cls = id("cls_token_id", 50281), sep = id("sep_token_id", 50282);
  const int32_t bos = id("bos_token_id", cls), eos = id("eos_token_id", sep);
  special.pad = id("pad_token_id", 50283);
  // mmBERT's [CLS] names its end token.
  special.begin = cls == sep ? bos : cls;
  special.end = sep;
  special.others = {cls, bos, eos};
  std::vector<int32_t>& others = special.others;
  others.erase(std::remove_if(others.begin(), others.end(),
                              [&](int32_t other) { return other == special.begin || other == special.end; }),
               others.end());
  return special;
}

}  // namespace

bool is_modern_bert(const ConfigReader& reader) {
  const JsonValue* type = reader.field("model_type");
  return type != nullptr && type->string() != nullptr && *type->string() == modern_bert_type;
}

ModelConfig read_modern_bert(const ConfigReader& reader) {
  reader.require_if_present("hidden_activation", "gelu");
  reader.require_if_present("classifier_activation", "gelu");
  for (const char* name : {"attention_bias", "mlp_bias", "norm_bias", "classifier_bias"}) require_false(reader, name);
  if (!reader.optional_boolean("decoder_bias", true)) reader.fail("decoder_bias", "true");

  ModelConfig config;
  config.architecture = Architecture::ModernBert;
  config.model_type = modern_bert_type;
  config.norm = NormPlacement::Pre;
  config.layers = reader.size("num_hidden_layers", 1, most_layers);
  config.hidden = reader.size("hidden_size", 1, largest_hidden);
  config.heads = reader.size("num_attention_heads", 1, most_heads);
  if (config.hidden % (2 * config.heads) != 0)
    reader.fail("num_attention_heads", "a divisor of half of hidden_size, which is " + std::to_string(config.hidden) +
                                           ": heads are of an even size");
  config.feed_forward = reader.size("intermediate_size", 1, largest_feed_forward);
  config.vocabulary = reader.size("vocab_size", 5, largest_vocabulary);
  config.max_positions = reader.optional_size("max_position_embeddings", 8192, 3, most_positions);
  config.lengths = reader.optional_size("length_vocab_size", 0, fewest_lengths, most_positions);
  config.mask_token_id = reader.optional_size("mask_token_id", -1, 0, config.vocabulary - 1);
  config.layer_norm_epsilon = reader.optional_epsilon("norm_eps", reader.optional_epsilon("layer_norm_eps", 1e-5));
  config.tie_word_embeddings = reader.optional_boolean("tie_word_embeddings", true);
  config.special = read_special_ids(reader, config.vocabulary);
  config.rotary = read_rotary(reader, config.layers);
  const JsonValue* pooling = reader.field("classifier_pooling");
  config.classifies_mean = pooling != nullptr && pooling->string() != nullptr && *pooling->string() == "mean";
  const JsonValue* architectures = reader.field("architectures");
  if (architectures != nullptr && architectures->array() != nullptr)
    for (const JsonValue& name : *architectures->array())
      config.of_tokens =
          config.of_tokens || (name.string() != nullptr && *name.string() == "ModernBertForTokenClassification");
  return config;
}

int64_t mask_in_tokenizer(const std::string& directory) {
  const std::filesystem::path folder(directory);
  std::error_code error;
  if (!std::filesystem::exists(folder / "tokenizer.json", error)) return -1;
  std::string content = "[MASK]";
  if (std::filesystem::exists(folder / "tokenizer_config.json", error)) {
    const JsonValue settings = read_json_file((folder / "tokenizer_config.json").string());
    const JsonValue* name = settings.find("mask_token");
    if (name != nullptr && name->object() != nullptr) name = name->find("content");
    if (name != nullptr && name->string() != nullptr) content = *name->string();
  }
  const JsonValue tokenizer = read_json_file((folder / "tokenizer.json").string());
  const JsonValue* added = tokenizer.find("added_tokens");
  if (added == nullptr || added->array() == nullptr) return -1;
  for (const JsonValue& token : *added->array()) {
    const JsonValue *text = token.find("content"), *id = token.find("id");
    if (text != nullptr && text->string() != nullptr && *text->string() == content && id != nullptr &&
        id->integer() != nullptr && *id->integer() >= 0)
      return *id->integer();
  }
  return -1;
}

}  // namespace mask_predict
