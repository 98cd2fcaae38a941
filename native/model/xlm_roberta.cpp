// XLM-RoBERTa (post-LN) and XLM-RoBERTa-XL (pre-LN): names and shapes of their tensors in Hugging Face's checkpoints of
// every kind (masked LM, encoder alone, sequence and token classification), and of the length predictor
// (`embed_length.weight`).
#include "model/tensor_walks.h"

namespace mask_predict {
namespace {

using Role = TensorEntry::Role;

// Names and shapes of the parts that tensors come in, over weights that are changed or only read.
template <class Matrix, class Values>
struct XlmRobertaWalk {
  const TensorVisitor<Matrix, Values>& visitor;

  void matrix(Role role, const std::string& name, int64_t outputs, int64_t inputs, Matrix& place,
              const std::string& another = "") const {
    visitor.matrix({role, {name}, outputs, inputs, "", another}, place);
  }
  void vector(const std::string& name, int64_t size, Values& place, const std::string& another = "") const {
    visitor.values({Role::Vector, {name}, size, 0, "", another}, place);
  }
  template <class Linear>
  void linear(const std::string& name, int64_t outputs, int64_t inputs, Linear& place,
              Role role = Role::Product) const {
    matrix(role, name + ".weight", outputs, inputs, place.matrix);
    vector(name + ".bias", outputs, place.bias);
  }
  template <class Norm>
  void norm(const std::string& name, int64_t width, Norm& place) const {
    vector(name + ".weight", width, place.gain);
    vector(name + ".bias", width, place.shift);
  }

  template <class Layer>
  void layer(const ModelConfig& c, int64_t index, Layer& layer) const {
    const std::string prefix = "roberta.encoder.layer." + std::to_string(index) + ".";
    const std::string attention = prefix + "attention.self.";
    const bool pre = c.norm == NormPlacement::Pre;
    const int64_t d = c.hidden;
    linear(attention + "query", d, d, layer.query);
    const std::string key = attention + "key.", value = attention + "value.";
    visitor.matrix({Role::Product, {key + "weight", value + "weight"}, 2 * d, d, attention + "key_value.weight"},
                   layer.key_value.matrix);
    visitor.values({Role::Vector, {key + "bias", value + "bias"}, 2 * d, 0}, layer.key_value.bias);
    linear(prefix + "attention.output.dense", d, d, layer.attention_output);
    norm(prefix + (pre ? "attention.self_attn_layer_norm" : "attention.output.LayerNorm"), d, layer.attention_norm);
    linear(prefix + "intermediate.dense", c.feed_forward, d, layer.feed_forward_in);
    linear(prefix + "output.dense", d, c.feed_forward, layer.feed_forward_out);
    norm(prefix + (pre ? "LayerNorm" : "output.LayerNorm"), d, layer.feed_forward_norm);
  }

  template <class Model>
  void head(const ModelConfig& c, Model& w) const {
    const int64_t d = c.hidden;
    linear("lm_head.dense", d, d, w.head_dense);
    norm("lm_head.layer_norm", d, w.head_norm);
    vector("lm_head.bias", c.vocabulary, w.head_bias, "lm_head.decoder.bias");
    if (!c.tie_word_embeddings) matrix(Role::Decoder, xlm_roberta_names().decoder, c.vocabulary, d, w.separate_decoder);
  }

  template <class Model>
  void model(const ModelConfig& c, Model& w) const {
    const TensorNames& names = xlm_roberta_names();
    const std::string embeddings = "roberta.embeddings.";
    const int64_t d = c.hidden;
    matrix(Role::Words, names.words, c.vocabulary, d, w.words, c.tie_word_embeddings ? names.decoder : "");
    visitor.values({Role::Positions,
                    {embeddings + "position_embeddings.weight"},
                    c.max_positions,
                    d,
                    "",
                    "",
                    embeddings + "token_type_embeddings.weight",
                    c.token_types},
                   w.positions);
    norm(c.norm == NormPlacement::Pre ? "roberta.encoder.LayerNorm" : embeddings + "LayerNorm", d, w.outer_norm);
    for (int64_t i = 0; i < c.layers; i++) layer(c, i, w.layers[static_cast<size_t>(i)]);
    if (c.head) head(c, w);
    if (c.lengths > 0) matrix(Role::Lengths, names.lengths, c.lengths, d, w.lengths);
    if (c.classes > 0) {
      linear("classifier.dense", d, d, w.classifier_dense, Role::Classifier);
      linear(names.classifier, c.classes, d, w.classifier, Role::Classifier);
    }
    if (c.token_classes > 0) linear(names.token_classifier, c.token_classes, d, w.token_classifier, Role::Classifier);
  }
};

using Walks = TensorWalks<XlmRobertaWalk>;

TensorNames names(const ModelConfig&) { return xlm_roberta_names(); }

std::string of_layer(const ModelConfig&, int64_t index) {
  return "roberta.encoder.layer." + std::to_string(index) + ".attention.self.query.weight";
}

}  // namespace

const TensorTable xlm_roberta_table = {Walks::each, Walks::each_constant, Walks::each_of_layer, names, of_layer};

const TensorNames& xlm_roberta_names() {
  static const TensorNames names{"roberta.embeddings.word_embeddings.weight",
                                 "lm_head.decoder.weight",
                                 "embed_length.weight",
                                 "classifier.out_proj",
                                 "classifier",
                                 {"lm_head.dense.weight", "lm_head.dense.bias", "lm_head.layer_norm.weight",
                                  "lm_head.layer_norm.bias", "lm_head.bias", "lm_head.decoder.bias"}};
  return names;
}

}  // namespace mask_predict
