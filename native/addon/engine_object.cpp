#include "addon/engine_object.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "engine/model_loader.h"

namespace mask_predict {
namespace {

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
  if (c.hidden % c.heads != 0) invalid("hidden (" + std::to_string(c.hidden) + ") must be a multiple of heads (" + std::to_string(c.heads) + ")");
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
  options.memory_limit = static_cast<uint64_t>(read_integer(object.Get("memoryLimit"), "memoryLimit", 0, int64_t{1} << 53));
  options.mask_token_id = read_integer(object.Get("maskTokenId"), "maskTokenId", -1, 1 << 24);
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
  if (ids.data[0] != 0 || ids.data[ids.size - 1] != 2) invalid(name + " must begin with <s> (id 0) and end with </s> (id 2)");
  for (int64_t i = 0; i < ids.size; i++)
    if (ids.data[i] < 0 || ids.data[i] > config.mask_token_id || ids.data[i] == 1)
      invalid(name + " has id " + std::to_string(ids.data[i]) + " at position " + std::to_string(i) + "; ids are 0 to " +
              std::to_string(config.mask_token_id) + " without 1 (padding: pass each source at its own length)");
  return copy(ids);
}

Napi::Array arrays_of(Napi::Env env, const std::vector<std::vector<float>>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, new_floats(env, values[i].data(), values[i].size()));
  return array;
}

void check_all_predicted(const Targets& targets, const char* call) {
  for (size_t i = 0; i < targets.size(); i++) {
    const std::lock_guard<std::mutex> lock(targets[i]->mutex);
    if (targets[i]->masked_count > 0)
      throw Error(ErrorCode::InvalidArgument, "target " + std::to_string(i) + " of " + call + " has " +
                                                  std::to_string(targets[i]->masked_count) +
                                                  " masked positions left; predict() it first");
  }
}

}  // namespace

struct EngineObject::State {
  LoadedModel model;
  Engine& engine() { return *model.engine; }
};

Napi::Function EngineObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeEngine",
      {InstanceAccessor<&EngineObject::ready>("ready"), InstanceAccessor<&EngineObject::config>("config"),
       InstanceAccessor<&EngineObject::device>("device"), InstanceAccessor<&EngineObject::precision>("precision"),
       InstanceAccessor<&EngineObject::instruction_set>("instructionSet"),
       InstanceAccessor<&EngineObject::fallback>("fallback"),
       InstanceAccessor<&EngineObject::threads>("threads"), InstanceMethod<&EngineObject::memory>("memory"),
       InstanceMethod<&EngineObject::encode>("encode"), InstanceMethod<&EngineObject::predict>("predict"),
       InstanceMethod<&EngineObject::remask>("remask"), InstanceMethod<&EngineObject::decode>("decode"),
       InstanceMethod<&EngineObject::logits>("logits"), InstanceMethod<&EngineObject::states>("states"),
       InstanceMethod<&EngineObject::log_probs>("logProbs"), InstanceMethod<&EngineObject::cancel>("cancel"),
       InstanceMethod<&EngineObject::close>("close")});
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : ObjectWrap(info), state_(std::make_shared<State>()) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    ModelRequest request;
    if (info[0].IsObject())
      request.random = read_architecture(info[0].As<Napi::Object>(), request.seed);
    else
      request.directory = read_string(info[0], "the model directory");
    const LoadOptions options = read_options(info[1]);
    if (info[2].IsFunction()) on_progress_ = Napi::Persistent(info[2].As<Napi::Function>());

    executor_ = std::make_unique<Executor>(env, [this](bool idle) { idle ? Unref() : Ref(); });
    const bool report = !on_progress_.IsEmpty();
    const auto load = [this, state = state_, request, options, report](const std::atomic<bool>& cancelled) -> Executor::Answer {
      const auto progress = [&](double fraction) {
        if (report)
          executor_->post([this, fraction](Napi::Env e) {
            if (!on_progress_.IsEmpty()) on_progress_.Call({Napi::Number::New(e, fraction)});
          });
      };
      state->model = load_model(request, options, progress, cancelled);
      return [this](Napi::Env e) -> Napi::Value {
        if (closed_) throw Error(ErrorCode::Disposed, "the engine was closed while it was loading");
        on_progress_.Reset();
        config_ = std::make_shared<const ModelConfig>(state_->engine().config());
        loaded_ = true;
        external_bytes_ = static_cast<int64_t>(state_->engine().weights().budget->used());
        Napi::MemoryManagement::AdjustExternalMemory(e, external_bytes_);
        return e.Undefined();
      };
    };
    ready_ = Napi::Reference<Napi::Promise>::New(executor_->submit(env, load).promise, 1);
  });
}

