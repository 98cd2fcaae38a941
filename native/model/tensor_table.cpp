#include "model/tensor_table.h"

#include <utility>

namespace mask_predict {
namespace {

const TensorTable& table_of(const ModelConfig& config) {
  return config.is_modern_bert() ? modern_bert_table : xlm_roberta_table;
}

}  // namespace

void each_tensor(const ModelConfig& config, Weights& weights, const TensorVisitor<PackedMatrix, Buffer>& visitor) {
  table_of(config).each(config, weights, visitor);
}

void each_tensor(const ModelConfig& config, const Weights& weights,
                 const TensorVisitor<const PackedMatrix, const Buffer>& visitor) {
  table_of(config).each_constant(config, weights, visitor);
}

void each_tensor_of_layer(const ModelConfig& config, int64_t index, LayerWeights& layer,
                          const TensorVisitor<PackedMatrix, Buffer>& visitor) {
  table_of(config).each_of_layer(config, index, layer, visitor);
}

std::vector<TensorEntry> tensors_of(const ModelConfig& config) {
  std::vector<TensorEntry> entries;
  const auto add = [&](const TensorEntry& entry, const auto&) { entries.push_back(entry); };
  Weights places;
  places.layers.resize(static_cast<size_t>(config.layers));
  each_tensor(config, std::as_const(places), {add, add});
  return entries;
}

TensorNames tensor_names(const ModelConfig& config) { return table_of(config).names(config); }

std::string tensor_of_layer(const ModelConfig& config, int64_t index) {
  return table_of(config).of_layer(config, index);
}

}  // namespace mask_predict
