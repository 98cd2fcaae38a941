// ModernBERT: names and shapes of its tensors in Hugging Face's checkpoints of every kind (masked LM, encoder alone,
// sequence and token classification), and of a length predictor (`embed_length.weight`). No layer has biases; layer 0 has
// no norm before its attention.
#include "model/tensor_walks.h"

namespace mask_predict {
namespace {

using Role = TensorEntry::Role;

template <class Matrix, class Values>
struct ModernBertWalk {
  const TensorVisitor<Matrix, Values>& visitor;

  void matrix(const TensorEntry& entry, Matrix& place) const { visitor.matrix(entry, place); }
  void product(const std::string& name, int64_t outputs, int64_t inputs, Matrix& place) const {
    matrix({Role::Product, {name + ".weight"}, outputs, inputs}, place);
  }
  // Some rows of a stored matrix, in a saved file under a name of their own.
  void part(const std::string& name, int64_t outputs, int64_t inputs, const std::string& joined, const StoredRows& rows,
            Matrix& place) const {
    matrix({Role::Product, {name + ".weight"}, outputs, inputs, joined + ".weight", "", "", 0, rows}, place);
  }
  void vector(const std::string& name, int64_t size, Values& place) const {
    visitor.values({Role::Vector, {name}, size, 0}, place);
  }

  template <class Layer>
  void layer(const ModelConfig& c, int64_t index, Layer& layer) const {
    const std::string prefix = c.tensor_prefix + "layers." + std::to_string(index) + ".";
    const std::string stacked = prefix + "attn.Wqkv", gated = prefix + "mlp.Wi";
    const int64_t d = c.hidden, f = c.feed_forward;
    if (index > 0) vector(prefix + "attn_norm.weight", d, layer.attention_norm.gain);
    part(stacked, d, d, prefix + "attn.query", {0, 3 * d}, layer.query.matrix);
    part(stacked, 2 * d, d, prefix + "attn.key_value", {d, 3 * d}, layer.key_value.matrix);
    product(prefix + "attn.Wo", d, d, layer.attention_output.matrix);
    vector(prefix + "mlp_norm.weight", d, layer.feed_forward_norm.gain);
    part(gated, 2 * f, d, prefix + "mlp.gated", {0, 2 * f, true}, layer.feed_forward_in.matrix);
    product(prefix + "mlp.Wo", d, f, layer.feed_forward_out.matrix);
  }

  // The dense layer and norm are also what a classifier reads.
  template <class Model>
  void head(const ModelConfig& c, Model& w) const {
    const Role role = c.head ? Role::Product : Role::Classifier;
    matrix({role, {"head.dense.weight"}, c.hidden, c.hidden}, w.head_dense.matrix);
    vector("head.norm.weight", c.hidden, w.head_norm.gain);
  }
  template <class Linear>
  void classifier(int64_t classes, int64_t width, Linear& place) const {
    matrix({Role::Classifier, {"classifier.weight"}, classes, width}, place.matrix);
    vector("classifier.bias", classes, place.bias);
  }

  template <class Model>
  void model(const ModelConfig& c, Model& w) const {
    const std::string words = c.tensor_prefix + "embeddings.tok_embeddings.weight";
    const bool tied = c.tie_word_embeddings;
    matrix({Role::Words, {words}, c.vocabulary, c.hidden, "", tied ? "decoder.weight" : ""}, w.words);
    vector(c.tensor_prefix + "embeddings.norm.weight", c.hidden, w.embedding_norm.gain);
    for (int64_t i = 0; i < c.layers; i++) layer(c, i, w.layers[static_cast<size_t>(i)]);
    vector(c.tensor_prefix + "final_norm.weight", c.hidden, w.outer_norm.gain);
    if (c.head || c.classes > 0 || c.token_classes > 0) head(c, w);
    if (c.head) {
      vector("decoder.bias", c.vocabulary, w.head_bias);
      if (!tied) matrix({Role::Decoder, {"decoder.weight"}, c.vocabulary, c.hidden}, w.separate_decoder);
    }
    if (c.lengths > 0) matrix({Role::Lengths, {"embed_length.weight"}, c.lengths, c.hidden}, w.lengths);
    if (c.classes > 0) classifier(c.classes, c.hidden, w.classifier);
    if (c.token_classes > 0) classifier(c.token_classes, c.hidden, w.token_classifier);
  }
};

using Walks = TensorWalks<ModernBertWalk>;

TensorNames names(const ModelConfig& config) {
  return {config.tensor_prefix + "embeddings.tok_embeddings.weight",
          "decoder.weight",
          "embed_length.weight",
          config.of_tokens ? "" : "classifier",
          config.of_tokens ? "classifier" : "",
          {"decoder.bias", "decoder.weight"}};
}

std::string of_layer(const ModelConfig& config, int64_t index) {
  return config.tensor_prefix + "layers." + std::to_string(index) + ".attn.Wqkv.weight";
}

}  // namespace

const TensorTable modern_bert_table = {Walks::each, Walks::each_constant, Walks::each_of_layer, names, of_layer};

}  // namespace mask_predict
