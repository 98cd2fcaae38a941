// The configuration of a model: the checked numbers of config.json, or those of a named architecture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/special_ids.h"
#include "ops/linear/linear.h"

namespace mask_predict {

enum class Architecture { XlmRoberta, ModernBert };

// The keys and values of its source that a target attends to, in every layer. Dynamic: those of the source in that
// layer, dynamic mixed attention, eq. (7). Mixed: those that the layer's weights make of the source's final states,
// mixed attention, eq. (6).
enum class TargetAttention { Dynamic, Mixed };

// "dynamic" or "mixed", as config.json ("mask_predict_attention") and the options have them. False: neither.
bool read_attention(const std::string& name, TargetAttention& attention);
const char* name_of(TargetAttention attention);

// ModernBERT's positions: queries and keys are turned by them, and in local layers a key is seen only from nearby.
struct RotaryPositions {
  double global_theta = 0, local_theta = 0;
  std::vector<bool> local;  // [layers]
  int64_t window = 0;       // keys on either side that a local layer sees
};

// Ids with a meaning of their own.
struct SpecialIds {
  int32_t begin = begin_id, end = end_id, pad = pad_id;
  std::vector<int32_t> others{};  // never answered either
};

struct ModelConfig {
  Architecture architecture = Architecture::XlmRoberta;
  std::string model_type;  // "xlm-roberta", "xlm-roberta-xl" or "modernbert"
  NormPlacement norm = NormPlacement::Post;
  TargetAttention attention = TargetAttention::Dynamic;
  int64_t layers = 0;
  int64_t hidden = 0;          // D
  int64_t heads = 0;           // H, divides D
  int64_t feed_forward = 0;    // F
  int64_t vocabulary = 0;      // V: rows of the embedding, padding rows included
  int64_t max_positions = 0;   // rows of the position table
  int64_t token_types = 1;     // rows of token_type_embeddings if the checkpoint has it
  int64_t lengths = 0;         // rows of embed_length.weight; 0: no length predictor
  bool head = true;            // whether there is a language-model head
  int64_t classes = 0;         // of the sequence classifier; 0: there is none
  int64_t token_classes = 0;   // of the token classifier; 0: there is none
  int64_t mask_token_id = -1;  // -1: not given
  double layer_norm_epsilon = 1e-5;
  bool tie_word_embeddings = true;
  SpecialIds special;
  RotaryPositions rotary;        // of ModernBERT, like what follows
  bool classifies_mean = false;  // a sequence classifier reads the mean of the states, not the first one
  bool of_tokens = false;        // the classifier is one of tokens
  std::string tensor_prefix;     // "model." where the encoder's tensors have it

  int64_t head_size() const { return hidden / heads; }
  bool is_modern_bert() const { return architecture == Architecture::ModernBert; }
  // Ids in a sequence; XLM-R's first position is 2. ModernBERT's targets go on where their source ends, so that both
  // together have at most as many.
  int64_t max_ids() const { return is_modern_bert() ? max_positions : max_positions - 2; }
  int64_t max_target_ids(int64_t source_ids) const { return is_modern_bert() ? max_ids() - source_ids : max_ids(); }
  // Real ids are 0 ... real_ids() - 1: XLM-R's end with <mask>, ModernBERT's are all rows.
  int64_t real_ids() const { return is_modern_bert() ? vocabulary : mask_token_id + 1; }
  HeadIds head_ids() const;
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
// are ignored, as Hugging Face does; a missing layer_norm_eps is its default for the model_type. ModernBERT's fields are in
// modern_bert_config.cpp.
ModelConfig read_config(const std::string& directory);

}  // namespace mask_predict
