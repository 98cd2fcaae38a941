// The LM head's epilogue: what a row remembers of a group of logits instead of the logits themselves. Four values
// suffice for the answer and its log-probability (HeadState); exp-sums stay in lanes until the vocabulary range
// is done.
#pragma once

#include "base/special_ids.h"
#include "cpu/kernels.h"
#include "cpu/kernels_math.h"

namespace {

using mask_predict::cpu::HeadState;
using mask_predict::cpu::HeadTask;

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
  if (t.ids == nullptr && !(largest > state.best_logit)) return;
  for (int c = 0; c < t.columns; c++) {
    if (logits[c] > state.best_logit && !(t.ids != nullptr && mask_predict::has_never(*t.ids, t.first_id + c, 1))) {
      state.best_logit = logits[c];
      state.best_id = t.first_id + c;
    }
  }
}

// A whole group of one row. The logits stay in registers unless there is something to raise.
inline void update_row(const HeadTask& t, int64_t row) {
  constexpr int vectors = mask_predict::cpu::group_columns / Vector::lanes, sums = 16 / Vector::lanes;
  HeadState& state = t.states[row];
  const float* scratch = t.scratch + row * mask_predict::cpu::group_columns;
  const Vector bar = Vector::all(state.best_logit < state.largest ? state.best_logit : state.largest);
  Vector logits[vectors];
  bool above = false;
#pragma GCC unroll 12
  for (int v = 0; v < vectors; v++) {
    logits[v] = Vector::load(scratch + v * Vector::lanes) + Vector::load(t.bias + v * Vector::lanes);
    above = any_above(logits[v], bar) || above;
  }
  if (above) {
    float stored[mask_predict::cpu::group_columns];
    for (int v = 0; v < vectors; v++) logits[v].store(stored + v * Vector::lanes);
    raise(state, t, stored);
  }
  const Vector reference = Vector::all(state.largest);
#pragma GCC unroll 4
  for (int s = 0; s < sums; s++) {
    Vector sum = Vector::load(state.sums + s * Vector::lanes);
#pragma GCC unroll 3
    for (int v = s; v < vectors; v += sums) sum = sum + exponential(logits[v] - reference);
    sum.store(state.sums + s * Vector::lanes);
  }
}

// The `columns` logits of one row in the vocabulary's last group.
void update_last_row(const HeadTask& t, int64_t row) {
  HeadState& state = t.states[row];
  float logits[mask_predict::cpu::group_columns];
  for (int c = 0; c < t.columns; c += Vector::lanes) {
    const int count = t.columns - c < Vector::lanes ? t.columns - c : Vector::lanes;
    const Vector sums = Vector::load(t.scratch + row * mask_predict::cpu::group_columns + c, count);
    Vector::all(-__builtin_inff()).store(logits + c);
    (sums + Vector::load(t.bias + c, count)).store(logits + c, count);
  }
  raise(state, t, logits);
  const Vector reference = Vector::all(state.largest);
  for (int c = 0; c < t.columns; c += Vector::lanes) {
    const int count = t.columns - c < Vector::lanes ? t.columns - c : Vector::lanes;
    const Vector terms = exponential(Vector::load(logits + c, count) - reference);
    float* sum = state.sums + c % 16;
    (Vector::load(sum, count) + terms).store(sum, count);
  }
}

void head_update(const HeadTask& t) {
  if (t.columns == mask_predict::cpu::group_columns)
    for (int64_t r = 0; r < t.rows; r++) update_row(t, r);
  else
    for (int64_t r = 0; r < t.rows; r++) update_last_row(t, r);
}

}  // namespace