EngineObject::~EngineObject() {
  executor_ = nullptr;
  if (external_bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(Env(), -external_bytes_);
}

EngineObject::State& EngineObject::state() const {
  if (closed_) throw Error(ErrorCode::Disposed, "this engine was closed");
  if (!loaded_) throw Error(ErrorCode::Disposed, "this engine has not loaded its model");
  return *state_;
}

Napi::Value EngineObject::ready(const Napi::CallbackInfo&) { return ready_.Value(); }

Napi::Value EngineObject::config(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    if (!config_) state();
    const ModelConfig& c = *config_;
    Napi::Object object = Napi::Object::New(env);
    const auto set = [&](const char* name, int64_t value) { object.Set(name, Napi::Number::New(env, static_cast<double>(value))); };
    object.Set("modelType", c.model_type);
    set("layers", c.layers);
    set("hidden", c.hidden);
    set("heads", c.heads);
    set("feedForward", c.feed_forward);
    set("vocabulary", c.vocabulary);
    set("maxPositions", c.max_positions);
    set("lengths", c.lengths);
    set("maskTokenId", c.mask_token_id);
    object.Set("norm", c.norm == NormPlacement::Pre ? "pre" : "post");
    object.Set("layerNormEpsilon", c.layer_norm_epsilon);
    set("parameters", c.parameters());
    return object;
  });
}

Napi::Value EngineObject::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.name); });
}
Napi::Value EngineObject::precision(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.precision); });
}
Napi::Value EngineObject::fallback(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.fallback); });
}
Napi::Value EngineObject::instruction_set(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.instruction_set); });
}
Napi::Value EngineObject::threads(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::Number::New(info.Env(), state().model.device.threads); });
}

Napi::Value EngineObject::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    State& s = state();
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("weights", Napi::Number::New(info.Env(), static_cast<double>(s.engine().weights().budget->used())));
    object.Set("working", Napi::Number::New(info.Env(), static_cast<double>(s.engine().budget().used())));
    object.Set("limit", Napi::Number::New(info.Env(), static_cast<double>(s.model.memory_limit)));
    return object;
  });
}

Targets EngineObject::read_targets(const Napi::Value& value) const {
  const Napi::Array array = read_array(value, "targets");
  Targets targets;
  std::unordered_set<const Target*> seen;
  for (uint32_t i = 0; i < array.Length(); i++) {
    const std::string name = "target " + std::to_string(i);
    targets.push_back(TargetObject::active(array.Env(), array.Get(i), state_->engine().number(), name));
    if (!seen.insert(targets.back().target.get()).second) invalid(name + " is in the list twice");
  }
  return targets;
}

Napi::Value EngineObject::started(Napi::Env env, Executor::Work work) {
  const Executor::Call call = executor_->submit(env, std::move(work));
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", call.promise);
  object.Set("id", Napi::Number::New(env, call.id));
  return object;
}

Napi::Value EngineObject::encode(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    const Napi::Array array = read_array(info[0], "sources");
    std::vector<std::vector<int32_t>> ids;
    for (uint32_t i = 0; i < array.Length(); i++) ids.push_back(read_source_ids(array.Get(i), *config_, i));
    return started(info.Env(), [this, s = state_, ids = std::move(ids)](const std::atomic<bool>& cancelled) -> Executor::Answer {
      auto sources = s->engine().encode(ids, cancelled);
      return [this, sources = std::move(sources)](Napi::Env env) -> Napi::Value {
        if (closed_) throw Error(ErrorCode::Disposed, "the engine was closed during this call");
        sources_.erase(std::remove_if(sources_.begin(), sources_.end(), [](const auto& s) { return s.expired(); }), sources_.end());
        Napi::Array result = Napi::Array::New(env, sources.size());
        for (uint32_t i = 0; i < sources.size(); i++) {
          auto handle = std::make_shared<SourceHandle>(SourceHandle{sources[i], config_});
          sources_.push_back(handle);
          result.Set(i, SourceObject::make(env, std::move(handle)));
        }
        return result;
      };
    });
  });
}

Napi::Value EngineObject::predict(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    Targets targets = read_targets(info[0]);
    const std::optional<Sampling> sampling = read_sampling(info[1]);
    return started(info.Env(), [s = state_, targets = std::move(targets), sampling](const std::atomic<bool>& cancelled) -> Executor::Answer {
      s->engine().predict(targets, sampling, cancelled);
      return [](Napi::Env env) { return env.Undefined(); };
    });
  });
}

