// The end of an iteration of Mask-Predict, section 3.3, on the CPU. Rank by counting: a row is masked if fewer than
// `count` competitors come before it. Scores become integers of the same order with the row below them, so that no two
// keys are equal.
#include <vector>

#include "base/numbers.h"
#include "base/special_ids.h"
#include "ops/remask/remask.h"

namespace mask_predict::cpu {
namespace {

uint64_t key_of(float score, int32_t row) {
  const uint32_t bits = bits_of(score + 0.0f);  // -0 becomes +0: equal scores have equal keys
  const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | static_cast<uint32_t>(row);
}

}  // namespace

void fill_masks(const Context&, const FillMasksArguments& a) {
  for (int64_t i = 0; i < *a.count; i++) {
    a.tokens[a.masked_rows[i]] = a.ids[i] >= 0 ? a.ids[i] : unknown_id;
    a.scores[a.masked_rows[i]] = a.log_probs[i];
  }
}

void remask(const Context&, const RemaskArguments& a) {
  std::vector<uint64_t> keys;
  for (int64_t s = 0; s < a.sequences; s++) {
    keys.clear();
    for (int32_t row = a.offsets[s]; row < a.offsets[s + 1]; row++)
      if (a.maskable[row]) keys.push_back(key_of(a.scores[row], row));
    int32_t next = a.masked_offsets[s];
    for (const uint64_t key : keys) {
      int32_t rank = 0;
      for (const uint64_t other : keys) rank += other < key;
      if (rank >= a.counts[s]) continue;
      const int32_t row = static_cast<int32_t>(key & 0xffffffffu);
      a.tokens[row] = a.mask_token_id;
      a.scores[row] = 0;
      a.masked_rows[next++] = row;
    }
  }
}

}  // namespace mask_predict::cpu
