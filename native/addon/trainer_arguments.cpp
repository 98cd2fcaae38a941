#include "addon/trainer_arguments.h"

#include <string>

#include "addon/arguments.h"
#include "addon/engine_arguments.h"
#include "base/special_ids.h"

namespace mask_predict {
namespace {

using namespace training;

double read_fraction(const Napi::Object& object, const char* name, double most) {
  const double value = read_number(object.Get(name), name);
  if (!(value >= 0 && value <= most)) invalid(std::string(name) + " must be from 0 to " + std::to_string(most));
  return value;
}

double read_beta(const Napi::Object& object, const char* name) {
  const double value = read_number(object.Get(name), name);
  if (!(value >= 0 && value < 1)) invalid(std::string(name) + " must be at least 0 and below 1");
  return value;
}

Recompute read_recompute(const Napi::Value& value) {
  const std::string name = read_string(value, "recompute");
  if (name == "none") return Recompute::None;
  if (name == "gelu") return Recompute::Gelu;
  if (name == "layer") return Recompute::Layer;
  invalid("recompute must be 'none', 'gelu' or 'layer', not '" + name + "'");
}

std::vector<int32_t> read_ids(const Napi::Value& value, const std::string& name, const ModelConfig& c) {
  const View<int32_t> ids = read_integers(value, name);
  if (ids.size < 3 || ids.size > c.max_ids())
    invalid(name + " has " + std::to_string(ids.size) + " ids; it must have 3 to " + std::to_string(c.max_ids()) +
            ", <s> and </s> included");
  if (ids.data[0] != begin_id || ids.data[ids.size - 1] != end_id)
    invalid(name + " must begin with <s> (id 0) and end with </s> (id 2)");
  for (int64_t i = 0; i < ids.size; i++)
    if (ids.data[i] < 0 || ids.data[i] > c.mask_token_id || ids.data[i] == pad_id)
      invalid(name + " has id " + std::to_string(ids.data[i]) + " at position " + std::to_string(i) +
              "; ids are 0 to " + std::to_string(c.mask_token_id) + " without 1 (padding)");
  return copy(ids);
}

void check_gold(const std::vector<int32_t>& target, const std::vector<int32_t>& gold, const std::string& number,
                const ModelConfig& c) {
  if (gold.size() != target.size())
    invalid("gold " + number + " has " + std::to_string(gold.size()) + " ids, but the target has " +
            std::to_string(target.size()));
  for (size_t i = 0; i < gold.size(); i++)
    if (gold[i] == c.mask_token_id)
      invalid("gold " + number + " has <mask> at position " + std::to_string(i) + ", which is no answer");
  if (static_cast<int64_t>(gold.size()) >= c.lengths)
    invalid("target " + number + " has " + std::to_string(gold.size()) +
            " ids, but the length predictor's longest is " + std::to_string(c.lengths - 1));
}

std::vector<std::vector<int32_t>> read_list(const Napi::Object& part, const char* name, const char* one,
                                            const ModelConfig& c) {
  const Napi::Array list = read_array(part.Get(name), name);
  std::vector<std::vector<int32_t>> all;
  for (uint32_t i = 0; i < list.Length(); i++)
    all.push_back(read_ids(list.Get(i), std::string(one) + " " + std::to_string(i), c));
  return all;
}

StepPart read_part(const Napi::Value& value, const ModelConfig& c) {
  if (!value.IsObject()) invalid("a part of a step must be an object with sources, targets and golds");
  const Napi::Object object = value.As<Napi::Object>();
  StepPart part{read_list(object, "sources", "source", c),
                read_list(object, "targets", "target", c),
                read_list(object, "golds", "gold", c),
                {}};
  if (part.targets.empty()) invalid("a part of a step has no targets");
  if (part.golds.size() != part.targets.size())
    invalid("there are " + std::to_string(part.targets.size()) + " targets, but " + std::to_string(part.golds.size()) +
            " golds");
  for (size_t i = 0; i < part.targets.size(); i++) check_gold(part.targets[i], part.golds[i], std::to_string(i), c);
  const Napi::Value source_of = object.Get("sourceOf");
  if (source_of.IsUndefined()) {
    if (part.sources.size() != part.targets.size())
      invalid("there are " + std::to_string(part.sources.size()) + " sources and " +
              std::to_string(part.targets.size()) + " targets; sourceOf says which belongs to which");
    for (size_t i = 0; i < part.targets.size(); i++) part.source_of.push_back(static_cast<int32_t>(i));
    return part;
  }
  part.source_of = copy(read_integers(source_of, "sourceOf"));
  if (part.source_of.size() != part.targets.size()) invalid("sourceOf must have one entry for each target");
  std::vector<bool> used(part.sources.size());
  for (size_t i = 0; i < part.source_of.size(); i++) {
    if (part.source_of[i] < 0 || part.source_of[i] >= static_cast<int32_t>(part.sources.size()))
      invalid("sourceOf[" + std::to_string(i) + "] is " + std::to_string(part.source_of[i]) + "; there are " +
              std::to_string(part.sources.size()) + " sources");
    used[static_cast<size_t>(part.source_of[i])] = true;
  }
  for (size_t s = 0; s < used.size(); s++)
    if (!used[s]) invalid("source " + std::to_string(s) + " has no target");
  return part;
}

}  // namespace

TrainerRequest read_trainer_request(const Napi::Value& value) {
  TrainerRequest request;
  if (!value.IsObject()) {
    request.directory = read_string(value, "the model directory");
    return request;
  }
  const Napi::Object object = value.As<Napi::Object>();
  uint64_t seed = 0;  // the options' counts
  request.architecture = read_architecture(object, seed);
  request.architecture->tie_word_embeddings = read_boolean(object.Get("tieWordEmbeddings"), "tieWordEmbeddings");
  request.architecture->token_types = read_integer(object.Get("tokenTypes"), "tokenTypes", 0, 1 << 20);
  request.architecture->layer_norm_epsilon = read_number(object.Get("layerNormEpsilon"), "layerNormEpsilon");
  if (!(request.architecture->layer_norm_epsilon > 0)) invalid("layerNormEpsilon must be above 0");
  if (request.architecture->lengths == 0) invalid("lengths must be at least 4: training teaches a length predictor");
  request.draw = read_boolean(object.Get("draw"), "draw");
  // Checkpoints from before there was a choice do not have it.
  const Napi::Value attention = object.Get("attention");
  if (!attention.IsUndefined()) request.architecture->attention = read_attention(attention);
  return request;
}

TrainerOptions read_trainer_options(const Napi::Value& value) {
  if (!value.IsObject()) invalid("options must be an object");
  const Napi::Object object = value.As<Napi::Object>();
  TrainerOptions o;
  o.threads = static_cast<int>(read_integer(object.Get("threads"), "threads", 0, 256));
  o.memory_limit = static_cast<uint64_t>(read_integer(object.Get("memoryLimit"), "memoryLimit", 0, int64_t{1} << 53));
  o.mask_token_id = read_integer(object.Get("maskTokenId"), "maskTokenId", -1, 1 << 24);
  o.lengths = read_integer(object.Get("lengths"), "lengths", 0, 1 << 20);
  if (o.lengths > 0 && o.lengths < 4) invalid("lengths must be 0 or at least 4");
  o.new_head = read_boolean(object.Get("newHead"), "newHead");
  o.seed = read_seed(object.Get("seed"), "seed");
  o.dropout = read_fraction(object, "dropout", 0.9);
  o.objective.label_smoothing = read_fraction(object, "labelSmoothing", 1);
  o.objective.length_weight = read_fraction(object, "lengthWeight", 1e6);
  o.adam.first_decay = read_beta(object, "beta1");
  o.adam.second_decay = read_beta(object, "beta2");
  o.adam.epsilon = read_fraction(object, "epsilon", 1);
  if (o.adam.epsilon == 0) invalid("epsilon must be above 0");
  o.adam.weight_decay = read_fraction(object, "weightDecay", 1e6);
  o.adam.clip_norm = read_fraction(object, "clipNorm", 1e30);
  o.adam.average_decay = read_beta(object, "average");
  o.decay_all = read_boolean(object.Get("decayAll"), "decayAll");
  o.freeze_embeddings = read_boolean(object.Get("freezeEmbeddings"), "freezeEmbeddings");
  o.recompute = read_recompute(object.Get("recompute"));
  o.rounded_products = read_boolean(object.Get("roundedProducts"), "roundedProducts");
  const Napi::Value attention = object.Get("attention");
  if (!attention.IsNull()) o.attention = read_attention(attention);
  return o;
}

std::vector<StepPart> read_parts(const Napi::Value& value, const ModelConfig& config) {
  const Napi::Array list = read_array(value, "parts");
  if (list.Length() == 0) invalid("a step must have at least one part");
  std::vector<StepPart> parts;
  for (uint32_t i = 0; i < list.Length(); i++) parts.push_back(read_part(list.Get(i), config));
  return parts;
}

StepOptions read_step_options(const Napi::Value& value) {
  if (!value.IsObject()) invalid("the options of a step must be an object");
  const Napi::Object object = value.As<Napi::Object>();
  StepOptions o;
  o.update = read_boolean(object.Get("update"), "update");
  o.learning_rate = read_number(object.Get("learningRate"), "learningRate");
  if (!(o.learning_rate >= 0)) invalid("learningRate must be at least 0");
  o.seed = read_seed(object.Get("seed"), "seed");
  o.step = static_cast<uint32_t>(read_integer(object.Get("step"), "step", 0, UINT32_MAX));
  return o;
}

}  // namespace mask_predict
