#include "addon/sequence_objects.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "addon/arguments.h"
#include "addon/engine_arguments.h"
#include "addon/environment.h"
#include "engine/target_batch.h"

namespace mask_predict {
namespace {

constexpr napi_type_tag source_tag = {0x6d61736b2d707265, 0x646963742d737263};
constexpr napi_type_tag target_tag = {0x6d61736b2d707265, 0x646963742d746774};

// How many ids a target may have, for messages.
std::string lengths_of_targets(const ModelConfig& config, int64_t source_ids) {
  const EndNames ends = end_names(config, false);
  return "3 to " + std::to_string(config.max_target_ids(source_ids)) + " ids, " + ends.begin + " and " + ends.end +
         " included" + (config.is_modern_bert() ? " (those of its source count as well)" : "") + ", not ";
}

// A target of `length` ids, all inner positions masked.
std::shared_ptr<Target> masked_target(int64_t length, const ModelConfig& config, int64_t source_ids) {
  if (length < 3 || length > config.max_target_ids(source_ids))
    invalid("a target's length must be " + lengths_of_targets(config, source_ids) + std::to_string(length));
  auto target = std::make_shared<Target>();
  const size_t size = static_cast<size_t>(length);
  target->tokens.assign(size, static_cast<int32_t>(config.mask_token_id));
  target->tokens.front() = config.special.begin;
  target->tokens.back() = config.special.end;
  return target;
}

// A target from given ids, of which those that are <mask> are to be predicted.
std::shared_ptr<Target> given_target(const View<int32_t>& ids, const ModelConfig& config, int64_t source_ids) {
  const SpecialIds& special = config.special;
  const EndNames ends = end_names(config, true);
  if (ids.size < 3 || ids.size > config.max_target_ids(source_ids))
    invalid("a target must have " + lengths_of_targets(config, source_ids) + std::to_string(ids.size));
  if (ids.data[0] != special.begin || ids.data[ids.size - 1] != special.end)
    invalid("a target begins with " + ends.begin + " and ends with " + ends.end);
  for (int64_t i = 1; i + 1 < ids.size; i++)
    if (ids.data[i] < 0 || ids.data[i] >= config.real_ids() || ids.data[i] == special.pad)
      invalid("target id " + std::to_string(ids.data[i]) + " at position " + std::to_string(i) +
              " is not one of 0 to " + std::to_string(config.real_ids() - 1) + " (" + std::to_string(special.pad) +
              ", padding, has no place in a target)");
  auto target = std::make_shared<Target>();
  target->tokens = copy(ids);
  return target;
}

void finish(Target& target, const ModelConfig& config) {
  target.scores.assign(target.tokens.size(), 0.0f);
  target.masked.assign(target.tokens.size(), 0);
  for (size_t i = 1; i + 1 < target.tokens.size(); i++) {
    target.masked[i] = target.tokens[i] == config.mask_token_id;
    target.masked_count += target.masked[i];
  }
  target.maskable = target.masked;
  target.maskable_count = target.masked_count;
}

const Source& with_states(const Source& source) {
  if (!source.has_states()) invalid("this source was encoded without states; encode it with states: true");
  return source;
}

// Empty if the model has no length predictor.
const std::vector<float>& lengths_of(const Source& source, const ModelConfig& config) {
  return config.lengths == 0 ? source.length_logits : with_states(source).length_logits;
}

}  // namespace

Napi::Function SourceObject::define(Napi::Env env) {
  return DefineClass(
      env, "Source",
      {InstanceAccessor<&SourceObject::length>("length"), InstanceAccessor<&SourceObject::bytes>("bytes"),
       InstanceAccessor<&SourceObject::length_logits>("lengthLogits"), InstanceMethod<&SourceObject::states>("states"),
       InstanceMethod<&SourceObject::answer>("answer"),
       InstanceMethod<&SourceObject::predict_lengths>("predictLengths"),
       InstanceMethod<&SourceObject::target>("target"), InstanceMethod<&SourceObject::dispose>("dispose")});
}

SourceObject::SourceObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  handle_ = std::move(Environment::of(info.Env()).next_source);
  if (!handle_) throw make_error(info.Env(), "ERR_INVALID_ARGUMENT", "sources come from engine.encode()");
  length_ = handle_->source->length();
  external_bytes_ = static_cast<int64_t>(handle_->source->keys_values.bytes() + handle_->source->states.bytes());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), external_bytes_);
  info.This().As<Napi::Object>().TypeTag(&source_tag);
}

SourceObject::~SourceObject() {
  if (external_bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(Env(), -external_bytes_);
}

Napi::Object SourceObject::make(Napi::Env env, std::shared_ptr<SourceHandle> handle) {
  Environment& environment = Environment::of(env);
  environment.next_source = std::move(handle);
  return environment.source_class.Value().New({});
}

const Source& SourceObject::source(Napi::Env) const {
  if (!handle_->source) throw Error(ErrorCode::Disposed, "this source was disposed of");
  return *handle_->source;
}

Napi::Value SourceObject::length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(length_));
}

// 0 when it was disposed of.
Napi::Value SourceObject::bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(external_bytes_));
}

Napi::Value SourceObject::length_logits(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::vector<float>& logits = lengths_of(source(info.Env()), *handle_->config);
    if (logits.empty()) return info.Env().Null();
    return new_floats(info.Env(), logits.data(), logits.size());
  });
}

