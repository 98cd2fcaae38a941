// The loops of training over AVX-512 (F, BW, DQ, VL), and the same with products over BF16.
#if defined(__x86_64__) || defined(_M_X64)
#include "cpu/vector_avx512.h"

// after the vectors, which they are compiled over
#include "cpu/training_table.h"

namespace {

// Two bfloat16 by two, as AVX512-BF16 multiplies them: as assembly, because the compiler is not told that it may use it.
struct PairSteps {
  static constexpr int together = 2;
  // Two vectors of float32 as 32 bfloat16: those of `low`, then those of `high`.
  static __m512i rounded(Vector high, Vector low) {
    __m512i halves;
    asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(halves) : "v"(high.v), "v"(low.v));
    return halves;
  }
  static Vector across(const float* first, const float* second, int count) {
    const Vector low = Vector::load(first, count), high = second ? Vector::load(second, count) : Vector::zero();
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return {_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, rounded(high, low)))};
  }
  static Vector along(const float* from, int64_t values) {
    const Vector low = FloatSteps::along(from, values);
    return {_mm512_castsi512_ps(
        rounded(values > lanes ? FloatSteps::along(from + lanes, values - lanes) : Vector::zero(), low))};
  }
  static Vector input(const float* step) { return Vector::all(*step); }
  static Vector multiply_add(Vector input, Vector columns, Vector sums) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sums.v) : "v"(input.v), "v"(columns.v));
    return sums;
  }
};

}  // namespace

namespace mask_predict::cpu {
constinit const TrainingKernels training_avx512 = training_kernels("avx512");
constinit const TrainingKernels training_avx512bf16 = training_kernels<PairSteps>("avx512bf16");
}  // namespace mask_predict::cpu
#endif
