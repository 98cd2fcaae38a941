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
  bool head;  // whether the directory has a language-model head; else all of it is missing
  Checkpoint checkpoint;
};

// With `new_head` the directory has no language-model head, and the head it gets is the word embeddings. Error(ModelFormat),
// also for one that has none without that; Error(InvalidArgument) for int8 weights and for one that has a head with it.
ModelFiles open_model(const std::string& directory, int64_t mask_token_id, bool new_head);

// Reads every tensor of the table that the directory has into `weights`; `missing` is called for those that it may lack
// (the length predictor, and a whole head). Error(ModelFormat) naming the tensor, Cancelled.
void read_weights(const ModelFiles& files, const ParameterTable& table, float* weights,
                  const std::function<void(const ParameterTensor&)>& missing,
                  const std::function<void(double)>& progress, const std::atomic<bool>& cancelled);

}  // namespace mask_predict::training
