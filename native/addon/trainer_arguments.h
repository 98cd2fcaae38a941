// Converts a trainer's arguments from JavaScript's form to its own.
#pragma once

#include <napi.h>

#include <vector>

#include "training/trainer.h"

namespace mask_predict {

// A path, or the sizes of a new model.
training::TrainerRequest read_trainer_request(const Napi::Value& value);
training::TrainerOptions read_trainer_options(const Napi::Value& value);
// Parts of a step, every id checked against the model.
std::vector<training::StepPart> read_parts(const Napi::Value& value, const ModelConfig& config);
training::StepOptions read_step_options(const Napi::Value& value);

}  // namespace mask_predict
