// A model's weights in the form the operations read, and where they come from: a checkpoint or a generator.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/mapped_file.h"
#include "model/config.h"
#include "ops/operations.h"

namespace mask_predict {

struct LinearWeights {
  PackedMatrix matrix;
  Buffer bias;  // float32, padded with zeros to a multiple of 16; empty: none

  const float* bias_values() const { return bias.as<float>(); }
};

struct NormWeights {
  Buffer gain;   // float32
  Buffer shift;  // empty: none

  const float* gain_values() const { return gain.as<float>(); }
  const float* shift_values() const { return shift.as<float>(); }
};

struct LayerWeights {
  LinearWeights query;             // [D, D]
  LinearWeights key_value;         // [2D, D]: keys, then values
  LinearWeights attention_output;  // [D, D]
  NormWeights attention_norm;
  LinearWeights feed_forward_in;   // [F, D]; with a gate [2F, D] in the order of gated_row (linear.h)
  LinearWeights feed_forward_out;  // [D, F]
  NormWeights feed_forward_norm;
};

struct Weights {       // in a device's memory
  ModelConfig config;  // settled: mask_token_id, tie_word_embeddings, and which heads there are
  std::shared_ptr<MemoryBudget> budget;
  PackedMatrix words;          // [V, D]
  Buffer positions;            // float32 [max_positions, D], token type row 0 added
  NormWeights outer_norm;      // on the embeddings (post-LN) or after the last layer (pre-LN)
  NormWeights embedding_norm;  // ModernBERT's on the embeddings, which has outer_norm too
  std::vector<LayerWeights> layers;
  // ModernBERT's angles, float32 [max_positions, D / H] each, as rotate takes them.
  Buffer global_angles, local_angles;
  LinearWeights head_dense;  // [D, D]; all of the head is empty without one
  NormWeights head_norm;
  // [V, D], only where it is not the word embeddings, or is those in another type.
  PackedMatrix separate_decoder;
  Buffer head_bias;                // float32 [V], padded to a multiple of 16
  PackedMatrix lengths;            // [lengths, D], never I8; empty without a length predictor
  LinearWeights classifier_dense;  // [D, D]; never I8, like what follows; both empty without a sequence classifier
  LinearWeights classifier;        // [classes, D]
  LinearWeights token_classifier;  // [token_classes, D]; empty without one

  const PackedMatrix& decoder() const { return separate_decoder ? separate_decoder : words; }
};

// Bytes the packed weights of a model take, all matrices in one type (the length predictor at most as float32), but for the
// head's where `head_type` says so.
uint64_t packed_bytes(const ModelConfig& config, WeightType type, std::optional<WeightType> head_type,
                      const Context& device);

// The caller gives the loader a device to pack for, a memory budget, a function that is told the progress (0 ... 1),
// a flag that stops it, and the type of the head's matrix.
struct LoadContext {
  Context device;
  std::shared_ptr<MemoryBudget> budget;
  std::function<void(double)> progress;
  const std::atomic<bool>* cancelled = nullptr;
  FileUse files = FileUse::Map;
  std::optional<WeightType> head_type{};  // of the head's matrix; none: that of the others
};

class TensorSource;
struct TensorEntry;

// Packs the tensors of one source: a whole model, in the order of the table, or parts of another one.
class WeightsBuilder {
 public:
  WeightsBuilder(const TensorSource& source, const LoadContext& context);
  std::shared_ptr<const Weights> build(const ModelConfig& config);
  LayerWeights layer(int64_t index, const ModelConfig& config);
  LinearWeights linear(const std::string& name, int64_t outputs, int64_t inputs);
  NormWeights norm(const std::string& name, int64_t width);

 private:
  std::vector<std::string> names_in_source(const TensorEntry& entry) const;
  PackedMatrix matrix(const TensorEntry& entry);
  Buffer values(const TensorEntry& entry);
  WeightType type_of(const TensorEntry& entry) const;
  void add_head_of_its_own(const ModelConfig& config, Weights& weights);
  void check_scales(const std::string& name, int64_t first, int64_t count, const PackedMatrix& matrix) const;
  void add_row_major_copy(const std::string& name, PackedMatrix& matrix) const;
  void add_angles(Weights& weights) const;
  void step();

  const TensorSource& source_;
  const LoadContext& context_;
  int64_t steps_ = 1;
  int64_t done_ = 0;
};

// Reads a model directory. All matrices become `type`; without one, each keeps the type it is stored in.
// `mask_token_id` < 0: from the config. Throws Error(ModelFormat) naming the tensor and both shapes or types,
// Error(OutOfMemory) before anything is read, Cancelled.
std::shared_ptr<const Weights> load_weights(const std::string& directory, std::optional<WeightType> type,
                                            int64_t mask_token_id, const LoadContext& context);

// Weights drawn from a seed, tensor by tensor straight into packed form: matrices uniform with variance 1 / inputs,
// biases uniform in +-0.02, norms 1 and 0. The same seed gives the same values on any machine and thread count.
std::shared_ptr<const Weights> random_weights(const ModelConfig& config, WeightType type, uint64_t seed,
                                              const LoadContext& context);

}  // namespace mask_predict
