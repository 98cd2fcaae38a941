// Rank by counting: a position is masked if fewer than `count` competitors come before it. Scores become integers
// of the same order with the position below them, so that no two keys are equal.
#include <algorithm>
#include <cstring>
#include <vector>

#include "ops/remask.h"

namespace mask_predict {
namespace {

uint64_t key_of(float score, int64_t position) {
  uint32_t bits;
  const float ordinary = score + 0.0f;  // -0 becomes +0: equal scores have equal keys
  std::memcpy(&bits, &ordinary, sizeof bits);
  bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(bits) << 32 | static_cast<uint64_t>(position);
}

}  // namespace

void remask(const Context&, const RemaskSequence* sequences, int64_t count, int32_t mask_token_id) {
  std::vector<uint64_t> keys;
  for (int64_t s = 0; s < count; s++) {
    const RemaskSequence& sequence = sequences[s];
    keys.clear();
    for (int64_t i = 0; i < sequence.length; i++)
      if (sequence.maskable[i]) keys.push_back(key_of(sequence.scores[i], i));
    std::fill(sequence.masked, sequence.masked + sequence.length, uint8_t{0});
    for (const uint64_t key : keys) {
      int64_t rank = 0;
      for (const uint64_t other : keys) rank += other < key;
      if (rank >= sequence.count) continue;
      const int64_t i = static_cast<int64_t>(key & 0xffffffffu);
      sequence.masked[i] = 1;
      sequence.tokens[i] = mask_token_id;
      sequence.scores[i] = 0;
    }
  }
}

}  // namespace mask_predict
