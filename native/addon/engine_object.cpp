#include "addon/engine_object.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>

#include "addon/arguments.h"
#include "addon/engine_arguments.h"
#include "addon/environment.h"
#include "engine/model_loader.h"
#include "engine/target_batch.h"
#include "model/saved_weights.h"

namespace mask_predict {
namespace {

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
  return DefineClass(env, "NativeEngine",
                     {InstanceAccessor<&EngineObject::ready>("ready"),
                      InstanceAccessor<&EngineObject::config>("config"),
                      InstanceAccessor<&EngineObject::device>("device"),
                      InstanceAccessor<&EngineObject::precision>("precision"),
                      InstanceAccessor<&EngineObject::head_precision>("headPrecision"),
                      InstanceAccessor<&EngineObject::instruction_set>("instructionSet"),
                      InstanceAccessor<&EngineObject::fallback>("fallback"),
                      InstanceAccessor<&EngineObject::note>("note"),
                      InstanceAccessor<&EngineObject::threads>("threads"),
                      InstanceMethod<&EngineObject::memory>("memory"),
                      InstanceMethod<&EngineObject::encode>("encode"),
                      InstanceMethod<&EngineObject::read>("read"),
                      InstanceMethod<&EngineObject::predict>("predict"),
                      InstanceMethod<&EngineObject::remask>("remask"),
                      InstanceMethod<&EngineObject::decode>("decode"),
                      InstanceMethod<&EngineObject::logits>("logits"),
                      InstanceMethod<&EngineObject::states>("states"),
                      InstanceMethod<&EngineObject::log_probs>("logProbs"),
                      InstanceMethod<&EngineObject::advance>("advance"),
                      InstanceMethod<&EngineObject::interrupt>("interrupt"),
                      InstanceMethod<&EngineObject::save>("save"),
                      InstanceMethod<&EngineObject::cancel>("cancel"),
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

    executor_ = std::make_unique<Executor>(env, "engine", [this](bool idle) { idle ? Unref() : Ref(); });
    const bool report = !on_progress_.IsEmpty();
    const auto load = [this, state = state_, request, options,
                       report](const std::atomic<bool>& cancelled) -> Executor::Answer {
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
        ModelConfig config = state_->engine().config();
        config.attention = state_->engine().attention();
        config_ = std::make_shared<const ModelConfig>(std::move(config));
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
  const bool ends = !executor_ || executor_->has_stopped();
  executor_ = nullptr;
  // Collected without close(). Giving memory back to a GPU waits for it, which JavaScript need not do as well.
  if (!ends && state_->model.engine && !state_->model.device.context.operations->host_memory) {
    try {
      std::thread([state = std::exchange(state_, nullptr)]() mutable { state = nullptr; }).detach();
    } catch (const std::system_error&) {  // no thread: here, then
    }
  }
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
    return config_object(env, *config_);
  });
}

Napi::Value EngineObject::device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.name); });
}
Napi::Value EngineObject::precision(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.precision); });
}
Napi::Value EngineObject::fallback(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.fallback); });
}
Napi::Value EngineObject::note(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.note); });
}
Napi::Value EngineObject::head_precision(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.head_precision); });
}

Napi::Value EngineObject::instruction_set(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::String::New(info.Env(), state().model.device.instruction_set); });
}
Napi::Value EngineObject::threads(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return Napi::Number::New(info.Env(), state().model.device.threads); });
}

Napi::Value EngineObject::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    State& s = state();
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("weights", Napi::Number::New(info.Env(), static_cast<double>(s.engine().weights().budget->used())));
    object.Set("working", Napi::Number::New(info.Env(), static_cast<double>(s.engine().budget().used())));
    object.Set("limit", Napi::Number::New(info.Env(), static_cast<double>(s.model.memory_limit)));
    const auto per_id = [&](bool with_states) {
      return Napi::Number::New(info.Env(), static_cast<double>(s.engine().bytes_per_source_id(with_states)));
    };
    object.Set("perSourceId", per_id(true));
    object.Set("perSourceIdWithoutStates", per_id(false));
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

Napi::Object EngineObject::new_source_object(Napi::Env env, std::shared_ptr<const Source> source) {
  sources_.erase(std::remove_if(sources_.begin(), sources_.end(), [](const auto& s) { return s.expired(); }),
                 sources_.end());
  auto handle = std::make_shared<SourceHandle>(SourceHandle{std::move(source), config_});
  sources_.push_back(handle);
  return SourceObject::make(env, std::move(handle));
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
    for (uint32_t i = 0; i < array.Length(); i++) ids.push_back(read_source_ids(array.Get(i), state().model, i));
    const bool with_states = read_boolean(info[1], "states");
    return started(
        info.Env(),
        [this, s = state_, ids = std::move(ids), with_states](const std::atomic<bool>& cancelled) -> Executor::Answer {
          auto sources = s->engine().encode(ids, with_states, cancelled);
          return [this, sources = std::move(sources)](Napi::Env env) -> Napi::Value {
            if (closed_) throw Error(ErrorCode::Disposed, "the engine was closed during this call");
            Napi::Array result = Napi::Array::New(env, sources.size());
            for (uint32_t i = 0; i < sources.size(); i++) result.Set(i, new_source_object(env, sources[i]));
            return result;
          };
        });
  });
}

