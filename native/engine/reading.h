// A sequence that is read for its own sake: it attends to itself, as every XLM-R was trained, and something is asked of
// its final states. A source with a reading keeps no keys and values; it shares passes with everything else, and no row
// of its last layer is computed that nobody asks for.
#pragma once

#include <cstdint>
#include <vector>

namespace mask_predict {

struct Reading {
  // From the cheapest to the dearest of what is asked for; a pass has those of one kind one behind the other.
  enum Kind {
    Mean,          // the mean of all states
    First,         // the state of <s>
    Classes,       // the logits of the classes, from the state of <s>
    TokenClasses,  // the logits of the tokens' classes, of every id
    Score,         // at every <mask>, or at one position, the log-probability of each candidate's id
    Best,          // at every <mask> the `count` most probable ids
    Logits,        // of the whole vocabulary, at every id
  };
  Kind kind = Mean;
  int64_t count = 0;                             // of Best
  std::vector<std::vector<int32_t>> candidates;  // of Score: ids, one for each <mask>
  int64_t position = -1;                         // of Score: the only one that is asked about; -1: every <mask>

  // The answer: [hidden] of Mean and First, [classes], [length, classes], [candidates, masks], log-probabilities
  // [masks, count] of Best with their ids, best first, and [length, vocabulary] of Logits, raw. `count` is what there
  // is, where fewer ids may be answered.
  std::vector<float> values;
  std::vector<int32_t> ids;

  bool wants_head() const { return kind == Score || kind == Best || kind == Logits; }
};

// The positions of a source with these ids whose final states a reading wants, rising.
std::vector<int32_t> wanted_positions(const Reading& reading, const std::vector<int32_t>& ids, int32_t mask_token_id);

}  // namespace mask_predict
