// One tile of the matrix product: rows by vectors of up to three 16-column panels, its sums in registers, one addition per step
// of the inner dimension and in its order.
#pragma once

#include "cpu/kernels.h"
#include "cpu/kernels_math.h"

namespace {

using mask_predict::cpu::MultiplyTask;
using mask_predict::cpu::panel_columns;

constexpr int panel_vectors = panel_columns / Vector::lanes;

// Weights of float32 products: `load` reads input k of a vector of columns, from `column` on, out of the packed rows `b`.
struct FloatTiles {
  static constexpr bool steps = false;  // four bytes at a time, as kernels_step_tile.h does it
  static constexpr int tile_rows = Vector::tile_rows;
  static constexpr int tile_vectors = Vector::tile_vectors;
  static constexpr int least_vectors = panel_vectors;
};
struct WeightF32 : FloatTiles {
  static constexpr int together = 1;
  using Element = float;
  static Vector load(const float* b, int columns, int64_t k, bool, int column) {
    return Vector::load(b + k * columns + column);
  }
  static float value(float x) { return x; }
};
struct WeightF16 : FloatTiles {
  static constexpr int together = 1;
  using Element = uint16_t;
  static Vector load(const uint16_t* b, int columns, int64_t k, bool, int column) {
    return Vector::load_fp16(b + k * columns + column);
  }
  static float value(uint16_t x) { return half_to_float(x); }
};
struct WeightBF16 : FloatTiles {
  static constexpr int together = 2;
  using Element = uint16_t;
  static Vector load(const uint16_t* b, int columns, int64_t k, bool odd, int column) {
    return Vector::load_bf16(b + (k - odd) * columns + 2 * column, odd);
  }
  static float value(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float f;
    __builtin_memcpy(&f, &bits, sizeof f);
    return f;
  }
};

// Fetches coming weights evenly while the tiles of a task are computed: so many bytes with each row of its own weights.
// Less than a line is best fetched into the first-level cache, out of which it falls into the second: it arrives sooner
// than if the second were asked for. More, where one or two tiles go through the weights, would crowd the first one.
struct Prefetch {
  const char* next;      // walks through the task's own weights,
  int64_t distance = 0;  // while what is fetched lies so far behind: near up to a line, far else
  int64_t bytes = 0;
  int64_t far_distance = 0;
  Prefetch(const MultiplyTask& task, int64_t steps) : next(static_cast<const char*>(task.group)) {
    if (task.prefetch == nullptr || steps == 0) return;
    bytes = (task.prefetch_bytes + steps - 1) / steps;
    (bytes < 64 ? distance : far_distance) = task.prefetch - next;
    if (bytes >= 64) bytes = (bytes + 63) / 64 * 64;
  }
  void step() {
    __builtin_prefetch(next + distance, 0, 3);
    if (bytes >= 64) step_far();
    next += bytes;
  }
  void step_far() {
    for (const char* line = next; line < next + bytes; line += 64) __builtin_prefetch(line + far_distance, 0, 2);
  }
};

// A function of its own: Clang would put all of them into their one caller and keep sums of theirs in memory.
template <int Rows, int Vectors, class Weight>
__attribute__((noinline)) void tile(const float* input, int64_t stride, const typename Weight::Element* b, int b_stride,
                                    int64_t inner, float* totals, int64_t totals_stride, bool accumulate,
                                    Prefetch& all) {
  Prefetch prefetch = all;  // in registers
  Vector sums[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int c = 0; c < Vectors; c++)
      sums[r][c] = accumulate ? Vector::load(totals + r * totals_stride + c * Vector::lanes) : Vector::zero();

  const auto step = [&](int64_t k, bool odd) __attribute__((always_inline)) {
    prefetch.step();
    Vector weights[Vectors];
#pragma GCC unroll 4
    for (int c = 0; c < Vectors; c++) weights[c] = Weight::load(b, b_stride, k, odd, c * Vector::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const Vector x = Vector::all(input[r * stride + k]);
#pragma GCC unroll 4
      for (int c = 0; c < Vectors; c++) sums[r][c] = multiply_add(x, weights[c], sums[r][c]);
    }
  };
  int64_t k = 0;
#ifndef __clang__  // it would load the four steps' inputs first, and keep sums in memory for want of registers
  for (; k + 4 <= inner; k += 4) {
    step(k, false);
    step(k + 1, true);
    step(k + 2, false);
    step(k + 3, true);
  }
#endif
  for (; k < inner; k++) step(k, k % 2 != 0);
  all = prefetch;

#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int c = 0; c < Vectors; c++) sums[r][c].store(totals + r * totals_stride + c * Vector::lanes);
}

}  // namespace