Napi::Value EngineObject::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::vector<NewSource> given = read_new_sources(info, 0, state().model);
    for (uint32_t i = 0; i < given.size(); i++)
      if (!given[i].reading) invalid("nothing is to be read of source " + std::to_string(i));
    return started(
        info.Env(),
        [s = state_, given = std::move(given)](const std::atomic<bool>& cancelled) mutable -> Executor::Answer {
          Sources sources;
          for (NewSource& source : given)
            sources.push_back(s->engine().new_reading(source.ids, std::move(*source.reading)));
          s->engine().read(sources, cancelled);
          return [sources = std::move(sources)](Napi::Env env) -> Napi::Value {
            Napi::Array result = Napi::Array::New(env, sources.size());
            for (uint32_t i = 0; i < sources.size(); i++) result.Set(i, answer_of(env, *sources[i]));
            return result;
          };
        });
  });
}

Napi::Value EngineObject::predict(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state().engine().check_head();
    Targets targets = read_targets(info[0]);
    const std::optional<Sampling> sampling = read_sampling(info[1]);
    return started(
        info.Env(),
        [s = state_, targets = std::move(targets), sampling](const std::atomic<bool>& cancelled) -> Executor::Answer {
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
      invalid("there are " + std::to_string(targets.size()) + " targets, but " + std::to_string(array.Length()) +
              " counts");
    const float below = read_remask_below(info[2]);
    std::vector<int32_t> counts;
    for (uint32_t i = 0; i < array.Length(); i++)
      counts.push_back(static_cast<int32_t>(
          read_integer(array.Get(i), "count " + std::to_string(i), 0, targets[i]->maskable_count)));
    return started(info.Env(),
                   [s = state_, targets = std::move(targets), counts = std::move(counts),
                    below](const std::atomic<bool>&) -> Executor::Answer {
                     check_all_predicted(targets, "remask()");  // here, where every earlier call has ended
                     s->engine().remask(targets, counts, below);
                     return [](Napi::Env env) { return env.Undefined(); };
                   });
  });
}

Napi::Value EngineObject::decode(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state().engine().check_head();
    Targets targets = read_targets(info[0]);
    const int64_t iterations = read_integer(info[1], "iterations", 1, 100000);
    const std::optional<Sampling> sampling = read_sampling(info[2]);
    const StopRule stop = read_stop(info[3]);
    const float below = read_remask_below(info[4]);
    return started(info.Env(),
                   [s = state_, targets = std::move(targets), iterations, sampling, stop,
                    below](const std::atomic<bool>& cancelled) -> Executor::Answer {
                     std::vector<int32_t> passes =
                         s->engine().decode(targets, iterations, sampling, stop, below, cancelled);
                     return [passes = std::move(passes)](Napi::Env env) -> Napi::Value {
                       return new_integers(env, passes.data(), passes.size());
                     };
                   });
  });
}

Napi::Value EngineObject::logits(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state().engine().check_head();
    return started(
        info.Env(),
        [s = state_, targets = read_targets(info[0])](const std::atomic<bool>& cancelled) -> Executor::Answer {
          auto logits = s->engine().logits(targets, cancelled);
          return [logits = std::move(logits)](Napi::Env env) -> Napi::Value { return arrays_of(env, logits); };
        });
  });
}

Napi::Value EngineObject::states(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    return started(
        info.Env(),
        [s = state_, targets = read_targets(info[0])](const std::atomic<bool>& cancelled) -> Executor::Answer {
          auto states = s->engine().states(targets, cancelled);
          return [states = std::move(states)](Napi::Env env) -> Napi::Value { return arrays_of(env, states); };
        });
  });
}

Napi::Value EngineObject::log_probs(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state().engine().check_head();
    Targets targets = read_targets(info[0]);
    const Napi::Array lists = read_array(info[1], "candidates");
    if (lists.Length() != targets.size())
      invalid("there are " + std::to_string(targets.size()) + " targets, but " + std::to_string(lists.Length()) +
              " lists of candidates");
    std::vector<std::vector<std::vector<int32_t>>> candidates;
    for (uint32_t i = 0; i < lists.Length(); i++)
      candidates.push_back(read_candidates(lists.Get(i), *targets[i], i, *config_));
    return started(info.Env(),
                   [s = state_, targets = std::move(targets), candidates = std::move(candidates)](
                       const std::atomic<bool>& cancelled) mutable -> Executor::Answer {
                     auto all = s->engine().log_probs(targets, std::move(candidates), cancelled);
                     return [all = std::move(all)](Napi::Env env) -> Napi::Value {
                       Napi::Array result = Napi::Array::New(env, all.size());
                       for (uint32_t i = 0; i < all.size(); i++) result.Set(i, arrays_of(env, all[i]));
                       return result;
                     };
                   });
  });
}

