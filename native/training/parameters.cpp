#include "training/parameters.h"

#include <utility>

#include "base/numbers.h"

namespace mask_predict::training {
namespace {

constexpr int64_t alignment = 16;  // floats: a line of the cache

}  // namespace

ParameterTable::ParameterTable(const ModelConfig& c, const ParameterChoices& choices) : choices_(choices) {
  const bool pre = c.norm == NormPlacement::Pre;
  const int64_t d = c.hidden;
  const std::string embeddings = "roberta.embeddings.";
  for (int64_t i = 0; i < c.layers; i++) layers.push_back(layer(i, c));
  if (pre) outer_norm = norm("roberta.encoder.LayerNorm", d);
  head_dense = linear("lm_head.dense", d, d);
  head_norm = norm("lm_head.layer_norm", d);
  head_bias = add("lm_head.bias", {c.vocabulary}, false);
  decoder = c.tie_word_embeddings ? -1 : add("lm_head.decoder.weight", {c.vocabulary, d}, true);
  lengths = c.lengths > 0 ? add("embed_length.weight", {c.lengths, d}, true) : -1;

  if (choices.freeze_embeddings) {
    trained_ = count_;
    adding_trained_ = false;
  }
  words = add(embeddings + "word_embeddings.weight", {c.vocabulary, d}, true);
  positions = add(embeddings + "position_embeddings.weight", {c.max_positions, d}, true);
  token_types = choices.token_types ? add(embeddings + "token_type_embeddings.weight", {c.token_types, d}, true) : -1;
  if (!pre) outer_norm = norm(embeddings + "LayerNorm", d);
  if (c.tie_word_embeddings) decoder = words;
  count_ = round_up(count_, alignment);
  if (adding_trained_) trained_ = count_;
}

int64_t ParameterTable::add(const std::string& name, std::vector<int64_t> shape, bool decays, bool aligned) {
  if (aligned) count_ = round_up(count_, alignment);
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  tensors_.push_back({name, std::move(shape), count_, count, decays || choices_.decay_all, adding_trained_});
  count_ += count;
  return tensors_.back().offset;
}

LinearOffsets ParameterTable::linear(const std::string& name, int64_t outputs, int64_t inputs) {
  const int64_t weight = add(name + ".weight", {outputs, inputs}, true);
  return {weight, add(name + ".bias", {outputs}, false)};
}

NormOffsets ParameterTable::norm(const std::string& name, int64_t width) {
  const int64_t gain = add(name + ".weight", {width}, false);
  return {gain, add(name + ".bias", {width}, false)};
}

LayerOffsets ParameterTable::layer(int64_t index, const ModelConfig& c) {
  const std::string prefix = "roberta.encoder.layer." + std::to_string(index) + ".", self = prefix + "attention.self.";
  const bool pre = c.norm == NormPlacement::Pre;
  const int64_t d = c.hidden;
  LayerOffsets layer{};
  layer.query_key_value.weight = add(self + "query.weight", {d, d}, true);
  add(self + "key.weight", {d, d}, true, false);
  add(self + "value.weight", {d, d}, true, false);
  layer.query_key_value.bias = add(self + "query.bias", {d}, false);
  add(self + "key.bias", {d}, false, false);
  add(self + "value.bias", {d}, false, false);
  layer.attention_output = linear(prefix + "attention.output.dense", d, d);
  layer.attention_norm = norm(prefix + (pre ? "attention.self_attn_layer_norm" : "attention.output.LayerNorm"), d);
  layer.feed_forward_in = linear(prefix + "intermediate.dense", c.feed_forward, d);
  layer.feed_forward_out = linear(prefix + "output.dense", d, c.feed_forward);
  layer.feed_forward_norm = norm(prefix + (pre ? "LayerNorm" : "output.LayerNorm"), d);
  return layer;
}

std::vector<WeightRange> ParameterTable::trained_ranges() const {
  std::vector<WeightRange> ranges;
  for (const ParameterTensor& tensor : tensors_)
    if (tensor.trained) ranges.push_back({tensor.offset, tensor.count, tensor.decays});
  return ranges;
}

}  // namespace mask_predict::training
