// Trainer as JavaScript sees it: argument checks, and calls handed to the executor's thread.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/executor.h"
#include "training/trainer.h"

namespace mask_predict {

class TrainerObject : public Napi::ObjectWrap<TrainerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit TrainerObject(const Napi::CallbackInfo& info);
  ~TrainerObject() override;

 private:
  // Made by the executor's thread when the model has loaded, and destroyed there.
  struct State {
    std::unique_ptr<training::Trainer> trainer;
  };

  Napi::Value ready(const Napi::CallbackInfo& info);
  Napi::Value config(const Napi::CallbackInfo& info);
  Napi::Value facts(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value bytes_for(const Napi::CallbackInfo& info);
  Napi::Value reserve(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value gradients(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value save_state(const Napi::CallbackInfo& info);
  Napi::Value load_state(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Error(Disposed) after close() or before the model has loaded.
  void check_open() const;
  // A call whose answer is undefined, or what `work` gives on the JavaScript thread.
  Napi::Value started(Napi::Env env, Executor::Work work);
  void count_memory(Napi::Env env, int64_t bytes);

  std::shared_ptr<State> state_;
  // Facts that never change, copied for the JavaScript thread: the trainer itself belongs to the other thread.
  ModelConfig config_;
  int threads_ = 0;
  std::string instruction_set_;
  bool token_types_ = false, added_length_head_ = false;
  int64_t external_bytes_ = 0;
  bool loaded_ = false, closed_ = false;
  Napi::Reference<Napi::Promise> ready_;
  Napi::Reference<Napi::Promise> closing_;
  Napi::FunctionReference on_progress_;
  std::unique_ptr<Executor> executor_;  // last: its thread ends before the rest goes
};

}  // namespace mask_predict
