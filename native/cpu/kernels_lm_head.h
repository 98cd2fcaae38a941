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

// A group that has a logit above the best or the largest one so far: as the vocabulary goes on, one of few. Behind the
// columns the logits go on with -infinity up to a whole vector.
void raise(HeadState& state, const HeadTask& t, const float* logits) {
  Vector most = Vector::load(logits);
  for (int c = Vector::lanes; c < t.columns; c += Vector::lanes) most = larger(most, Vector::load(logits + c));
  const float largest = most.largest();
  if (largest > state.largest) rescale(state, largest);
  if (t.first_id > 2 && t.mask_token_id >= t.first_id + t.columns && !(largest > state.best_logit)) return;
  for (int c = 0; c < t.columns; c++) {
    if (logits[c] > state.best_logit && !banned(t.first_id + c, t.mask_token_id)) {
      state.best_logit = logits[c];
      state.best_id = t.first_id + c;
    }
  }
}

// The `columns` logits of one row; all but the last group of the vocabulary have a number of them that is known here.
inline void update_row(const HeadTask& t, int64_t row, int columns) {
  HeadState& state = t.states[row];
  const float* scratch = t.scratch + row * mask_predict::cpu::group_columns;
  float logits[mask_predict::cpu::group_columns];
  const Vector lowest = Vector::all(-__builtin_inff());
  const Vector bar = Vector::all(state.best_logit < state.largest ? state.best_logit : state.largest);
  bool above = false;
  for (int c = 0; c < columns; c += Vector::lanes) {
    const int count = columns - c < Vector::lanes ? columns - c : Vector::lanes;
    lowest.store(logits + c);
    (Vector::load(scratch + c, count) + Vector::load(t.bias + c, count)).store(logits + c, count);
    above = any_above(Vector::load(logits + c), bar) || above;
  }
  if (above) raise(state, t, logits);
  const Vector reference = Vector::all(state.largest);
  for (int lane = 0; lane < 16; lane += Vector::lanes) {
    Vector sum = Vector::load(state.sums + lane);
    int c = lane;
    for (; c + Vector::lanes <= columns; c += 16) sum = sum + exponential(Vector::load(logits + c) - reference);
    sum.store(state.sums + lane);
    if (c >= columns) continue;
    const int count = columns - c;
    const Vector terms = exponential(Vector::load(logits + c, count) - reference);
    (Vector::load(state.sums + lane, count) + terms).store(state.sums + lane, count);
  }
}

void head_update(const HeadTask& t) {
  if (t.columns == mask_predict::cpu::group_columns)
    for (int64_t r = 0; r < t.rows; r++) update_row(t, r, mask_predict::cpu::group_columns);
  else
    for (int64_t r = 0; r < t.rows; r++) update_row(t, r, t.columns);
}

}  // namespace
