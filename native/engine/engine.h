// One model on one device: encodes sources, and moves targets through Mask-Predict (section 3.3).
//
// An engine is used by one thread at a time. Every call takes any ragged set of sequences; large sets are cut into
// passes of a bounded number of rows (but advance() leaves that to its caller), which changes no bit of any result. A
// call that throws leaves each target either as it was before or as the call was to leave it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda_graphs.h"
#include "engine/device_arena.h"
#include "engine/layer_stack.h"
#include "engine/mask_predict.h"
#include "engine/sequence.h"
#include "engine/spare_buffers.h"
#include "engine/target_batch.h"
#include "engine/vocabulary_head.h"
#include "model/weights.h"
#include "ops/lm_head/lm_head.h"

namespace mask_predict {

class Engine {
 public:
  // `limit`: bytes for weights, caches and working memory together. `allowed_ids`: the ids it may answer, as
  // VocabularyHead takes them. `resources` is what the context points to.
  Engine(std::shared_ptr<const Weights> weights, const Context& context, std::shared_ptr<void> resources,
         uint64_t limit, const std::vector<int32_t>& allowed_ids, TargetAttention attention);

  const ModelConfig& config() const { return weights_->config; }
  const Weights& weights() const { return *weights_; }
  TargetAttention attention() const { return attention_; }
  int32_t mask_token_id() const { return static_cast<int32_t>(config().mask_token_id); }
  // The budget of caches and working memory, their share of the limit. Any thread may read it.
  const MemoryBudget& budget() const { return *budget_; }
  uint64_t number() const { return number_; }
  // Bytes that an encoded source keeps for each of its ids: keys and values of every layer, and, if wanted, its final
  // state.
  int64_t bytes_per_source_id(bool with_states) const {
    return config().hidden * (2 * config().layers * bytes_of(context_.keys_values_type()) +
                              (with_states ? static_cast<int64_t>(sizeof(float)) : 0));
  }

  // Allocates a source of 2 ... max_ids() ids, each a real one, checked by the caller. Without states lengths cannot be
  // predicted, and with dynamic attention the last layer computes only its keys and values. Error(OutOfMemory). When the
  // source goes, a GPU's cache is kept as a spare buffer.
  std::shared_ptr<Source> new_source(const std::vector<int32_t>& ids, bool with_states);

  // The same for a source that is read and not kept: when a pass has encoded it, its reading has the answer. The
  // reading must be one that the model can give (check_reading).
  std::shared_ptr<Source> new_reading(const std::vector<int32_t>& ids, Reading reading);
  // Error(InvalidArgument) that says what the model lacks. May be asked from any thread. What predicts tokens needs the
  // head.
  void check_head() const;
  void check_reading(const Reading& reading) const;

  // Runs passes that encode new sources beside running targets, so that weights are read once for all. encode, read,
  // predict, decode and log_probs call it. It runs one pass if there are sources or candidates, because one is enough
  // for them; else passes until the first target is done or has passed its `until`, or until interrupted. Returns their
  // number.
  int64_t advance(const Sources& sources, const std::vector<TargetWork*>& works, const Signals& signals);

  Sources encode(const std::vector<std::vector<int32_t>>& ids, bool with_states, const std::atomic<bool>& cancelled);

  // Reads what was made by new_reading.
  void read(const Sources& sources, const std::atomic<bool>& cancelled);

  // Fills every masked position with its best allowed token, or a drawn one.
  void predict(const Targets& targets, const std::optional<Sampling>& sampling, const std::atomic<bool>& cancelled);

  // Masks again the counts[i] lowest-scored maskable positions of target i, none of whose positions is masked; of them
  // only those whose score is not above `below` (0: all).
  void remask(const Targets& targets, const std::vector<int32_t>& counts, float below);

  // T iterations of predict and remask with n = floor(N (T - t) / T). A target whose n reaches 0 is done: further
  // passes would change nothing; so is one that the rule stops, or that has no score below `remask_below`. Returns the
  // passes each target took.
  std::vector<int32_t> decode(const Targets& targets, int64_t iterations, const std::optional<Sampling>& sampling,
                              const StopRule& stop, float remask_below, const std::atomic<bool>& cancelled);

  // Final states [length, hidden] and raw logits [length, vocabulary] of each target.
  std::vector<std::vector<float>> states(const Targets& targets, const std::atomic<bool>& cancelled);
  std::vector<std::vector<float>> logits(const Targets& targets, const std::atomic<bool>& cancelled);

