// The sequences of an engine: sources, encoded once and kept, and targets, the texts that are written over them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "engine/reading.h"

namespace mask_predict {

// An encoded source. Immutable once encode() has returned it.
struct Source {
  uint64_t engine = 0;               // number of the engine whose it is
  std::vector<int32_t> ids;          // <s> ... </s>
  Buffer keys_values;                // [layers][length][2 * hidden], what targets attend to
  Buffer states;                     // [length][hidden], after the last norm; empty if they were not wanted
  std::vector<float> length_logits;  // [lengths]; empty without a length predictor or without states
  std::optional<Reading> reading;    // of a source that is read, not kept: it has neither keys and values nor states
  std::vector<int32_t> wanted;       // positions whose final states a pass is to make, rising

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
  bool has_states() const { return static_cast<bool>(states); }
};
using Sources = std::vector<std::shared_ptr<Source>>;

// A text over a source, some of its positions <mask>. Only the engine's thread changes it; `mutex` guards tokens,
// scores and masks against the threads that look at it meanwhile.
struct Target {
  uint32_t sequence = 0;          // counter of the sampling generator
  std::vector<uint8_t> maskable;  // [length]: was <mask> at the start
  int64_t maskable_count = 0;
  std::vector<int32_t> predicted;  // [length]: tokens after the last pass with a stopping rule; the engine's alone

  mutable std::mutex mutex;
  std::vector<int32_t> tokens;  // [length]
  std::vector<float> scores;    // [length]: log-probabilities; 0 at the ends, given and masked positions
  std::vector<uint8_t> masked;  // [length]: is <mask> now
  int64_t masked_count = 0;

  int64_t length() const { return static_cast<int64_t>(maskable.size()); }
};

// A target at work, its source held.
struct ActiveTarget {
  std::shared_ptr<Target> target;
  std::shared_ptr<const Source> source;

  Target* operator->() const { return target.get(); }
  Target& operator*() const { return *target; }
};
using Targets = std::vector<ActiveTarget>;

// The temperature and nucleus of the authors' open-ended setting: temperature 2 (1 - (t - 1) / T) in pass t of T.
struct Sampling {
  uint64_t seed = 0;
  int64_t iterations = 1;  // T
  int64_t iteration = 1;   // t
  static constexpr float nucleus = 0.9f;
  float temperature() const {
    return static_cast<float>(2.0 * static_cast<double>(iterations - iteration + 1) / static_cast<double>(iterations));
  }
};

}  // namespace mask_predict
