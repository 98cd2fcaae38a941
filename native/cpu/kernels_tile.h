// One tile of the matrix product: rows by up to three 16-column panels, its sums in registers, one addition per step
// of the inner dimension and in its order. Included after kernels_math.h.
#pragma once

#include "kernels.h"

namespace {

using mask_predict::cpu::panel_columns;

constexpr int panel_vectors = panel_columns / Vector::lanes;

struct FloatTiles {
  static constexpr bool bytes = false;
  static constexpr int tile_rows = Vector::tile_rows;
  static constexpr int tile_panels = Vector::tile_panels;
};
struct WeightF32 : FloatTiles {
  using Element = float;
  static Vector load(const float* p) { return Vector::load(p); }
  static float value(float x) { return x; }
};
struct WeightF16 : FloatTiles {
  using Element = uint16_t;
  static Vector load(const uint16_t* p) { return Vector::load_fp16(p); }
  static float value(uint16_t x) { return half_to_float(x); }
};
struct WeightBF16 : FloatTiles {
  using Element = uint16_t;
  static Vector load(const uint16_t* p) { return Vector::load_bf16(p); }
  static float value(uint16_t x) {
    const uint32_t bits = static_cast<uint32_t>(x) << 16;
    float f;
    __builtin_memcpy(&f, &bits, sizeof f);
    return f;
  }
};

// How much of the coming weights each four steps of the inner dimension ask for.
struct Prefetch {
  const char* next;
  const char* end;
  int lines;
  void step() {
    for (int i = 0; i < lines && next < end; i++, next += 64) __builtin_prefetch(next, 0, 2);
  }
};

template <int Rows, int Panels, class Weight>
void tile(const float* input, int64_t stride, const typename Weight::Element* b, int b_stride, int64_t inner,
          float* totals, int64_t totals_stride, bool accumulate, Prefetch& prefetch) {
  constexpr int vectors = Panels * panel_vectors;
  Vector sums[Rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++)
      sums[r][c] = accumulate ? Vector::load(totals + r * totals_stride + c * Vector::lanes) : Vector::zero();

  const auto step = [&](int64_t k) __attribute__((always_inline)) {
    const typename Weight::Element* row = b + k * b_stride;
    Vector weights[vectors];
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++) weights[c] = Weight::load(row + c * Vector::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const Vector x = Vector::all(input[r * stride + k]);
#pragma GCC unroll 4
      for (int c = 0; c < vectors; c++) sums[r][c] = multiply_add(x, weights[c], sums[r][c]);
    }
  };
  int64_t k = 0;
  for (; k + 4 <= inner; k += 4) {
    prefetch.step();
    step(k);
    step(k + 1);
    step(k + 2);
    step(k + 3);
  }
  for (; k < inner; k++) step(k);

#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 4
    for (int c = 0; c < vectors; c++) sums[r][c].store(totals + r * totals_stride + c * Vector::lanes);
}

}  // namespace
