// A model's weights into a table and out of a training state.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "model/checkpoint.h"
#include "training/parameters.h"

namespace mask_predict::training {

// config.json of a directory, completed by what its tensors say: the mask token, tied embeddings, the length predictor.
struct ModelFiles {
  ModelConfig config;  // lengths 0: there is no length predictor
  bool token_types;
  Checkpoint checkpoint;
};

// Error(ModelFormat); Error(InvalidArgument) for int8 weights.
ModelFiles open_model(const std::string& directory, int64_t mask_token_id);

// Reads every tensor of the table that the directory has into `weights`; `missing` is called for those that it may lack
// (the length predictor). Error(ModelFormat) naming the tensor, Cancelled.
void read_weights(const ModelFiles& files, const ParameterTable& table, float* weights,
                  const std::function<void(const ParameterTensor&)>& missing,
                  const std::function<void(double)>& progress, const std::atomic<bool>& cancelled);

}  // namespace mask_predict::training
