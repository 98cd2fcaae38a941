// What a model is: the numbers of config.json, checked, or those of a named architecture.
#pragma once

#include <cstdint>
#include <string>

#include "ops/linear/linear.h"

namespace mask_predict {

struct ModelConfig {
  std::string model_type;  // "xlm-roberta" or "xlm-roberta-xl"
  NormPlacement norm = NormPlacement::Post;
  int64_t layers = 0;
  int64_t hidden = 0;          // D
  int64_t heads = 0;           // H, divides D
  int64_t feed_forward = 0;    // F
  int64_t vocabulary = 0;      // V: rows of the embedding, padding rows included
  int64_t max_positions = 0;   // rows of the position table; ids per sequence <= max_positions - 2
  int64_t token_types = 1;     // rows of token_type_embeddings if the checkpoint has it
  int64_t lengths = 0;         // rows of embed_length.weight; 0: no length predictor
  bool head = true;            // whether there is a language-model head
  int64_t classes = 0;         // of the sequence classifier; 0: there is none
  int64_t token_classes = 0;   // of the token classifier; 0: there is none
  int64_t mask_token_id = -1;  // -1: not given; real ids are 0 ... mask_token_id
  double layer_norm_epsilon = 1e-5;
  bool tie_word_embeddings = true;

  int64_t head_size() const { return hidden / heads; }
  int64_t max_ids() const { return max_positions - 2; }
  // Number of weights, counting tied ones once.
  int64_t parameters() const;
  // Weights of the layers' matrices: multiplications for each row that goes through them.
  int64_t body_weights() const;
};

// Reads and checks `directory`/config.json. Throws Error(ModelFormat) that names the file, the field, what it
// is and what it may be: missing file, not JSON, an unknown model_type, hidden_act other than "gelu",
// position_embedding_type other than "absolute", is_decoder: true, a size that is missing, not a positive integer or absurdly
// large, heads that do not divide hidden, layer_norm_eps outside (0, 0.1], special ids other than XLM-R's,
// mask_token_id outside the vocabulary. An optional field that is null counts as missing and unknown fields
// are ignored, as Hugging Face does; a missing layer_norm_eps is its default for the model_type.
ModelConfig read_config(const std::string& directory);

}  // namespace mask_predict
