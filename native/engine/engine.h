// One model on one device: encodes sources, and moves targets through Mask-Predict (section 3.3).
//
// An engine is used by one thread at a time. Every call takes any ragged set of sequences; large sets are cut into
// passes of a bounded number of rows, which changes no bit of any result. A call that throws leaves each target
// either as it was before or as the call was to leave it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/device_arena.h"
#include "engine/layer_stack.h"
#include "engine/recordings.h"
#include "engine/sequence.h"
#include "engine/spare_buffers.h"
#include "engine/target_batch.h"
#include "engine/weights.h"
#include "ops/lm_head.h"

namespace mask_predict {

class Engine {
 public:
  // `limit`: bytes for weights, caches and working memory together.
  // `resources` is what the context points to.
  Engine(std::shared_ptr<const Weights> weights, const Context& context, std::shared_ptr<void> resources,
         uint64_t limit);

  const ModelConfig& config() const { return weights_->config; }
  const Weights& weights() const { return *weights_; }
  int32_t mask_token_id() const { return static_cast<int32_t>(config().mask_token_id); }
  // What caches and working memory take of their share of the limit. May be asked from any thread.
  const MemoryBudget& budget() const { return *budget_; }
  uint64_t number() const { return number_; }

  // Ids per source: 2 ... max_ids(), each a real id. Checked by the caller.
  std::vector<std::shared_ptr<Source>> encode(const std::vector<std::vector<int32_t>>& ids,
                                              const std::atomic<bool>& cancelled);

  // Fills every masked position with its best allowed token, or a drawn one.
  void predict(const Targets& targets, const std::optional<Sampling>& sampling, const std::atomic<bool>& cancelled);

  // Masks again the counts[i] lowest-scored maskable positions of target i, none of whose positions is masked.
  void remask(const Targets& targets, const std::vector<int32_t>& counts);

  // T iterations of predict and remask with n = floor(N (T - t) / T). A target whose n reaches 0 is done: further
  // passes would change nothing. Returns the passes each target took.
  std::vector<int32_t> decode(const Targets& targets, int64_t iterations, std::optional<Sampling> sampling,
                              const std::atomic<bool>& cancelled);

  // Final states [length, hidden] and raw logits [length, vocabulary] of each target.
  std::vector<std::vector<float>> states(const Targets& targets, const std::atomic<bool>& cancelled);
  std::vector<std::vector<float>> logits(const Targets& targets, const std::atomic<bool>& cancelled);

  // For each target and each of its candidates (ids [length]): the log-probability of the candidate's id at every
  // masked position, 0 at the others.
  std::vector<std::vector<std::vector<float>>> log_probs(
      const Targets& targets, const std::vector<std::vector<std::vector<int32_t>>>& candidates,
      const std::atomic<bool>& cancelled);

 private:
  // What the head says of each masked row; the device's memory.
  struct Head {
    int32_t* ids;
    float* log_probs;
    float* log_sums;
  };
  // A source whose cache is put aside, where that is a GPU's, when it goes.
  std::shared_ptr<Source> new_source(const std::vector<int32_t>& ids);
  // Calls body on consecutive parts of the targets, of bounded rows.
  template <class Body>
  void in_passes(const Targets& targets, const Body& body);
  // The head's dense layer, GELU and LayerNorm on the first `rows` final states; the result is workspace_.normed.
  void transform_states(int64_t rows);
  // The stack on a batch's rows, the head on the masked ones, and masking again.
  void run_iteration(const TargetBatch& batch, const TargetBatch::Iteration& iteration,
                     const std::optional<Sampling>& sampling);
  // Iterations planned together, the first of which is iteration `first`.
  void run_iterations(const TargetBatch& batch, const std::vector<TargetBatch::Iteration>& iterations,
                      std::optional<Sampling> sampling, int64_t first);
  TargetBatch::Use use_of_iterations() const;
  void throw_if_cancelled() const;
  LmHeadPartial* reserve_partials(int64_t rows);
  Head best_ids(int64_t rows);
  Head drawn_ids(const TargetBatch& batch, const TargetBatch::Iteration& iteration, const Sampling& sampling);
  float* reserve_head(int64_t floats);

  std::shared_ptr<const Weights> weights_;
  std::shared_ptr<void> resources_;
  Context context_;
  std::shared_ptr<MemoryBudget> budget_;
  std::shared_ptr<SpareBuffers> spares_;  // null on the CPU, whose memory any thread gives back at once
  StackWorkspace workspace_;
  DeviceArena arena_;
  Buffer head_memory_;
  Recordings recordings_;
  const uint64_t number_;
};

}  // namespace mask_predict
