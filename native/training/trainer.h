// A model that is trained: float32 weights, their gradients, the optimiser's moments, and steps over them.
//
// One thread uses it at a time. A step changes weights only at its end and all at once, so that one that is cancelled or
// fails leaves the model as it was. Where the options ask for an average of the weights, it is what `evaluate` and `save`
// take instead of them.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "model/safetensors_writer.h"
#include "ops/training_context.h"
#include "training/pass.h"

namespace mask_predict::training {

struct TrainerOptions {
  int threads = 0;             // 0: as many processors as the process may use
  uint64_t memory_limit = 0;   // 0: what the machine has available
  int64_t mask_token_id = -1;  // -1: from config.json
  int64_t lengths = 0;         // classes of a length predictor that is added; 0: one for each length there is
  bool new_head = false;       // for a directory without a language-model head: one is drawn
  uint64_t seed = 0;           // of weights that are drawn
  double dropout = 0.1;
  Objective objective;
  AdamOptions adam;
  bool decay_all = false;
  bool freeze_embeddings = false;
  Recompute recompute = Recompute::None;
  bool rounded_products = false;             // products round their operands to bfloat16; Error(Device) where none can
  std::optional<TargetAttention> attention;  // none: what the model was trained with
};

struct TrainerRequest {
  std::string directory;                    // of a model, or
  std::optional<ModelConfig> architecture;  // of a new one
  bool draw = true;                         // whether its weights are drawn; else they are zeros, to be loaded
};

struct StepOptions {
  bool update = true;
  double learning_rate = 0;
  uint64_t seed = 0;  // of dropout
  uint32_t step = 0;
};

struct StepResult {
  double loss = 0, nll = 0, length_loss = 0;
  double gradient_norm = 0;  // before clipping; 0 where there are no gradients
  int64_t masked_tokens = 0, examples = 0;
};

struct TrainerMemory {
  uint64_t weights, average, gradients, moments, working, limit;
};

class Trainer {
 public:
  // Error(ModelFormat), Error(OutOfMemory) before anything is read, Cancelled. `progress` goes from 0 to 1.
  Trainer(const TrainerRequest& request, const TrainerOptions& options, const std::function<void(double)>& progress,
          const std::atomic<bool>& cancelled);

  const ModelConfig& config() const { return config_; }
  const TrainerOptions& options() const { return options_; }
  bool has_token_types() const { return table_->token_types >= 0; }
  bool added_length_head() const { return added_length_head_; }
  int threads() const { return pool_->size(); }
  const char* instruction_set() const { return context_.products->name; }
  int64_t updates() const { return updates_; }
  TrainerMemory memory() const;
  // Bytes that steps of parts with `rows` rows take, including weights, gradients and moments.
  uint64_t bytes_for(int64_t rows) const;

  // Takes the memory of parts with up to so many rows now. Error(OutOfMemory) that says what would help.
  void reserve(int64_t rows);

  // One optimiser step of one or more parts. Error(OutOfMemory) before anything is computed; Error(InvalidArgument)
  // where nothing is masked, or, with nothing changed, where the gradient is no finite number; Cancelled.
  StepResult step(const std::vector<StepPart>& parts, const StepOptions& options, const std::atomic<bool>& cancelled);
  // The loss without dropout, of the average where there is one.
  StepResult evaluate(const std::vector<StepPart>& parts, const std::atomic<bool>& cancelled);

  // Gradients of the last step, by tensor. Frozen tensors have none.
  std::vector<std::pair<std::string, std::vector<float>>> gradients() const;

  // A model's weights, or their average, as `type`.
  void save(const std::string& path, WeightType type, const std::atomic<bool>& cancelled) const;
  // Weights, average, moments and the number of updates, with `note` beside them; and back, Error(ModelFormat).
  void save_state(const std::string& path, const std::string& note, const std::atomic<bool>& cancelled) const;
  void load_state(const std::string& path, const std::atomic<bool>& cancelled);

 private:
  void allocate(const std::string& purpose);
  void read(const std::string& directory, const std::function<void(double)>& progress,
            const std::atomic<bool>& cancelled);
  void draw(const ParameterTensor& tensor);
  void reserve_for(const PlanSizes& sizes);
  LossSums run(const std::vector<Batch>& batches, const StepTotals& totals, const DropoutDraws& draws,
               const float* weights, bool backward, const std::atomic<bool>& cancelled);
  bool averages() const { return options_.adam.average_decay > 0; }
  // The average, or the weights where none is kept.
  const float* result() const { return (averages() ? average_ : weights_).as<float>(); }
  StepResult result_of(const LossSums& sums, const StepTotals& totals) const;
  std::vector<TensorToWrite> tensors(const std::string& prefix, const float* values, bool only_trained) const;

  TrainerOptions options_;
  ModelConfig config_;
  bool added_length_head_ = false;
  std::unique_ptr<cpu::ThreadPool> pool_;
  TrainingContext context_;
  uint64_t limit_ = 0;
  std::shared_ptr<MemoryBudget> budget_;
  std::unique_ptr<ParameterTable> table_;
  std::vector<WeightRange> pieces_;
  Buffer weights_, average_, gradients_, first_, second_;
  std::unique_ptr<Plan> plan_;
  Buffer working_;
  StepBuffers buffers_;
  int64_t updates_ = 0;
};

}  // namespace mask_predict::training
