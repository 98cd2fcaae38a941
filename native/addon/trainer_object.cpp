#include "addon/trainer_object.h"

#include <utility>

#include "addon/arguments.h"
#include "addon/engine_arguments.h"
#include "addon/environment.h"
#include "addon/trainer_arguments.h"

namespace mask_predict {

using training::StepResult;
using training::Trainer;

namespace {

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

Executor::Answer answer_of(const StepResult& r) {
  return [r](Napi::Env env) -> Napi::Value {
    Napi::Object object = Napi::Object::New(env);
    object.Set("loss", r.loss);
    object.Set("nll", r.nll);
    object.Set("lengthLoss", r.length_loss);
    object.Set("gradientNorm", r.gradient_norm);
    object.Set("maskedTokens", static_cast<double>(r.masked_tokens));
    object.Set("examples", static_cast<double>(r.examples));
    return object;
  };
}

}  // namespace

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(
      env, "NativeTrainer",
      {InstanceAccessor<&TrainerObject::ready>("ready"), InstanceAccessor<&TrainerObject::config>("config"),
       InstanceAccessor<&TrainerObject::facts>("facts"), InstanceMethod<&TrainerObject::memory>("memory"),
       InstanceMethod<&TrainerObject::bytes_for>("bytesFor"), InstanceMethod<&TrainerObject::reserve>("reserve"),
       InstanceMethod<&TrainerObject::step>("step"), InstanceMethod<&TrainerObject::evaluate>("evaluate"),
       InstanceMethod<&TrainerObject::gradients>("gradients"), InstanceMethod<&TrainerObject::save>("save"),
       InstanceMethod<&TrainerObject::save_state>("saveState"), InstanceMethod<&TrainerObject::load_state>("loadState"),
       InstanceMethod<&TrainerObject::cancel>("cancel"), InstanceMethod<&TrainerObject::close>("close")});
}

TrainerObject::TrainerObject(const Napi::CallbackInfo& info) : ObjectWrap(info), state_(std::make_shared<State>()) {
  const Napi::Env env = info.Env();
  guarded(env, [&] {
    const training::TrainerRequest request = read_trainer_request(info[0]);
    const training::TrainerOptions options = read_trainer_options(info[1]);
    if (info[2].IsFunction()) on_progress_ = Napi::Persistent(info[2].As<Napi::Function>());
    executor_ = std::make_unique<Executor>(env, "trainer", [this](bool idle) { idle ? Unref() : Ref(); });
    const bool report = !on_progress_.IsEmpty();
    const auto load = [this, state = state_, request, options,
                       report](const std::atomic<bool>& cancelled) -> Executor::Answer {
      const auto progress = [&](double fraction) {
        if (report)
          executor_->post([this, fraction](Napi::Env e) {
            if (!on_progress_.IsEmpty()) on_progress_.Call({Napi::Number::New(e, fraction)});
          });
      };
      state->trainer = std::make_unique<Trainer>(request, options, progress, cancelled);
      return [this](Napi::Env e) -> Napi::Value {
        if (closed_) throw Error(ErrorCode::Disposed, "the trainer was closed while it was loading");
        on_progress_.Reset();
        const Trainer& trainer = *state_->trainer;
        config_ = trainer.config();
        threads_ = trainer.threads();
        instruction_set_ = trainer.instruction_set();
        token_types_ = trainer.has_token_types();
        added_length_head_ = trainer.added_length_head();
        loaded_ = true;
        const training::TrainerMemory m = trainer.memory();
        count_memory(e, static_cast<int64_t>(m.weights + m.average + m.gradients + m.moments));
        return e.Undefined();
      };
    };
    ready_ = Napi::Reference<Napi::Promise>::New(executor_->submit(env, load).promise, 1);
  });
}

TrainerObject::~TrainerObject() {
  executor_ = nullptr;
  if (external_bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(Env(), -external_bytes_);
}

void TrainerObject::check_open() const {
  if (closed_) throw Error(ErrorCode::Disposed, "this trainer was closed");
  if (!loaded_) throw Error(ErrorCode::Disposed, "this trainer has not loaded its model");
}

void TrainerObject::count_memory(Napi::Env env, int64_t bytes) {
  Napi::MemoryManagement::AdjustExternalMemory(env, bytes - external_bytes_);
  external_bytes_ = bytes;
}

Napi::Value TrainerObject::started(Napi::Env env, Executor::Work work) {
  const Executor::Call call = executor_->submit(env, std::move(work));
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", call.promise);
  object.Set("id", Napi::Number::New(env, call.id));
  return object;
}

Napi::Value TrainerObject::ready(const Napi::CallbackInfo&) { return ready_.Value(); }

Napi::Value TrainerObject::config(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    check_open();
    return config_object(info.Env(), config_);
  });
}

