// The LM head's epilogue: what a row remembers of a group of logits instead of the logits themselves. Four values
// suffice for the answer and its log-probability (HeadState); exp-sums stay in lanes until the vocabulary range
// is done. Included after kernels_math.h.
#pragma once

#include "kernels.h"

namespace {

using mask_predict::cpu::HeadState;
using mask_predict::cpu::HeadTask;

// <s>, <pad>, </s> and <mask> are never predicted.
inline bool banned(int32_t id, int32_t mask_token_id) { return id <= 2 || id == mask_token_id; }

inline void rescale(HeadState& state, float largest) {
  const Vector factor = exponential(Vector::all(state.largest - largest));
  for (int i = 0; i < 16; i += Vector::lanes) (Vector::load(state.sums + i) * factor).store(state.sums + i);
  state.largest = largest;
}

void head_update(const HeadTask& t) {
  const bool some_banned = t.first_id <= 2 || t.mask_token_id < t.first_id + t.columns;
  for (int64_t r = 0; r < t.rows; r++) {
    HeadState& state = t.states[r];
    float logits[mask_predict::cpu::group_columns];
    const float* scratch = t.scratch + r * mask_predict::cpu::group_columns;
    float largest = -__builtin_inff();
    int c = 0;
    if (t.columns >= Vector::lanes) {
      Vector most = Vector::all(largest);
      for (; c + Vector::lanes <= t.columns; c += Vector::lanes) {
        const Vector x = Vector::load(scratch + c) + Vector::load(t.bias + c);
        x.store(logits + c);
        most = larger(most, x);
      }
      largest = most.largest();
    }
    for (; c < t.columns; c++) {
      logits[c] = scratch[c] + t.bias[c];
      largest = logits[c] > largest ? logits[c] : largest;
    }
    if (largest > state.largest) rescale(state, largest);
    const Vector reference = Vector::all(state.largest);
    for (c = 0; c < t.columns; c += Vector::lanes) {
      const int count = t.columns - c < Vector::lanes ? t.columns - c : Vector::lanes;
      float* sums = state.sums + c % 16;
      const Vector terms = exponential(Vector::load(logits + c, count) - reference);
      (Vector::load(sums, count) + terms).store(sums, count);
    }
    if (some_banned || largest > state.best_logit) {
      for (c = 0; c < t.columns; c++) {
        if (logits[c] > state.best_logit && !banned(t.first_id + c, t.mask_token_id)) {
          state.best_logit = logits[c];
          state.best_id = t.first_id + c;
        }
      }
    }
  }
}

}  // namespace
