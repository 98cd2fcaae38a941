// The table of a model's tensors: their names, their shapes and where in Weights each of them lies, written once
// for each architecture (xlm_roberta.cpp, modern_bert.cpp). Loading, saving, drawing and counting walk over it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/weights.h"

namespace mask_predict {

// Rows of a tensor as a checkpoint has it that become the outputs of a matrix.
struct StoredRows {
  int64_t first = 0;
  int64_t all = 0;    // rows of the tensor; 0: the outputs and no others
  bool gate = false;  // in the order of a gated feed-forward (gated_row of linear.h)
};

struct TensorEntry {
  enum class Role {
    Words,       // the word embeddings; also the head's matrix, unless there is a Decoder
    Product,     // a matrix that every row is multiplied by
    Decoder,     // the head's own matrix
    Lengths,     // the length predictor, small and never stored as bytes
    Classifier,  // a matrix of a classifier, likewise
    Positions,   // the position table
    Vector,      // a bias, or a gain or shift of a norm
  };

  Role role;
  // Hugging Face's name. Several tensors are joined along the outputs: keys and values are one matrix.
  std::vector<std::string> names;
  int64_t outputs;        // of all names together
  int64_t inputs;         // 0: a vector
  std::string joined{};   // the name of the whole in a file of saved weights; empty: the one name
  std::string another{};  // a tied tensor may be under this name instead; empty: none
  std::string added{};    // row 0 of this tensor [added_rows, inputs], where there is one, is added to every row
  int64_t added_rows = 0;
  StoredRows rows{};  // which rows of the named tensor these are

  const std::string& name() const { return joined.empty() ? names.front() : joined; }
  bool is_vector() const { return inputs == 0; }
  // Small, and what it decides is the answer: not worth a quarter of its bytes.
  bool is_never_bytes() const { return role == Role::Lengths || role == Role::Classifier; }
  bool is_matrix() const { return role != Role::Vector && role != Role::Positions; }
  // Numbers in the packed form.
  int64_t values() const { return outputs * (is_vector() ? 1 : inputs); }
};

// Gets every entry with its place: a packed matrix, or a buffer of float32 (vectors and the position table).
template <class Matrix, class Values>
struct TensorVisitor {
  std::function<void(const TensorEntry&, Matrix&)> matrix;
  std::function<void(const TensorEntry&, Values&)> values;
};

// In the order of the computation. Sizes are those of `config`; `weights` has as many layers.
void each_tensor(const ModelConfig& config, Weights& weights, const TensorVisitor<PackedMatrix, Buffer>& visitor);
void each_tensor(const ModelConfig& config, const Weights& weights,
                 const TensorVisitor<const PackedMatrix, const Buffer>& visitor);

// Those of one layer.
void each_tensor_of_layer(const ModelConfig& config, int64_t index, LayerWeights& layer,
                          const TensorVisitor<PackedMatrix, Buffer>& visitor);

// The entries alone.
std::vector<TensorEntry> tensors_of(const ModelConfig& config);

// Names that are looked for before the table is known.
struct TensorNames {
  std::string words, decoder, lengths;
  std::string classifier, token_classifier;  // without .weight and .bias; empty: there is none
  std::vector<std::string> head;             // a checkpoint without any of them has no head
};
TensorNames tensor_names(const ModelConfig& config);
// A tensor of a layer: whoever has it has the layer.
std::string tensor_of_layer(const ModelConfig& config, int64_t index);

// XLM-R's, for what there is of XLM-R alone.
const TensorNames& xlm_roberta_names();

// The functions above as one architecture defines them.
struct TensorTable {
  void (*each)(const ModelConfig&, Weights&, const TensorVisitor<PackedMatrix, Buffer>&);
  void (*each_constant)(const ModelConfig&, const Weights&, const TensorVisitor<const PackedMatrix, const Buffer>&);
  void (*each_of_layer)(const ModelConfig&, int64_t index, LayerWeights&, const TensorVisitor<PackedMatrix, Buffer>&);
  TensorNames (*names)(const ModelConfig&);
  std::string (*of_layer)(const ModelConfig&, int64_t index);
};
extern const TensorTable xlm_roberta_table, modern_bert_table;

}  // namespace mask_predict