Napi::Value TrainerObject::facts(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    check_open();
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("threads", threads_);
    object.Set("instructionSet", instruction_set_);
    object.Set("tokenTypes", static_cast<double>(token_types_ ? config_.token_types : 0));
    object.Set("addedLengthHead", added_length_head_);
    return object;
  });
}

Napi::Value TrainerObject::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    return started(info.Env(), [s = state_](const std::atomic<bool>&) -> Executor::Answer {
      return [m = s->trainer->memory(), updates = s->trainer->updates()](Napi::Env env) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        const auto set = [&](const char* name, uint64_t value) { object.Set(name, static_cast<double>(value)); };
        set("weights", m.weights);
        set("average", m.average);
        set("gradients", m.gradients);
        set("moments", m.moments);
        set("working", m.working);
        set("limit", m.limit);
        set("updates", static_cast<uint64_t>(updates));
        return object;
      };
    });
  });
}

Napi::Value TrainerObject::bytes_for(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    const int64_t rows = read_integer(info[0], "rows", 1, 1 << 24);
    return started(info.Env(), [s = state_, rows](const std::atomic<bool>&) -> Executor::Answer {
      return [bytes = s->trainer->bytes_for(rows)](Napi::Env env) -> Napi::Value {
        return Napi::Number::New(env, static_cast<double>(bytes));
      };
    });
  });
}

Napi::Value TrainerObject::reserve(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    const int64_t rows = read_integer(info[0], "rows", 1, 1 << 24);
    return started(info.Env(), [s = state_, rows](const std::atomic<bool>&) -> Executor::Answer {
      s->trainer->reserve(rows);
      return undefined;
    });
  });
}

Napi::Value TrainerObject::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    return started(info.Env(),
                   [s = state_, parts = read_parts(info[0], config_),
                    options = read_step_options(info[1])](const std::atomic<bool>& cancelled) -> Executor::Answer {
                     return answer_of(s->trainer->step(parts, options, cancelled));
                   });
  });
}

Napi::Value TrainerObject::evaluate(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    return started(
        info.Env(),
        [s = state_, parts = read_parts(info[0], config_)](const std::atomic<bool>& cancelled) -> Executor::Answer {
          return answer_of(s->trainer->evaluate(parts, cancelled));
        });
  });
}

Napi::Value TrainerObject::gradients(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    return started(info.Env(), [s = state_](const std::atomic<bool>&) -> Executor::Answer {
      return [all = s->trainer->gradients()](Napi::Env env) -> Napi::Value {
        Napi::Array list = Napi::Array::New(env, all.size());
        for (uint32_t i = 0; i < all.size(); i++) {
          Napi::Array entry = Napi::Array::New(env, 2);
          entry.Set(0u, all[i].first);
          entry.Set(1u, new_floats(env, all[i].second.data(), all[i].second.size()));
          list.Set(i, entry);
        }
        return list;
      };
    });
  });
}

Napi::Value TrainerObject::save(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    const std::string path = read_string(info[0], "the file to save to"), precision = read_string(info[1], "precision");
    if (precision != "fp32" && precision != "fp16" && precision != "bf16")
      invalid("precision must be 'fp32', 'fp16' or 'bf16', not '" + precision + "'");
    const WeightType type = precision == "fp32"   ? WeightType::F32
                            : precision == "fp16" ? WeightType::F16
                                                  : WeightType::BF16;
    return started(info.Env(), [s = state_, path, type](const std::atomic<bool>& cancelled) -> Executor::Answer {
      s->trainer->save(path, type, cancelled);
      return undefined;
    });
  });
}

Napi::Value TrainerObject::save_state(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    const std::string path = read_string(info[0], "the file to save to"), note = read_string(info[1], "the note");
    return started(info.Env(), [s = state_, path, note](const std::atomic<bool>& cancelled) -> Executor::Answer {
      s->trainer->save_state(path, note, cancelled);
      return undefined;
    });
  });
}

Napi::Value TrainerObject::load_state(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    check_open();
    const std::string path = read_string(info[0], "the file to load");
    return started(info.Env(), [s = state_, path](const std::atomic<bool>& cancelled) -> Executor::Answer {
      s->trainer->load_state(path, cancelled);
      return undefined;
    });
  });
}

Napi::Value TrainerObject::cancel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    executor_->cancel(info.Env(), static_cast<uint32_t>(read_integer(info[0], "id", 0, UINT32_MAX)));
    return info.Env().Undefined();
  });
}

Napi::Value TrainerObject::close(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (closed_) return closing_.Value();
    // First, because it may be refused memory: then nothing has happened.
    const Napi::Promise promise = executor_->close(info.Env(), [s = state_] { s->trainer = nullptr; });
    closing_ = Napi::Reference<Napi::Promise>::New(promise, 1);
    closed_ = true;
    on_progress_.Reset();
    count_memory(info.Env(), 0);
    return promise;
  });
}

}  // namespace mask_predict
