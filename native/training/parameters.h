// All weights of a model that is trained, in one piece of float32 memory, and the table that says which tensor lies
// where. Gradients and the optimiser's two moments are pieces of the same table.
//
// Names and shapes are those of the model's table of tensors. Queries, keys and values of a layer lie side by side, so that one product makes
// all three. What is frozen lies at the end and has neither gradients nor moments.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "model/tensor_table.h"
#include "ops/adamw/adamw.h"

namespace mask_predict::training {

struct ParameterTensor {
  enum class Kind { Matrix, Embedding, Bias, Gain, Shift };

  Kind kind;
  std::string name;
  std::string another;  // a name that a file may have instead; empty: none
  std::vector<int64_t> shape;
  int64_t offset;  // in floats
  int64_t count;
  bool decays;  // matrices and embeddings do, biases and the norms' gains and shifts do not
  bool trained;
};

// Offsets of what belongs together. -1: there is none.
struct LinearOffsets {
  int64_t weight, bias;
};
struct NormOffsets {
  int64_t gain, shift;
};
struct LayerOffsets {
  LinearOffsets query_key_value;  // [3D, D]
  LinearOffsets attention_output;
  NormOffsets attention_norm;
  LinearOffsets feed_forward_in;
  LinearOffsets feed_forward_out;
  NormOffsets feed_forward_norm;
};

struct ParameterChoices {
  bool token_types;        // whether there is a tensor of them
  bool freeze_embeddings;  // every tensor of roberta.embeddings
  bool decay_all;          // biases and norms too
};

class ParameterTable {
 public:
  ParameterTable(const ModelConfig& config, const ParameterChoices& choices);

  const std::vector<ParameterTensor>& tensors() const { return tensors_; }
  int64_t count() const { return count_; }            // floats in all, gaps for alignment included
  int64_t trained_count() const { return trained_; }  // the first so many have gradients
  std::vector<WeightRange> trained_ranges() const;

  std::vector<LayerOffsets> layers;
  NormOffsets outer_norm;  // on the embeddings (post-LN) or after the last layer (pre-LN)
  int64_t words, positions, token_types;
  LinearOffsets head_dense;
  NormOffsets head_norm;
  int64_t head_bias;
  int64_t decoder;  // `words` where it is tied
  int64_t lengths;

 private:
  class Places;

  using Kind = ParameterTensor::Kind;
  int64_t add(const TensorEntry& entry, Kind kind);
  int64_t add(Kind kind, const std::string& name, const std::string& another, std::vector<int64_t> shape);
  template <class Linear>
  LinearOffsets linear(const Places& places, const Linear& linear);
  NormOffsets norm(const Places& places, const NormWeights& norm);
  LayerOffsets layer(const Places& places, const LayerWeights& layer);
  void align();

  std::vector<ParameterTensor> tensors_;
  const ParameterChoices choices_;
  bool adding_trained_ = true;
  int64_t count_ = 0;
  int64_t trained_ = 0;
};

}  // namespace mask_predict::training
