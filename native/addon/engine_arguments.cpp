#include "addon/engine_arguments.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "addon/arguments.h"
#include "engine/target_batch.h"

namespace mask_predict {

ModelConfig read_architecture(const Napi::Object& object, uint64_t& seed) {
  ModelConfig c;
  const auto size = [&](const char* name, int64_t least, int64_t most) {
    return read_integer(object.Get(name), name, least, most);
  };
  const std::string norm = read_string(object.Get("norm"), "norm");
  if (norm != "pre" && norm != "post") invalid("norm must be 'pre' or 'post', not '" + norm + "'");
  c.norm = norm == "pre" ? NormPlacement::Pre : NormPlacement::Post;
  c.model_type = norm == "pre" ? "xlm-roberta-xl" : "xlm-roberta";
  c.layers = size("layers", 1, 1000);
  c.hidden = size("hidden", 1, 65536);
  c.heads = size("heads", 1, 1024);
  if (c.hidden % c.heads != 0)
    invalid("hidden (" + std::to_string(c.hidden) + ") must be a multiple of heads (" + std::to_string(c.heads) + ")");
  c.feed_forward = size("feedForward", 1, 1 << 20);
  c.vocabulary = size("vocabulary", 6, 1 << 24);
  c.max_positions = size("maxPositions", 5, 1 << 20);
  c.lengths = size("lengths", 0, 1 << 20);
  if (c.lengths > 0 && c.lengths < 4) invalid("lengths must be 0 or at least 4");
  c.mask_token_id = size("maskTokenId", 5, c.vocabulary - 1);
  seed = read_seed(object.Get("seed"), "seed");
  return c;
}

TargetAttention read_attention(const Napi::Value& value) {
  const std::string name = read_string(value, "attention");
  TargetAttention attention;
  if (!read_attention(name, attention)) invalid("attention must be 'dynamic' or 'mixed', not '" + name + "'");
  return attention;
}

LoadOptions read_options(const Napi::Value& value) {
  if (!value.IsObject()) invalid("options must be an object");
  const Napi::Object object = value.As<Napi::Object>();
  LoadOptions options;
  options.device = read_string(object.Get("device"), "device");
  options.precision = read_string(object.Get("precision"), "precision");
  options.head_precision = read_string(object.Get("headPrecision"), "headPrecision");
  options.threads = static_cast<int>(read_integer(object.Get("threads"), "threads", 0, 256));
  options.memory_limit =
      static_cast<uint64_t>(read_integer(object.Get("memoryLimit"), "memoryLimit", 0, int64_t{1} << 53));
  options.mask_token_id = read_integer(object.Get("maskTokenId"), "maskTokenId", -1, 1 << 24);
  const Napi::Value allowed = object.Get("allowedIds");
  options.added_ids = copy(read_integers(object.Get("addedIds"), "addedIds"));
  if (!allowed.IsNull()) options.allowed_ids = copy(read_integers(allowed, "vocabulary.allowedIds"));
  options.map = read_boolean(object.Get("map"), "map");
  options.deterministic = read_boolean(object.Get("deterministic"), "deterministic");
  const Napi::Value attention = object.Get("attention");
  if (!attention.IsNull()) options.attention = read_attention(attention);
  check_device(options.device, options.precision);
  return options;
}

std::optional<Sampling> read_sampling(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return std::nullopt;
  if (!value.IsObject()) invalid("sampling must be an object");
  const Napi::Object object = value.As<Napi::Object>();
  Sampling sampling;
  sampling.seed = read_seed(object.Get("seed"), "sampling.seed");
  sampling.iterations = read_integer(object.Get("iterations"), "sampling.iterations", 1, 100000);
  sampling.iteration = read_integer(object.Get("iteration"), "sampling.iteration", 1, sampling.iterations);
  return sampling;
}

Napi::Array read_array(const Napi::Value& value, const std::string& name) {
  if (!value.IsArray()) invalid(name + " must be an array");
  return value.As<Napi::Array>();
}

EndNames end_names(const ModelConfig& config, bool ids) {
  EndNames names = config.is_modern_bert() ? EndNames{"[CLS]", "[SEP]"} : EndNames{"<s>", "</s>"};
  if (ids) {
    names.begin += " (id " + std::to_string(config.special.begin) + ")";
    names.end += " (id " + std::to_string(config.special.end) + ")";
  }
  return names;
}

void check_candidate(const View<int32_t>& ids, const std::string& name, const ModelConfig& config) {
  for (int64_t i = 0; i < ids.size; i++)
    if (ids.data[i] < 0 || ids.data[i] >= config.real_ids())
      invalid(name + " has id " + std::to_string(ids.data[i]) + "; ids are 0 to " +
              std::to_string(config.real_ids() - 1));
}

std::vector<int32_t> read_source_ids(const Napi::Value& value, const LoadedModel& model, uint32_t index) {
  const ModelConfig& config = model.engine->config();
  const std::string name = "source " + std::to_string(index);
  const View<int32_t> ids = read_integers(value, name);
  const EndNames ends = end_names(config, false), ends_with_ids = end_names(config, true);
  const SpecialIds& special = config.special;
  if (ids.size < 2 || ids.size > config.max_ids())
    invalid(name + " has " + std::to_string(ids.size) + " ids; it must have 2 to " + std::to_string(config.max_ids()) +
            ", " + ends.begin + " and " + ends.end + " included");
  if (ids.data[0] != special.begin || ids.data[ids.size - 1] != special.end)
    invalid(name + " must begin with " + ends_with_ids.begin + " and end with " + ends_with_ids.end);
  for (int64_t i = 0; i < ids.size; i++)
    if (!model.is_source_id(ids.data[i]))
      invalid(name + " has id " + std::to_string(ids.data[i]) + " at position " + std::to_string(i) +
              "; ids are 0 to " + std::to_string(config.real_ids() - 1) + " without " + std::to_string(special.pad) +
              " (padding: pass each source at its own length)" +
              (model.added_ids.empty() ? "" : ", and those of added tokens"));
  return copy(ids);
}

Reading read_reading(const Napi::Value& value, std::vector<int32_t>& ids, const std::string& name,
                     const Engine& engine) {
  if (!value.IsObject()) invalid("what to read of " + name + " must be an object");
  const Napi::Object object = value.As<Napi::Object>();
  constexpr std::pair<const char*, Reading::Kind> kinds[] = {
      {"mean", Reading::Mean},           {"first", Reading::First},   {"classes", Reading::Classes},
      {"tokens", Reading::TokenClasses}, {"score", Reading::Score},   {"best", Reading::Best},
      {"logits", Reading::Logits},       {"scoreAt", Reading::Score},
  };
  const std::string given = read_string(object.Get("kind"), "what to read of " + name);
  const auto* const kind =
      std::find_if(std::begin(kinds), std::end(kinds), [&](const auto& known) { return given == known.first; });
  if (kind == std::end(kinds)) invalid("nothing called '" + given + "' can be read of " + name);
  Reading reading;
  reading.kind = kind->second;
  const int32_t mask = engine.mask_token_id();
  if (reading.kind == Reading::Best) reading.count = read_integer(object.Get("count"), "count", 1, 1 << 20);
  if (given == "scoreAt") {
    reading.position = read_integer(object.Get("position"), "position", 1, static_cast<int64_t>(ids.size()) - 2);
    int32_t& scored = ids[static_cast<size_t>(reading.position)];
    check_candidate({&scored, 1}, name, engine.config());
    reading.candidates = {{scored}};
    scored = mask;
  } else if (reading.kind == Reading::Score) {
    const auto masks = std::count(ids.begin(), ids.end(), mask);
    const Napi::Array list = read_array(object.Get("candidates"), "candidates of " + name);
    for (uint32_t n = 0; n < list.Length(); n++) {
      const std::string candidate = "candidate " + std::to_string(n) + " of " + name;
      const View<int32_t> view = read_integers(list.Get(n), candidate);
      if (view.size != masks)
        invalid(candidate + " has " + std::to_string(view.size) + " ids for " + std::to_string(masks) + " <mask>");
      check_candidate(view, candidate, engine.config());
      reading.candidates.push_back(copy(view));
    }
  }
  engine.check_reading(reading);
  return reading;
}

std::vector<NewSource> read_new_sources(const Napi::CallbackInfo& info, size_t next, const LoadedModel& model) {
  const Napi::Array list = read_array(info[next], "sources"), wants = read_array(info[next + 1], "states");
  if (wants.Length() != list.Length()) invalid("states must have one entry for each source");
  std::vector<NewSource> sources;
  for (uint32_t i = 0; i < list.Length(); i++) {
    NewSource source{read_source_ids(list.Get(i), model, i), false, std::nullopt};
    const Napi::Value want = wants.Get(i);
    if (want.IsObject())
      source.reading = read_reading(want, source.ids, "source " + std::to_string(i), *model.engine);
    else
      source.with_states = read_boolean(want, "states of source " + std::to_string(i));
    sources.push_back(std::move(source));
  }
  return sources;
}

StopRule read_stop(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return {};
  if (value.IsString() && value.As<Napi::String>().Utf8Value() == "unchanged") return {StopRule::Unchanged, 0};
  return {StopRule::Confident, static_cast<float>(read_number(value, "a stopping rule, where it is not 'unchanged',"))};
}

float read_remask_below(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return 0;
  const double log_prob = read_number(value, "the bound of re-masking");
  if (!(log_prob <= 0)) invalid("the bound of re-masking must be the logarithm of a probability");
  return static_cast<float>(log_prob);
}

std::vector<std::vector<int32_t>> read_candidates(const Napi::Value& value, const Target& target, uint32_t index,
                                                  const ModelConfig& config) {
  const Napi::Array list = read_array(value, "candidates of target " + std::to_string(index));
  std::vector<std::vector<int32_t>> candidates;
  for (uint32_t n = 0; n < list.Length(); n++) {
    const std::string name = "candidate " + std::to_string(n) + " of target " + std::to_string(index);
    const View<int32_t> ids = read_integers(list.Get(n), name);
    if (ids.size != target.length())
      invalid(name + " has " + std::to_string(ids.size) + " ids, but the target has " +
              std::to_string(target.length()));
    check_candidate(ids, name, config);
    candidates.push_back(copy(ids));
  }
  return candidates;
}

std::vector<TargetWork> read_works(const Targets& targets, const Napi::CallbackInfo& info, size_t next,
                                   const ModelConfig& config) {
  const View<int32_t> plans = read_integers(info[next], "plans");
  constexpr int64_t each = 4;
  if (plans.size < each * static_cast<int64_t>(targets.size())) invalid("plans must have 4 numbers for each target");
  const auto list_of = [&](size_t argument, const char* name) -> std::optional<Napi::Array> {
    if (info[argument].IsNull()) return std::nullopt;
    const Napi::Array list = read_array(info[argument], name);
    if (list.Length() != targets.size()) invalid(std::string(name) + " must have one entry for each target");
    return list;
  };
  const auto seeds = list_of(next + 1, "seeds"), stops = list_of(next + 2, "stops"),
             bounds = list_of(next + 3, "bounds"), candidates = list_of(next + 4, "candidates");
  std::vector<TargetWork> works(targets.size());
  for (uint32_t i = 0; i < works.size(); i++) {
    TargetWork& work = works[i];
    const int32_t* const plan = plans.data + each * i;
    work.target = targets[i];
    work.iterations = plan[0];
    work.passed = plan[1];
    work.until = plan[2];
    work.watched = plan[3] != 0;
    if (work.iterations < 1 || work.passed < 0 || work.passed >= work.until || work.until > work.iterations)
      invalid("the plan of target " + std::to_string(i) + " must have passes done < passes to reach <= iterations");
    if (seeds && seeds->Get(i).IsBigInt())
      work.sampling = Sampling{read_seed(seeds->Get(i), "a seed"), work.iterations, work.passed + 1};
    if (stops) work.stop = read_stop(stops->Get(i));
    if (bounds) work.remask_below = read_remask_below(bounds->Get(i));
    if (candidates && !candidates->Get(i).IsNull())
      work.candidates = read_candidates(candidates->Get(i), *targets[i], i, config);
  }
  return works;
}

namespace {

// Fields of the configuration that only ModernBERT has.
Napi::Object modern_bert_object(Napi::Env env, const ModelConfig& c) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array local = Napi::Array::New(env, c.rotary.local.size()), others = Napi::Array::New(env);
  for (uint32_t i = 0; i < c.rotary.local.size(); i++) local.Set(i, Napi::Boolean::New(env, c.rotary.local[i]));
  for (uint32_t i = 0; i < c.special.others.size(); i++) others.Set(i, Napi::Number::New(env, c.special.others[i]));
  object.Set("localLayers", local);
  object.Set("window", Napi::Number::New(env, static_cast<double>(c.rotary.window)));
  object.Set("globalTheta", Napi::Number::New(env, c.rotary.global_theta));
  object.Set("localTheta", Napi::Number::New(env, c.rotary.local_theta));
  object.Set("otherSpecialIds", others);
  object.Set("classifierPooling", c.classifies_mean ? "mean" : "cls");
  object.Set("tokenClassifier", c.of_tokens);
  return object;
}

}  // namespace