Napi::Value SourceObject::states(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Buffer& states = with_states(source(info.Env())).states;
    return new_floats(info.Env(), states.as<float>(), states.bytes() / sizeof(float));
  });
}

// The answer of a source that was read and not kept.
Napi::Value SourceObject::answer(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Source& read = source(info.Env());
    if (!read.reading) invalid("nothing was read of this source");
    return answer_of(info.Env(), read);
  });
}

Napi::Value SourceObject::predict_lengths(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::vector<float>& logits = lengths_of(source(info.Env()), *handle_->config);
    if (logits.empty())
      throw Error(ErrorCode::InvalidArgument,
                  "this model has no length predictor (tensor embed_length.weight); give the length");
    check_numbers(logits, "length logits");
    const int64_t most = std::min(static_cast<int64_t>(logits.size()) - 1, handle_->config->max_target_ids(length_));
    const int64_t count = read_integer(info[0], "the number of lengths", 1, most - 2);
    // Log-probabilities over all classes; the classes that may be chosen are 3 ... most.
    const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
    std::vector<int64_t> lengths;
    for (int64_t n = 3; n <= most; n++) lengths.push_back(n);
    std::stable_sort(lengths.begin(), lengths.end(), [&](int64_t a, int64_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    Napi::Array best = Napi::Array::New(info.Env(), static_cast<size_t>(count));
    for (uint32_t i = 0; i < static_cast<uint32_t>(count); i++) {
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("length", Napi::Number::New(info.Env(), static_cast<double>(lengths[i])));
      const double logit = static_cast<double>(logits[static_cast<size_t>(lengths[i])]);
      entry.Set("logProb", Napi::Number::New(info.Env(), logit - largest - std::log(sum)));
      best.Set(i, entry);
    }
    return best;
  });
}

Napi::Value SourceObject::target(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const Source& owner = source(info.Env());
    if (owner.reading) invalid("this source was read and not kept; targets need one of encode()");
    const ModelConfig& config = *handle_->config;
    const int64_t sequence = read_integer(info[1], "sequence", 0, UINT32_MAX);
    std::shared_ptr<Target> target =
        info[0].IsNumber()
            ? masked_target(read_integer(info[0], "a target's length", INT32_MIN, INT32_MAX), config, owner.length())
            : given_target(read_integers(info[0], "a target, where it is no length,"), config, owner.length());
    finish(*target, config);
    target->sequence = static_cast<uint32_t>(sequence);
    Environment& environment = Environment::of(info.Env());
    environment.next_target = std::move(target);
    const Napi::Object object = environment.target_class.Value().New({});
    TargetObject& wrapped = *TargetObject::Unwrap(object);
    wrapped.engine_ = owner.engine;
    wrapped.source_ = handle_;
    return object;
  });
}

Napi::Value SourceObject::dispose(const Napi::CallbackInfo& info) {
  handle_->source = nullptr;
  if (external_bytes_ > 0) Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -external_bytes_);
  external_bytes_ = 0;
  return info.Env().Undefined();
}

Napi::Function TargetObject::define(Napi::Env env) {
  return DefineClass(
      env, "Target",
      {InstanceAccessor<&TargetObject::length>("length"), InstanceAccessor<&TargetObject::maskable>("maskable"),
       InstanceAccessor<&TargetObject::tokens>("tokens"), InstanceAccessor<&TargetObject::scores>("scores"),
       InstanceAccessor<&TargetObject::masked>("masked"), InstanceMethod<&TargetObject::dispose>("dispose")});
}

TargetObject::TargetObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  target_ = std::move(Environment::of(info.Env()).next_target);
  if (!target_) throw make_error(info.Env(), "ERR_INVALID_ARGUMENT", "targets come from source.target()");
  info.This().As<Napi::Object>().TypeTag(&target_tag);
}

const Target& TargetObject::target() const {
  if (!target_) throw Error(ErrorCode::Disposed, "this target was disposed of");
  return *target_;
}

ActiveTarget TargetObject::active(Napi::Env, const Napi::Value& value, uint64_t engine, const std::string& name) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&target_tag)) invalid(name + " is not a target");
  const TargetObject& object = *Unwrap(value.As<Napi::Object>());
  object.target();
  if (object.engine_ != engine) invalid(name + " belongs to another engine");
  ActiveTarget active{object.target_, object.source_->source};
  if (!active.source) throw Error(ErrorCode::Disposed, name + "'s source was disposed of");
  return active;
}

Napi::Value TargetObject::length(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(target().length()));
  });
}
Napi::Value TargetObject::maskable(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(target().maskable_count));
  });
}
Napi::Value TargetObject::tokens(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::lock_guard<std::mutex> lock(target().mutex);
    return new_integers(info.Env(), target().tokens.data(), target().tokens.size());
  });
}
Napi::Value TargetObject::scores(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::lock_guard<std::mutex> lock(target().mutex);
    return new_floats(info.Env(), target().scores.data(), target().scores.size());
  });
}
Napi::Value TargetObject::masked(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::lock_guard<std::mutex> lock(target().mutex);
    return new_bytes(info.Env(), target().masked.data(), target().masked.size());
  });
}

Napi::Value TargetObject::dispose(const Napi::CallbackInfo& info) {
  target_ = nullptr;
  source_ = nullptr;
  return info.Env().Undefined();
}

}  // namespace mask_predict
