#include "addon/engine_arguments.h"

#include "addon/arguments.h"

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
  c.feed_forward = size("ffn", 1, 1 << 20);
  c.vocabulary = size("vocab", 6, 1 << 24);
  c.max_positions = size("maxPositions", 5, 1 << 20);
  c.lengths = size("lengths", 0, 1 << 20);
  if (c.lengths > 0 && c.lengths < 4) invalid("lengths must be 0 or at least 4");
  c.mask_token_id = size("maskTokenId", 5, c.vocabulary - 1);
  seed = read_seed(object.Get("seed"), "seed");
  return c;
}

LoadOptions read_options(const Napi::Value& value) {
  if (!value.IsObject()) invalid("options must be an object");
  const Napi::Object object = value.As<Napi::Object>();
  LoadOptions options;
  options.device = read_string(object.Get("device"), "device");
  options.precision = read_string(object.Get("precision"), "precision");
  options.threads = static_cast<int>(read_integer(object.Get("threads"), "threads", 0, 256));
  options.memory_limit =
      static_cast<uint64_t>(read_integer(object.Get("memoryLimit"), "memoryLimit", 0, int64_t{1} << 53));
  options.mask_token_id = read_integer(object.Get("maskTokenId"), "maskTokenId", -1, 1 << 24);
  const Napi::Value allowed = object.Get("allowedIds");
  if (!allowed.IsNull()) options.allowed_ids = copy(read_integers(allowed, "vocabulary.allowedIds"));
  options.map = read_boolean(object.Get("map"), "map");
  options.deterministic = read_boolean(object.Get("deterministic"), "deterministic");
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

std::vector<int32_t> read_source_ids(const Napi::Value& value, const ModelConfig& config, uint32_t index) {
  const std::string name = "source " + std::to_string(index);
  const View<int32_t> ids = read_integers(value, name);
  if (ids.size < 2 || ids.size > config.max_ids())
    invalid(name + " has " + std::to_string(ids.size) + " ids; it must have 2 to " + std::to_string(config.max_ids()) +
            ", <s> and </s> included");
  if (ids.data[0] != 0 || ids.data[ids.size - 1] != 2)
    invalid(name + " must begin with <s> (id 0) and end with </s> (id 2)");
  for (int64_t i = 0; i < ids.size; i++)
    if (ids.data[i] < 0 || ids.data[i] > config.mask_token_id || ids.data[i] == 1)
      invalid(name + " has id " + std::to_string(ids.data[i]) + " at position " + std::to_string(i) +
              "; ids are 0 to " + std::to_string(config.mask_token_id) +
              " without 1 (padding: pass each source at its own length)");
  return copy(ids);
}

std::vector<NewSource> read_new_sources(const Napi::CallbackInfo& info, size_t next, const ModelConfig& config) {
  const Napi::Array list = read_array(info[next], "sources"), states = read_array(info[next + 1], "states");
  if (states.Length() != list.Length()) invalid("states must have one entry for each source");
  std::vector<NewSource> sources;
  for (uint32_t i = 0; i < list.Length(); i++)
    sources.push_back({read_source_ids(list.Get(i), config, i),
                       read_boolean(states.Get(i), "states of source " + std::to_string(i))});
  return sources;
}

StopRule read_stop(const Napi::Value& value) {
  if (value.IsNull() || value.IsUndefined()) return {};
  if (value.IsString() && value.As<Napi::String>().Utf8Value() == "unchanged") return {StopRule::Unchanged, 0};
  return {StopRule::Confident, static_cast<float>(read_number(value, "a stopping rule, where it is not 'unchanged',"))};
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
    for (int64_t p = 0; p < ids.size; p++)
      if (ids.data[p] < 0 || ids.data[p] > config.mask_token_id)
        invalid(name + " has id " + std::to_string(ids.data[p]) + "; ids are 0 to " +
                std::to_string(config.mask_token_id));
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
             candidates = list_of(next + 3, "candidates");
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
    if (candidates && !candidates->Get(i).IsNull())
      work.candidates = read_candidates(candidates->Get(i), *targets[i], i, config);
  }
  return works;
}

Napi::Array arrays_of(Napi::Env env, const std::vector<std::vector<float>>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, new_floats(env, values[i].data(), values[i].size()));
  return array;
}

}  // namespace mask_predict