Napi::Value EngineObject::remask(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    Targets targets = read_targets(info[0]);
    const Napi::Array array = read_array(info[1], "counts");
    if (array.Length() != targets.size())
      invalid("there are " + std::to_string(targets.size()) + " targets, but " + std::to_string(array.Length()) + " counts");
    std::vector<int32_t> counts;
    for (uint32_t i = 0; i < array.Length(); i++)
      counts.push_back(static_cast<int32_t>(
          read_integer(array.Get(i), "count " + std::to_string(i), 0, targets[i]->maskable_count)));
    return started(info.Env(), [s = state_, targets = std::move(targets), counts = std::move(counts)](const std::atomic<bool>&) -> Executor::Answer {
      check_all_predicted(targets, "remask()");  // here, where every earlier call has ended
      s->engine().remask(targets, counts);
      return [](Napi::Env env) { return env.Undefined(); };
    });
  });
}

Napi::Value EngineObject::decode(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    Targets targets = read_targets(info[0]);
    const int64_t iterations = read_integer(info[1], "iterations", 1, 100000);
    const std::optional<Sampling> sampling = read_sampling(info[2]);
    return started(info.Env(), [s = state_, targets = std::move(targets), iterations, sampling](const std::atomic<bool>& cancelled) -> Executor::Answer {
      std::vector<int32_t> passes = s->engine().decode(targets, iterations, sampling, cancelled);
      return [passes = std::move(passes)](Napi::Env env) -> Napi::Value { return new_integers(env, passes.data(), passes.size()); };
    });
  });
}

Napi::Value EngineObject::logits(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    return started(info.Env(), [s = state_, targets = read_targets(info[0])](const std::atomic<bool>& cancelled) -> Executor::Answer {
      auto logits = s->engine().logits(targets, cancelled);
      return [logits = std::move(logits)](Napi::Env env) -> Napi::Value { return arrays_of(env, logits); };
    });
  });
}

Napi::Value EngineObject::states(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    return started(info.Env(), [s = state_, targets = read_targets(info[0])](const std::atomic<bool>& cancelled) -> Executor::Answer {
      auto states = s->engine().states(targets, cancelled);
      return [states = std::move(states)](Napi::Env env) -> Napi::Value { return arrays_of(env, states); };
    });
  });
}

Napi::Value EngineObject::log_probs(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    Targets targets = read_targets(info[0]);
    const Napi::Array lists = read_array(info[1], "candidates");
    if (lists.Length() != targets.size())
      invalid("there are " + std::to_string(targets.size()) + " targets, but " + std::to_string(lists.Length()) + " lists of candidates");
    std::vector<std::vector<std::vector<int32_t>>> candidates;
    for (uint32_t i = 0; i < lists.Length(); i++) {
      const Napi::Array list = read_array(lists.Get(i), "candidates of target " + std::to_string(i));
      candidates.emplace_back();
      for (uint32_t n = 0; n < list.Length(); n++) {
        const std::string name = "candidate " + std::to_string(n) + " of target " + std::to_string(i);
        const View<int32_t> ids = read_integers(list.Get(n), name);
        if (ids.size != targets[i]->length())
          invalid(name + " has " + std::to_string(ids.size) + " ids, but the target has " + std::to_string(targets[i]->length()));
        for (int64_t p = 0; p < ids.size; p++)
          if (ids.data[p] < 0 || ids.data[p] > config_->mask_token_id)
            invalid(name + " has id " + std::to_string(ids.data[p]) + "; ids are 0 to " + std::to_string(config_->mask_token_id));
        candidates.back().push_back(copy(ids));
      }
    }
    return started(info.Env(), [s = state_, targets = std::move(targets), candidates = std::move(candidates)](const std::atomic<bool>& cancelled) -> Executor::Answer {
      auto all = s->engine().log_probs(targets, candidates, cancelled);
      return [all = std::move(all)](Napi::Env env) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, all.size());
        for (uint32_t i = 0; i < all.size(); i++) result.Set(i, arrays_of(env, all[i]));
        return result;
      };
    });
  });
}

Napi::Value EngineObject::cancel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    executor_->cancel(info.Env(), static_cast<uint32_t>(read_integer(info[0], "id", 0, UINT32_MAX)));
    return info.Env().Undefined();
  });
}

Napi::Value EngineObject::close(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (closed_) return closing_.Value();
    // First, because it may be refused memory: then nothing has happened.
    const Napi::Promise promise = executor_->close(info.Env(), [s = state_] {
      s->model.engine = nullptr;
      s->model.device.resources = nullptr;  // its threads
    });
    closing_ = Napi::Reference<Napi::Promise>::New(promise, 1);
    closed_ = true;
    for (const auto& weak : sources_)
      if (const auto handle = weak.lock()) handle->source = nullptr;
    sources_.clear();
    on_progress_.Reset();
    if (external_bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -external_bytes_);
    external_bytes_ = 0;
    return promise;
  });
}

}  // namespace mask_predict