  // For each target and each of its candidates (ids [length]): the log-probability of the candidate's id at every
  // masked position, 0 at the others.
  std::vector<std::vector<std::vector<float>>> log_probs(const Targets& targets,
                                                         std::vector<std::vector<std::vector<int32_t>>> candidates,
                                                         const std::atomic<bool>& cancelled);

 private:
  // Calls body on consecutive parts of a list whose elements have so many rows.
  template <class Element, class Body>
  void in_passes(const std::vector<Element>& all, const std::vector<int64_t>& rows, const Body& body);
  // The head's dense layer, GELU and LayerNorm on `rows` final states from `first` on, in place: the result, which is
  // returned, lies in workspace_.normed.
  const void* transform_states(int64_t first, int64_t rows);
  // The stack on a batch's rows, the head on the masked ones, and masking again.
  HeadAnswers run_iteration(const TargetBatch& batch, const TargetBatch::Iteration& iteration);
  // Iterations planned together.
  void run_iterations(const TargetBatch& batch, const std::vector<TargetBatch::Iteration>& iterations);
  // Frees the arrays of the last one, and what is too much of what disposed sources left.
  void begin_pass();
  void throw_if_cancelled() const;
  LmHeadPartial* reserve_partials(int64_t rows);
  void take_best(const void* transformed, int64_t rows, const HeadAnswers& head);
  // Log-probabilities of ids at rows of transformed states whose log-sums are given; -infinity for those that the head
  // does not have.
  std::vector<float> log_probs_at(const void* transformed, const std::vector<int32_t>& rows,
                                  const std::vector<int32_t>& ids, const std::vector<float>& log_sums);
  void draw(const TargetBatch& batch, const TargetBatch::Iteration& iteration, const HeadAnswers& head);
  float* reserve_head(int64_t floats);
  // Parts of advance.
  int64_t padded_masked(const TargetBatch& batch, const std::vector<TargetWork*>& works, int64_t ahead) const;
  TargetBatch::Iteration plan(TargetBatch& batch, const std::vector<TargetWork*>& works, int64_t ahead, bool looking);
  bool look(TargetBatch& batch, const std::vector<TargetWork*>& works);
  void finish_sources(Sources sources, int64_t first);
  // Readings of one kind, whose wanted rows begin at `first`: `rows` of them (reading.cpp).
  void answer(const Sources& sources, int64_t first);
  void answer_pooled(const Sources& sources, int64_t first);
  void answer_classes(const Sources& sources, int64_t first, int64_t rows);
  // The input of the classifier's last layer: XLM-R's, from the states of <s>; and ModernBERT's, whose sequence and
  // token classifiers share one head.
  const void* classifier_input(int64_t first, int64_t rows);
  const void* modern_bert_classifier_input(const Sources& sources, int64_t first, int64_t rows);
  void answer_scores(const Sources& sources, int64_t first, int64_t rows);
  void answer_best(const Sources& sources, int64_t first, int64_t rows);
  void answer_logits(const Sources& sources, int64_t first, int64_t rows);
  void score_candidates(const TargetBatch::Iteration& iteration, const HeadAnswers& head,
                        const std::vector<TargetWork*>& works);
  // Advances each until it is done. Error(ModelFormat) where logits are not numbers.
  void run_to_end(std::vector<TargetWork>& works, const std::atomic<bool>& cancelled);

  std::shared_ptr<const Weights> weights_;
  std::shared_ptr<void> resources_;
  // Returns the context of products with the head's matrix, which may round its rows where the others do not.
  Context head_context() const {
    Context context = context_;
    context.rounded_products = context.rounded_head;
    return context;
  }

  Context context_;
  const TargetAttention attention_;
  std::shared_ptr<MemoryBudget> budget_;
  std::shared_ptr<SpareBuffers> spares_;  // null on the CPU, whose memory any thread gives back at once
  VocabularyHead head_;
  StackWorkspace workspace_;
  DeviceArena arena_;
  Buffer head_memory_;
  CudaGraphs graphs_;
  const uint64_t number_;
};

// Rows of one pass. Beyond a few hundred a row costs the same however many there are; more would only take memory
// and delay a cancelled call.
inline constexpr int64_t pass_rows = 1024;

template <class Element, class Body>
void Engine::in_passes(const std::vector<Element>& all, const std::vector<int64_t>& rows, const Body& body) {
  for (size_t first = 0; first < all.size();) {
    int64_t sum = rows[first];
    size_t end = first + 1;
    while (end < all.size() && sum + rows[end] <= pass_rows) sum += rows[end++];
    begin_pass();
    body(std::vector<Element>(all.begin() + static_cast<std::ptrdiff_t>(first),
                              all.begin() + static_cast<std::ptrdiff_t>(end)));
    first = end;
  }
}

}  // namespace mask_predict
