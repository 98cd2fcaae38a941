// The table of one instruction set's loops of training, over the steps of its product.
#pragma once

#include "cpu/training_product.h"
#include "cpu/training_rows.h"

namespace {

template <class Steps = FloatSteps>
constexpr mask_predict::cpu::TrainingKernels training_kernels(const char* name) {
  return {name,
          tile_rows,
          tile_columns,
          Steps::together,
          pack_rows<Steps>,
          pack_columns<Steps>,
          multiply<Steps>,
          add_bias,
          add,
          scale,
          column_sums,
          dot,
          sum_of_squares,
          gelu_rows,
          gelu_gradient,
          norm,
          norm_gradient,
          dropout,
          softmax,
          probabilities,
          softmax_gradient,
          scan_logits,
          logit_gradient,
          adam};
}

}  // namespace
