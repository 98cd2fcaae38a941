// One part of an optimiser step on its way through the model: forward with everything the way back needs, the loss, and
// backward, which adds to the gradients. Section 3.2 and 3.3 of the paper.
#pragma once

#include <atomic>

#include "base/error.h"
#include "ops/dropout/dropout.h"
#include "ops/lm_head/lm_head_training.h"
#include "training/batch.h"
#include "training/parameters.h"
#include "training/plan.h"

namespace mask_predict::training {

struct Objective {
  double label_smoothing = 0.1;
  double length_weight = 0.1;  // of the length predictor's loss
};

// Sums over a part, to be divided by what the whole step has of them.
struct LossSums {
  HeadLossSums tokens;
  double lengths = 0;
};

// Totals over all parts of a step.
struct StepTotals {
  int64_t masked = 0;
  int64_t targets = 0;
};

// Throws Cancelled between two operations.
class Pass {
 public:
  struct Model {
    const TrainingContext& context;
    const ModelConfig& config;
    const ParameterTable& table;
    const Objective& objective;
    Recompute recompute;
    const float* weights;
    float* gradients;  // [table.trained_count()]
  };

  // `first_row`: rows of the step before this part, for dropout's draws.
  Pass(const Model& model, const StepBuffers& buffers, const Batch& batch, const DropoutDraws& draws, int64_t first_row,
       const std::atomic<bool>& cancelled)
      : m_(model), b_(buffers), batch_(batch), draws_(draws), first_row_(first_row), cancelled_(cancelled) {}

  LossSums forward();
  void backward(const StepTotals& totals);

 private:
  // forward.cpp
  void forward_embeddings();
  void forward_layer(size_t index);
  void forward_block_end(const BlockBuffers& block, const NormOffsets& norm, uint32_t site);
  void norm(const float* input, const NormOffsets& offsets, int64_t rows, float* output, float* means, float* inverses);
  LossSums forward_losses();
  HeadLoss head_loss() const;

  // backward.cpp
  void backward_losses(const StepTotals& totals);
  void backward_head(const StepTotals& totals);
  void backward_layers();
  void backward_layer(size_t index);
  void backward_attention(size_t index, const float* branch);
  const float* backward_block_end(const BlockBuffers& block, const NormOffsets& norm, uint32_t site);
  void backward_block_start(const BlockBuffers& block, const NormOffsets& norm, const LinearOffsets& linear,
                            int64_t outputs, const float* output_gradient);
  void backward_embeddings();
  void norm_gradient(const float* input, const NormOffsets& offsets, int64_t rows, const float* means,
                     const float* inverses, const float* output_gradient, float* input_gradient, bool accumulate);

  bool pre() const { return m_.config.norm == NormPlacement::Pre; }
  int64_t width() const { return m_.config.hidden; }
  // The passage that is on its way through the layers: its rows are rows() from first() on.
  int64_t rows() const { return passage_->rows.count; }
  int64_t first() const { return passage_->rows.first; }
  float* of_passage(float* values) const { return values + first() * width(); }
  BlockBuffers of_passage(const BlockBuffers& block) const;
  // Keys and values of the passage's attention: [batch rows, 3D].
  float* query_key_value(const LayerBuffers& layer) const {
    return layer.query_key_value + (passage_->reads_final_states ? batch_.source_rows * 3 * width() : 0);
  }
  const float* weight(int64_t offset) const { return m_.weights + offset; }
  // nullptr where the tensor is frozen.
  float* gradient(int64_t offset) const { return offset < m_.table.trained_count() ? m_.gradients + offset : nullptr; }
  void drop(const float* input, const float* residual, float* output, uint32_t site) const {
    dropout(m_.context, draws_,
            {input, residual, output, rows(), width(), site, static_cast<uint32_t>(first_row_ + first())});
  }
  void check() const {
    if (cancelled_.load(std::memory_order_relaxed)) throw Cancelled();
  }

  const Model m_;
  const StepBuffers& b_;
  const Batch& batch_;
  const DropoutDraws draws_;
  const int64_t first_row_;
  const std::atomic<bool>& cancelled_;
  const Passage all_{{0, batch_.rows}, {}};
  const Passage* passage_ = &all_;  // of embeddings and losses, which take all rows
};

// Which of the model's dropouts: the embeddings', then two of each layer.
inline constexpr uint32_t embedding_site = 0;
inline uint32_t attention_site(size_t layer) { return 1 + 2 * static_cast<uint32_t>(layer); }
inline uint32_t feed_forward_site(size_t layer) { return attention_site(layer) + 1; }

}  // namespace mask_predict::training
