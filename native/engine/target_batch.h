// Targets that go through the iterations of Mask-Predict (section 3.3) together. Their tokens, scores and masks lie one
// behind the other in the device's memory, where they stay from iteration to iteration. The host knows at any time how
// many positions of each are masked, because that depends on lengths alone. Sources may be encoded beside them in the
// first pass: their rows lie behind the targets' and leave the batch after it. A batch that runs in a CUDA graph
// encodes no sources; behind its targets' rows lies its padding.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "engine/device_arena.h"
#include "engine/layer_stack.h"
#include "engine/sequence.h"

namespace mask_predict {

// The error of a model whose values, which the message calls `what`, are not numbers.
Error not_numbers(const char* what);
// Throws it if one of the values is not a number.
void check_numbers(const std::vector<float>& values, const char* what);

// The head's answers for some rows, in the device's memory: the row of the head that is best or drawn, or its id where the
// head has them all; its log-probability; and the log-sum-exp of the logits.
struct HeadAnswers {
  int32_t* ids;
  float* log_probs;
  float* log_sums;
};

class TargetBatch {
 public:
  // InGraph: padded (padding.h), so that a CUDA graph of its iterations serves other batches too; without sources.
  enum class Use { Once, InGraph };
  // `config`: of the model, which says where positions begin.
  TargetBatch(Targets targets, DeviceArena& arena, Use use, const ModelConfig& config, Sources sources = {});

  Use use() const { return use_; }
  int64_t rows() const { return rows_; }  // of the targets
  // True if the final states of a source are wanted.
  bool wants_states() const { return wanted_source_rows_ > 0; }
  // Positions that are masked now, of all targets.
  int64_t masked_count() const { return masked_offsets_.back(); }
  // Positions that were masked at the start, of all targets.
  int64_t maskable_count() const { return maskable_count_; }

  // The arguments of run_stack. pass(): every layer computes all rows. pass_of_masked(): the last layer computes only
  // the masked rows, padded to `padded_masked` (at least masked_count()), and behind them the wanted rows of sources.
  StackPass pass() const;
  StackPass pass_of_masked(int64_t padded_masked) const;

  // Rows to predict that are drawn for one target, not the best ones taken.
  struct Draw {
    int64_t first, end;
    Sampling sampling;
  };
  // One iteration: predict the positions that are masked, then mask again some. Its arrays are in place when it has
  // been planned; iterations can be planned ahead of being run, but for one that encodes sources.
  struct Iteration {
    StackPass pass;
    int64_t masked;                       // rows to predict
    int64_t padded_masked;                // with padding: at least as many
    std::vector<int32_t> masked_offsets;  // [targets + 1]: which of them are whose
    std::vector<Draw> draws;              // from the first of them on, all rows to predict; none in a graph
    const int32_t* masked_on_device;      // `masked`
    RemaskArguments remask;
    bool masks_again;
    // Where the answers go, [padded_masked], and the ids of a head that does not have them all. They are part of the plan,
    // so that they lie at the same place beside the other arrays whichever iterations were planned before or after.
    HeadAnswers head;
    int32_t* ids;

    // Rows whose best id is taken, before those that are drawn; with the padding behind them.
    int64_t best() const { return draws.empty() ? padded_masked : draws.front().first; }
  };
  // The next iteration, in which counts[i] positions of target i are masked again. `padded_masked`: at least
  // masked_count(), and no more in a batch that runs in no graph.
  Iteration plan(const std::vector<int32_t>& counts, int32_t mask_token_id, int64_t padded_masked);

  // Sequence and position of each row to predict, for sampling. The iteration's turn must have come.
  void masked_positions(const Iteration& iteration, std::vector<int32_t>& sequences,
                        std::vector<int32_t>& positions) const;

  // Writes predictions, one per masked row, into tokens and scores, and masks again.
  void finish(const Context& context, const Iteration& iteration, const int32_t* ids, const float* log_probs) const;

  // Masks again the counts[i] lowest-scored maskable positions of target i; none may be masked.
  void remask(const Context& context, const std::vector<int32_t>& counts, int32_t mask_token_id);

  // The batch's part of the key of a CUDA graph: the sizes and addresses among its operations' arguments.
  std::vector<uint64_t> graph_key() const;

  // Tokens and scores of all rows, as they are when all that was called has been done.
  struct Values {
    std::vector<int32_t> tokens;
    std::vector<float> scores;
  };
  Values values() const;
  // Those of target i.
  Values of_target(size_t i, const Values& all) const;

  // Writes tokens, scores and masks back to target i. False if a score is not a number; it is unchanged then.
  bool publish(size_t i, const Values& all, int32_t mask_token_id) const;

 private:
  // Repeats the last value up to one offset for each padded target and one more.
  int32_t* put_offsets(std::vector<int32_t> offsets) const;
  RemaskArguments masks_again(const std::vector<int32_t>& counts, int32_t mask_token_id);

  const Targets targets_;
  const Sources sources_;
  DeviceArena& arena_;
  const Use use_;
  int64_t rows_ = 0;
  int64_t padded_rows_ = 0;  // at least rows_
  int64_t source_rows_ = 0;
  int64_t wanted_source_rows_ = 0;  // of them, those whose final states are wanted
  int64_t maskable_count_ = 0;
  int64_t padded_targets_ = 0;                // at least the targets
  std::vector<int32_t> offsets_;              // [targets + 1]
  std::vector<int32_t> masked_offsets_;       // [targets + 1]
  std::vector<AttentionSequence> sequences_;  // the targets', then the sources', then empty ones as padding
  int64_t most_rows_ = 0;                     // of any target, padded
  int64_t most_queries_ = 0;                  // of any sequence, padded
  int64_t most_keys_ = 0;
  int32_t* tokens_;  // from here on in the device's memory, [padded_rows_]
  int32_t* positions_;
  float* scores_;
  uint8_t* maskable_;
  int32_t* masked_rows_;
  int32_t* device_offsets_;  // [padded_targets_ + 1]
  AttentionSequence* device_sequences_;
};

}  // namespace mask_predict