Napi::Object config_object(Napi::Env env, const ModelConfig& c) {
  Napi::Object object = Napi::Object::New(env);
  const auto set = [&](const char* name, int64_t value) {
    object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  };
  object.Set("modelType", c.model_type);
  set("layers", c.layers);
  set("hidden", c.hidden);
  set("heads", c.heads);
  set("feedForward", c.feed_forward);
  set("vocabulary", c.vocabulary);
  set("maxPositions", c.max_positions);
  set("maxIds", c.max_ids());
  set("lengths", c.lengths);
  object.Set("head", c.head);
  set("classes", c.classes);
  set("tokenClasses", c.token_classes);
  set("maskTokenId", c.mask_token_id);
  object.Set("norm", c.norm == NormPlacement::Pre ? "pre" : "post");
  object.Set("attention", name_of(c.attention));
  object.Set("layerNormEpsilon", c.layer_norm_epsilon);
  object.Set("tieWordEmbeddings", c.tie_word_embeddings);
  set("parameters", c.parameters());
  set("bodyWeights", c.body_weights());
  set("beginTokenId", c.special.begin);
  set("endTokenId", c.special.end);
  set("padTokenId", c.special.pad);
  if (c.is_modern_bert()) object.Set("modernBert", modern_bert_object(env, c));
  return object;
}

Napi::Array arrays_of(Napi::Env env, const std::vector<std::vector<float>>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, new_floats(env, values[i].data(), values[i].size()));
  return array;
}

Napi::Object answer_of(Napi::Env env, const Source& source) {
  const Reading& reading = *source.reading;
  check_numbers(reading.values, reading.kind <= Reading::First ? "states" : "logits");
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("positions", new_integers(env, source.wanted.data(), source.wanted.size()));
  answer.Set("values", new_floats(env, reading.values.data(), reading.values.size()));
  answer.Set("ids", new_integers(env, reading.ids.data(), reading.ids.size()));
  return answer;
}

}  // namespace mask_predict
