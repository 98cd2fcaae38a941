// The memory of a step: a table of named sizes, made once for the largest part, from which every buffer gets its place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace mask_predict::training {

// The backward pass computes these values again instead of keeping them: nothing, the output of GELU (the widest rows
// of a layer), or everything of a layer except its input.
enum class Recompute { None, Gelu, Layer };

struct PlanSizes {
  int64_t rows = 0;    // of sources and targets
  int64_t masked = 0;  // rows that are predicted
  int64_t sources = 0;

  bool covers(const PlanSizes& other) const {
    return rows >= other.rows && masked >= other.masked && sources >= other.sources;
  }
};

// One block (attention or feed-forward) of a layer, f what it computes. Pre-LN: normed = norm(input), output = sum =
// input + f(normed). Post-LN: sum = input + f(input), output = normed = norm(sum).
struct BlockBuffers {
  float* input;  // the output of the block before
  float* normed;
  float* sum;
  float* means;  // of the norm's rows
  float* inverses;
};

struct LayerBuffers {
  BlockBuffers attention, feed_forward;
  // [rows, 3D]; with plain mixed attention, behind the sources' rows, [rows, 3D] that the targets see: what is made of
  // the sources' final states, and the targets' own.
  float* query_key_value;
  float* log_sums;   // [H, rows]
  float* attended;   // [rows, D]
  float* hidden;     // [rows, F], before GELU
  float* activated;  // [rows, F], after
};

struct StepBuffers {
  float* embedded;         // [rows, D]; post-LN: before the norm
  float* embedded_normed;  // post-LN
  float *embedded_means, *embedded_inverses;
  std::vector<LayerBuffers> layers;
  float* states;  // final, [rows, D]
  float *states_means, *states_inverses;

  float *masked_states, *dense, *dense_activated, *head_normed;  // [masked, D]
  float *head_means, *head_inverses, *head_log_sums;             // [masked]
  float* logits;                                                 // [masked, chunk]
  float *source_means, *length_logits;                           // [sources, D], [sources, lengths]

  float* gradient;                     // [rows, D], of the residual stream
  float* branch;                       // [rows, D], of what is added to it
  float* block_input;                  // [rows, D]
  float* wide;                         // [rows, max(3D, F)]
  float* attended_gradient;            // [rows, D]
  float *head_gradient, *head_branch;  // [masked, D]
  float* mean_gradient;                // [sources, D]
  float* partial_sums;                 // of sums over rows
  int32_t* order;                      // [rows]
};

class Plan {
 public:
  Plan(const ModelConfig& config, Recompute recompute, const PlanSizes& sizes);

  const PlanSizes& sizes() const { return sizes_; }
  uint64_t bytes() const { return static_cast<uint64_t>(floats_) * sizeof(float); }
  // The places in memory of bytes() bytes.
  StepBuffers bind(float* memory) const;

 private:
  template <class Take>
  StepBuffers lay_out(const Take& take) const;

  const ModelConfig config_;
  const Recompute recompute_;
  const PlanSizes sizes_;
  int64_t floats_ = 0;
};

}  // namespace mask_predict::training
