// Converts arguments and results of an engine's calls between JavaScript's form and the engine's.
#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "addon/arguments.h"
#include "engine/engine.h"
#include "engine/mask_predict.h"
#include "engine/model_loader.h"
#include "model/config.h"

namespace mask_predict {

ModelConfig read_architecture(const Napi::Object& object, uint64_t& seed);
LoadOptions read_options(const Napi::Value& value);
// 'dynamic' or 'mixed'. Error(InvalidArgument).
TargetAttention read_attention(const Napi::Value& value);
std::optional<Sampling> read_sampling(const Napi::Value& value);
Napi::Array read_array(const Napi::Value& value, const std::string& name);
// The names of the begin and end tokens in messages: "<s>", or "<s> (id 0)" with `ids`.
struct EndNames {
  std::string begin, end;
};
EndNames end_names(const ModelConfig& config, bool ids);
// Error(InvalidArgument) where a candidate's id is not a real one.
void check_candidate(const View<int32_t>& ids, const std::string& name, const ModelConfig& config);
std::vector<int32_t> read_source_ids(const Napi::Value& value, const LoadedModel& model, uint32_t index);
// Reads the question about the sequence `ids`; a position that is scored becomes <mask> in it. Error(InvalidArgument)
// also if the engine's model cannot answer.
Reading read_reading(const Napi::Value& value, std::vector<int32_t>& ids, const std::string& name,
                     const Engine& engine);
// The sources in the arguments of advance() from the `next`-th on: ids, and if states are wanted or a reading.
struct NewSource {
  std::vector<int32_t> ids;
  bool with_states;
  std::optional<Reading> reading;
};
std::vector<NewSource> read_new_sources(const Napi::CallbackInfo& info, size_t next, const LoadedModel& model);
// null, 'unchanged', or the log-probability all tokens must reach.
StopRule read_stop(const Napi::Value& value);
// The logarithm of a probability, at most 0; 0 for null and undefined.
float read_remask_below(const Napi::Value& value);
std::vector<std::vector<int32_t>> read_candidates(const Napi::Value& value, const Target& target, uint32_t index,
                                                  const ModelConfig& config);
// The targets in the arguments of advance() from the `next`-th on: plans, seeds, stopping rules, bounds, candidates.
std::vector<TargetWork> read_works(const Targets& targets, const Napi::CallbackInfo& info, size_t next,
                                   const ModelConfig& config);

// The sizes of a model.
Napi::Object config_object(Napi::Env env, const ModelConfig& config);

Napi::Array arrays_of(Napi::Env env, const std::vector<std::vector<float>>& values);
// Error(ModelFormat) if the answer is not numbers.
Napi::Object answer_of(Napi::Env env, const Source& source);

}  // namespace mask_predict
