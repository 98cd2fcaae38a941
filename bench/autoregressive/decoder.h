// A causal decoder over growing caches: any number of independent sequences in one pass, each with its own new ids.
#pragma once

#include <vector>

#include "engine/layer_stack.h"
#include "key_value_cache.h"
#include "models.h"

namespace autoregressive {

// A text while it is being written.
struct DecodedSequence {
  KeyValueCache own;          // of the text so far
  KeyValueCache source;       // what the cross-attention sees; empty without one
  int64_t length = 0;         // rows in `own`
  int64_t source_length = 0;  // rows in `source`
};

struct NewIds {
  DecodedSequence* sequence;
  std::vector<int32_t> ids;  // at least one; what follows the text so far
};

// The prediction of the next id of each sequence.
struct Predictions {
  std::vector<int32_t> ids;                // the best allowed id
  std::vector<float> log_probs;            // of it
  std::vector<std::vector<float>> logits;  // [vocabulary] each, if asked for
};

class Decoder {
 public:
  Decoder(const Model& model, const mask_predict::Context& context);

  CacheShape cache_shape() const;
  // Takes the new ids in, in one pass over all of them, and predicts what follows. The caches must have the capacity.
  Predictions advance(const std::vector<NewIds>& inputs, bool logits);

 private:
  void run_layers(const std::vector<NewIds>& inputs);
  Predictions predict(int64_t rows, bool logits);
  void norm(const mask_predict::NormWeights& weights, int64_t rows, float* output, void* normed);
  void linear(const mask_predict::LinearWeights& weights, int64_t rows, const void* input, void* output, bool gelu);
  void end_block(const mask_predict::LinearWeights& weights, const mask_predict::NormWeights& norm, int64_t rows,
                 const void* input);

  const Model& model_;
  const mask_predict::Context& context_;
  const std::vector<DecoderLayer> layers_;
  mask_predict::StackWorkspace workspace_;
};

}  // namespace autoregressive
