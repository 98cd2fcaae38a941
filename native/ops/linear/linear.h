// linear: output = activation(input . weightᵀ + bias) + residual.
// linear_pair: two such products of the same rows, queries beside keys and values, in one launch where a device can.
// linear_norm: the end of a block. The product is added to the residual stream, and the LayerNorm that follows it
// is taken at once, while the row is at hand.
//
// The inner dimension is added up in the same order for every row, so a row's result does not depend on the rows
// beside it, the threads, or the blocking.
#pragma once

#include <algorithm>

#include "ops/context.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict {

struct LinearArguments {
  const void* input;  // [rows, weight.inputs]
  int64_t rows;
  const PackedMatrix* weight;
  const float* bias = nullptr;             // [weight.outputs rounded up to 16], or none
  bool gelu = false;                       // exact erf form
  const float* residual = nullptr;         // [rows, weight.outputs], or none; may be the output
  void* output;                            // [rows, weight.outputs]
  ValueType output_type = ValueType::F32;  // or the context's activations
  // The weight of the product that comes next, if that is known: on the CPU its first bytes are fetched as this one ends.
  const PackedMatrix* next_weight = nullptr;
  // On the CPU, without bias, gelu and residual: a gated feed-forward. output = gelu(u) * g, [rows, weight.outputs / 2];
  // the weight's outputs are the rows of u and g in the order of gated_row.
  bool gate = false;
};

// Which row of the stacked matrices [u; g], `outputs` rows together, is output `output` of a gated weight: a group of the
// product has the same columns of both, u first.
inline int64_t gated_row(int64_t output, int64_t outputs) {
  constexpr int64_t half_group = cpu::group_columns / 2;
  const int64_t first = output / cpu::group_columns * half_group, within = output % cpu::group_columns;
  const int64_t half = std::min(half_group, outputs / 2 - first);
  return within < half ? first + within : outputs / 2 + first + within - half;
}

struct LinearPairArguments {
  const void* input;  // [rows, inputs]
  int64_t rows;
  // output = input . weightᵀ + bias, the bits that linear gives. Both weights have the same inputs and type.
  struct Product {
    const PackedMatrix* weight;
    const float* bias;  // [weight.outputs rounded up to 16], or none
    void* output;       // [rows, weight.outputs]; not the other one's
  };
  Product products[2];
  ValueType output_type = ValueType::F32;     // or the context's activations
  const PackedMatrix* next_weight = nullptr;  // as above
};

enum class NormPlacement { Pre, Post };  // LayerNorm before (XL, XXL) or after (base, large) each block

struct LinearNormArguments {
  const void* input;  // [rows, weight.inputs]
  int64_t rows;
  const PackedMatrix* weight;
  const float* bias;  // [weight.outputs rounded up to 16]; on the CPU nullptr: none
  // Pre: states += product, normed = norm(states), the input of the next block.
  // Post: states = norm(states + product), normed = the same as activations.
  NormPlacement placement;
  const float* gain;   // [weight.outputs]
  const float* shift;  // likewise
  float epsilon;
  float* states;                              // [rows, weight.outputs], the residual stream
  void* normed;                               // [rows, weight.outputs]; may be `states` where both are float32 and Post
  const PackedMatrix* next_weight = nullptr;  // as above
};

}  // namespace mask_predict