Napi::Value EngineObject::advance(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    std::vector<NewSource> new_sources = read_new_sources(info, 0, state().model);
    const Targets targets = read_targets(info[2]);
    if (!targets.empty()) state().engine().check_head();
    std::vector<TargetWork> works = read_works(targets, info, 3, *config_);
    interrupted_ = std::make_shared<std::atomic<bool>>(false);
    return started(info.Env(),
                   [this, s = state_, new_sources = std::move(new_sources), works = std::move(works),
                    interrupted = interrupted_](const std::atomic<bool>& cancelled) mutable -> Executor::Answer {
                     // A source that does not fit into memory does not stop the others.
                     Sources made;
                     std::vector<std::pair<std::shared_ptr<Source>, std::string>> outcomes;
                     for (const NewSource& source : new_sources) {
                       try {
                         made.push_back(source.reading ? s->engine().new_reading(source.ids, *source.reading)
                                                       : s->engine().new_source(source.ids, source.with_states));
                         outcomes.emplace_back(made.back(), "");
                       } catch (const Error& error) {
                         if (error.code != ErrorCode::OutOfMemory) throw;
                         outcomes.emplace_back(nullptr, error.what());
                       }
                     }
                     std::vector<TargetWork*> pointers;
                     for (TargetWork& work : works) pointers.push_back(&work);
                     const int64_t passes = s->engine().advance(made, pointers, {cancelled, interrupted.get()});
                     for (TargetWork& work : works) work.target = {};  // what was disposed of meanwhile goes now
                     return [this, passes, outcomes = std::move(outcomes),
                             works = std::move(works)](Napi::Env env) -> Napi::Value {
                       if (closed_) throw Error(ErrorCode::Disposed, "the engine was closed during this call");
                       Napi::Array sources = Napi::Array::New(env, outcomes.size());
                       for (uint32_t i = 0; i < outcomes.size(); i++) {
                         const auto& [source, failure] = outcomes[i];
                         if (source)
                           sources.Set(i, new_source_object(env, source));
                         else
                           sources.Set(i, make_error(env, "ERR_OUT_OF_MEMORY", failure).Value());
                       }
                       Napi::Object result = Napi::Object::New(env);
                       // Made where there is something to put into them.
                       const auto put = [&](const char* name, uint32_t i, const Napi::Value& value) {
                         if (!result.Has(name)) result.Set(name, Napi::Array::New(env));
                         result.Get(name).As<Napi::Array>().Set(i, value);
                       };
                       Napi::Array passed = Napi::Array::New(env, works.size()),
                                   done = Napi::Array::New(env, works.size());
                       for (uint32_t i = 0; i < works.size(); i++) {
                         const TargetWork& work = works[i];
                         passed.Set(i, Napi::Number::New(env, static_cast<double>(work.passed)));
                         done.Set(i, Napi::Boolean::New(env, work.state == TargetWork::Done));
                         if (work.candidates) put("logProbs", i, arrays_of(env, work.log_probs));
                         if (work.state == TargetWork::NotNumbers) {
                           const Error error = not_numbers("logits");
                           put("failures", i, make_error(env, code_name(error.code), error.what()).Value());
                         }
                         if (!work.watched) continue;
                         Napi::Object view = Napi::Object::New(env);
                         view.Set("tokens", new_integers(env, work.tokens.data(), work.tokens.size()));
                         view.Set("scores", new_floats(env, work.scores.data(), work.scores.size()));
                         put("views", i, view);
                       }
                       result.Set("passes", Napi::Number::New(env, static_cast<double>(passes)));
                       result.Set("sources", sources);
                       result.Set("passed", passed);
                       result.Set("done", done);
                       return result;
                     };
                   });
  });
}

Napi::Value EngineObject::save(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    state();
    const std::string path = read_string(info[0], "the file to save to");
    return started(info.Env(), [s = state_, path](const std::atomic<bool>& cancelled) -> Executor::Answer {
      save_weights(s->engine().weights(), path, cancelled);
      return [](Napi::Env env) { return env.Undefined(); };
    });
  });
}

Napi::Value EngineObject::interrupt(const Napi::CallbackInfo& info) {
  if (interrupted_) interrupted_->store(true);
  return info.Env().Undefined();
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
