// The addon's exports: binding.d.cts lists them.
#include <napi.h>

#include <memory>

#include "addon/conversion_object.h"
#include "addon/engine_object.h"
#include "addon/environment.h"
#include "addon/file_lock.h"
#include "addon/operations.h"
#include "addon/sequence_objects.h"
#include "addon/trainer_object.h"
#include "addon/training_operations.h"
#include "cpu/instruction_set.h"

namespace mask_predict {
namespace {

Napi::Value initialize(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Value list_instruction_sets(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Napi::Array names = Napi::Array::New(info.Env());
    for (const std::string& name : cpu::instruction_sets()) names.Set(names.Length(), name);
    return names;
  });
}

Napi::Object define(Napi::Env env, Napi::Object exports) {
  auto environment = std::make_unique<Environment>();
  environment->source_class = Napi::Persistent(SourceObject::define(env));
  environment->target_class = Napi::Persistent(TargetObject::define(env));
  env.SetInstanceData(environment.release());  // deleted with the environment
  exports.Set("initialize", Napi::Function::New<initialize>(env, "initialize"));
  exports.Set("instructionSets", Napi::Function::New<list_instruction_sets>(env, "instructionSets"));
  exports.Set("lockFile", Napi::Function::New<lock_file>(env, "lockFile"));
  exports.Set("operations", define_operations(env));
  exports.Set("trainingOperations", define_training_operations(env));
  exports.Set("NativeEngine", EngineObject::define(env));
  exports.Set("NativeTrainer", TrainerObject::define(env));
  exports.Set("NativeConversion", ConversionObject::define(env));
  return exports;
}

}  // namespace
}  // namespace mask_predict

static Napi::Object start(Napi::Env env, Napi::Object exports) { return mask_predict::define(env, exports); }

NODE_API_MODULE(mask_predict, start)
