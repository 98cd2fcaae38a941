// How an architecture's table is walked over. Walk<Matrix, Values> is made of a visitor, and has model(config, weights) and
// layer(config, index, layer), which call the visitor for their tensors in order. Each architecture's has a name of its own:
// GCC takes templates of one name in two unnamed namespaces for the same argument.
#pragma once

#include "model/tensor_table.h"

namespace mask_predict {

template <template <class, class> class Walk>
struct TensorWalks {
  static void each(const ModelConfig& config, Weights& weights, const TensorVisitor<PackedMatrix, Buffer>& visitor) {
    Walk<PackedMatrix, Buffer>{visitor}.model(config, weights);
  }

  static void each_constant(const ModelConfig& config, const Weights& weights,
                            const TensorVisitor<const PackedMatrix, const Buffer>& visitor) {
    Walk<const PackedMatrix, const Buffer>{visitor}.model(config, weights);
  }

  static void each_of_layer(const ModelConfig& config, int64_t index, LayerWeights& layer,
                            const TensorVisitor<PackedMatrix, Buffer>& visitor) {
    Walk<PackedMatrix, Buffer>{visitor}.layer(config, index, layer);
  }
};

}  // namespace mask_predict
