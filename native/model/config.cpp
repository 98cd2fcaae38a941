#include "model/config.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/paths.h"
#include "base/text.h"
#include "model/config_reader.h"
#include "model/tensor_table.h"

namespace mask_predict {

namespace {

struct KnownModel {
  const char* type;
  NormPlacement norm;
  double layer_norm_epsilon;  // what Hugging Face takes if config.json says nothing
};

constexpr KnownModel known_models[] = {
    {"xlm-roberta", NormPlacement::Post, 1e-12},
    {"xlm-roberta-xl", NormPlacement::Pre, 1e-5},
};

constexpr int64_t smallest_vocabulary = 5;  // <s> <pad> </s> <unk> <mask>
constexpr int64_t fewest_positions = 5;     // <s>, one token and </s>, from position 2 on

const KnownModel& read_model_type(const ConfigReader& reader) {
  std::string known;
  const JsonValue* type = reader.field("model_type");
  for (const KnownModel& model : known_models) {
    if (type != nullptr && type->string() != nullptr && *type->string() == model.type) return model;
    known += quote(model.type) + " or ";
  }
  reader.fail("model_type", known + quote(modern_bert_type));
}

// The attention that a model was trained with.
TargetAttention read_attention(const ConfigReader& reader) {
  TargetAttention attention = TargetAttention::Dynamic;
  const JsonValue* value = reader.field("mask_predict_attention");
  if (value != nullptr && (value->string() == nullptr || !read_attention(*value->string(), attention)))
    reader.fail("mask_predict_attention", quote("dynamic") + " or " + quote("mixed"));
  return attention;
}

}  // namespace

bool read_attention(const std::string& name, TargetAttention& attention) {
  if (name != "dynamic" && name != "mixed") return false;
  attention = name == "mixed" ? TargetAttention::Mixed : TargetAttention::Dynamic;
  return true;
}

const char* name_of(TargetAttention attention) { return attention == TargetAttention::Mixed ? "mixed" : "dynamic"; }

ModelConfig read_config(const std::string& directory) {
  check_directory(directory);
  const ConfigReader reader(text_of(path_of(directory) / "config.json"));
  if (is_modern_bert(reader)) return read_modern_bert(reader);
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
  config.attention = read_attention(reader);
  config.layers = reader.size("num_hidden_layers", 1, most_layers);
  config.hidden = reader.size("hidden_size", 1, largest_hidden);
  config.heads = reader.size("num_attention_heads", 1, most_heads);
  if (config.hidden % config.heads != 0)
    reader.fail("num_attention_heads", "a divisor of hidden_size, " + std::to_string(config.hidden));
  config.feed_forward = reader.size("intermediate_size", 1, largest_feed_forward);
  config.vocabulary = reader.size("vocab_size", smallest_vocabulary, largest_vocabulary);
  config.max_positions = reader.size("max_position_embeddings", fewest_positions, most_positions);
  config.token_types = reader.optional_size("type_vocab_size", 1, 1, largest_vocabulary);
  config.lengths = reader.optional_size("length_vocab_size", 0, fewest_lengths, most_positions);
  config.mask_token_id = reader.optional_size("mask_token_id", -1, smallest_vocabulary - 1, config.vocabulary - 1);
  config.layer_norm_epsilon = reader.optional_epsilon("layer_norm_eps", model.layer_norm_epsilon);
  config.tie_word_embeddings = reader.optional_boolean("tie_word_embeddings", true);
  return config;
}

HeadIds ModelConfig::head_ids() const {
  if (!is_modern_bert()) return xlm_roberta_ids(static_cast<int32_t>(mask_token_id));
  std::set<int32_t> never(special.others.begin(), special.others.end());
  never.insert({special.begin, special.end, special.pad, static_cast<int32_t>(mask_token_id)});
  HeadIds ids{};
  ids.real = static_cast<int32_t>(vocabulary);
  std::fill(std::begin(ids.never), std::end(ids.never), ids.real);
  std::copy(never.begin(), never.end(), ids.never);
  return ids;
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
