// The work of one call of Engine::advance on a target, and its answer (section 3.3). Targets at different passes, of
// different lengths and T, sampled or not, and texts to be scored go through one pass together.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/sequence.h"

namespace mask_predict {

// When a target is done before its T passes are: never, when a pass gave the tokens of the one before, or when all
// positions that were to be predicted have at least a given log-probability.
struct StopRule {
  enum Kind { Never, Unchanged, Confident };
  Kind kind = Never;
  float log_prob = 0;
};

struct TargetWork {
  ActiveTarget target;
  int64_t iterations = 1;            // T
  int64_t passed = 0;                // of them done; moved on by the call
  int64_t until = 1;                 // the call ends at the latest after this one
  std::optional<Sampling> sampling;  // of the next pass; moved on by the call
  StopRule stop;
  // Positions whose log-probability is above this are not masked again; 0, which none is above: Mask-Predict.
  float remask_below = 0;
  // True: copy tokens and scores as the last pass left them, before some are masked again.
  bool watched = false;
  // If given, the target is only scored (eq. (2)-(4), section 5.1) and not changed: one pass, and the log-probability
  // of each candidate's id [length] at every masked position.
  std::optional<std::vector<std::vector<int32_t>>> candidates;

  enum State { Going, Done, NotNumbers };
  State state = Going;          // NotNumbers: the model's logits; the target is as before
  std::vector<int32_t> tokens;  // of a watched target
  std::vector<float> scores;
  std::vector<std::vector<float>> log_probs;  // of each candidate, 0 at the positions that are not masked

  // The pass after which floor(N (T - t) / T) is 0 for the first time: further ones would change nothing.
  int64_t last_pass() const;
  // Positions to mask again after pass t, at most.
  int64_t count_after(int64_t t) const;
};

// The bounded rule: of `most` positions to mask again with the lowest scores, those whose score is not above `below`.
int32_t bounded_count(const Target& target, const std::vector<float>& scores, int64_t most, float below);

// How others tell a running call to end. An interrupted one ends well, after the pass it is in; a cancelled one throws
// Cancelled, in the middle of it.
struct Signals {
  const std::atomic<bool>& cancelled;
  const std::atomic<bool>* interrupted = nullptr;
};

}  // namespace mask_predict
