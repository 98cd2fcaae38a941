// Greedy generation of a fixed number of ids for a batch of prompts.
#pragma once

#include <vector>

#include "decoder.h"

namespace autoregressive {

struct Generation {
  std::vector<std::vector<int32_t>> ids;                // [prompts][length]
  std::vector<std::vector<float>> log_probs;            // of these ids
  std::vector<std::vector<std::vector<float>>> logits;  // [prompts][length][vocabulary], if asked for
  double first_ms = 0;  // until the first id of every sequence was there: the prompt's share and one step
  double total_ms = 0;
};

class Generator {
 public:
  Generator(const Model& model, const mask_predict::Context& context);

  // A decoder-only model goes on from the prompt; an encoder-decoder reads it and begins with <s>. Each generated id
  // but the last is fed back. Throws Error(InvalidArgument) for an empty batch or prompt, a length below 1, an id
  // outside the vocabulary, or more ids in a sequence than there are positions.
  Generation generate(const std::vector<std::vector<int32_t>>& prompts, int64_t length, bool logits);

 private:
  void check(const std::vector<std::vector<int32_t>>& prompts, int64_t length) const;
  void reserve(const std::vector<std::vector<int32_t>>& prompts, int64_t length);
  void encode(const std::vector<std::vector<int32_t>>& prompts);

  const Model& model_;
  const mask_predict::Context& context_;
  Decoder decoder_;
  mask_predict::StackWorkspace encoder_workspace_;
  std::vector<DecodedSequence> sequences_;  // kept: a larger batch or length adds to them
};

}  // namespace autoregressive
