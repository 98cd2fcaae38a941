// The inner loops of the CPU operations, one set per instruction set (kernels_avx512.cpp, kernels_avx2.cpp,
// kernels_portable.cpp compile the same sources over another vector type). Plain data and function pointers
// only: these files are compiled with instructions the machine may not have, so nothing here may pull in
// library templates that the linker could share with the rest of the program.
//
// Every result of one row depends on that row alone: the order of additions over the inner dimension, the
// keys or the vocabulary is the same however many rows there are and however the work is cut.
#pragma once

#include <cstdint>

#include "base/numbers.h"
#include "base/special_ids.h"

namespace mask_predict::cpu {

inline constexpr int panel_columns = 16;                 // columns of B that belong together in memory
inline constexpr int group_columns = 3 * panel_columns;  // columns of B that one pass over A computes

// Bytes: activations are quantized row by row, x = scale * steps with -127 ... 127 steps of scale = largest |x| / 127, and
// so are weights output by output, as signed bytes. An activation is kept as a byte, its steps XOR the set's
// `byte_flip` (128 for a set that multiplies unsigned activations, so that a byte is 128 more than the steps; else 0), or as
// 16 bits where the set multiplies those (`input_bytes` 2). Products are added up four at a time as 32-bit integers, which no
// order, instruction set or number of threads can change.
inline constexpr int bytes_per_step = 4;
inline constexpr int64_t most_byte_inputs = 133143;  // times 127 * 127 is what 32 bits hold

// Inputs of one output that lie side by side in a packed matrix, before the next output's.
static inline constexpr int inputs_together(WeightType type) {
  return type == WeightType::I8 ? bytes_per_step : type == WeightType::BF16 ? 2 : 1;
}

// result = activation(sums + bias) + residual, for the columns of one group; with a gate, whose columns are two halves
// [u | g], result = gelu(u) * g, half as many columns, without bias and residual.
struct Epilogue {
  int columns;        // 1 ... 48, of the result
  const float* bias;  // [columns rounded up to 16], or nullptr
  bool gelu;
  const float* residual;  // or nullptr; may be the result
  int64_t residual_stride;
  float* result;
  int64_t result_stride;
  bool gate = false;
};

// sums[row][column] (+)= sum over k of input[row][k] * group[k][column]
struct MultiplyTask {
  // [rows, inner], row stride input_stride: float32; for I8 what `quantize` writes; bfloat16 of `round` where `rounded`.
  const void* input;
  int64_t input_stride;
  int64_t rows;
  const void* group;  // packed: [inner / n, rounded up][columns][n], n = inputs_together(type)
  WeightType type;
  int64_t inner;
  int columns;  // 16, 32 or 48
  float* sums;  // [rows][columns], row stride sums_stride
  int64_t sums_stride;
  bool accumulate;       // go on from what sums holds; not for I8
  const char* prefetch;  // memory needed next, or nullptr
  int64_t prefetch_bytes;
  const Epilogue* epilogue = nullptr;  // applied to each tile of rows when it is done
  bool rounded = false;                // BF16 only: the input is bfloat16, the products are those of `round`
  // For I8: sums = integer * (input_scales[row] * weight_scales[column]).
  const float* input_scales = nullptr;   // [rows]
  const float* weight_scales = nullptr;  // [columns]
  const int32_t* weight_sums = nullptr;  // [columns]: of the column's bytes
};

// One row's results over the part of the vocabulary seen so far (kernels_lm_head.h).
struct HeadState {
  float largest;     // largest logit of all real ids seen
  float best_logit;  // largest logit of the allowed ids seen
  int32_t best_id;   // its id, the lowest one of equals; -1 before any
  float sums[16];    // exp(logit - largest), added up lane by lane
};

struct HeadTask {
  const float* scratch;  // [rows][group_columns]: logits before the bias
  int64_t rows;
  int32_t first_id;    // of column 0
  int columns;         // real ids among the columns, 1 ... 48
  const float* bias;   // of column 0 on, padded to 16
  const HeadIds* ids;  // where one of the columns is never answered; else nullptr
  HeadState* states;   // [rows]
};

struct Kernels {
  const char* name;
  uint8_t byte_flip;
  uint8_t input_bytes;  // of a quantized activation: 1 or 2
  void (*multiply)(const MultiplyTask&);
  void (*head_update)(const HeadTask&);
  // Rows [width] as steps of input_bytes each; row stride `stride`, at least width rounded up to 16, those beyond the width
  // stand for 0. The scale of a row that holds a NaN or an infinity is NaN.
  void (*quantize)(const float* input, int64_t rows, int64_t width, void* steps, int64_t stride, float* scales);
  // Rows [width] as bfloat16, nearest, ties to even; row stride `stride`, at least width rounded up to 2; a value beyond
  // the width is 0. nullptr: the set has no products of bfloat16 by bfloat16. Those it has add up two at a time in
  // float32, and take subnormal numbers for 0.
  void (*round)(const float* input, int64_t rows, int64_t width, uint16_t* output, int64_t stride);
  // Rows of scores [keys] become probabilities: exp(scale * (score - largest)) / their sum.
  void (*softmax)(float* scores, int64_t rows, int64_t stride, int64_t keys, float scale);
  // Where `round` is: exp(scale * (score - largest)) as bfloat16, rows with output_stride, the last one of an odd number
  // of keys followed by 0, and in inverses [rows] what makes probabilities of them: 1 / the sum of those not yet rounded.
  // An output row may begin where its scores do.
  void (*softmax_pairs)(const float* scores, int64_t rows, int64_t stride, int64_t keys, float scale, uint16_t* output,
                        int64_t output_stride, float* inverses);
  // Where `round` is: output[p][2 c] = first[p][c] and output[p][2 c + 1] = second[p][c], for p < pairs and c < width, with
  // row strides. The 2 * width values that follow in each row of the input are fetched: the next head is among them.
  void (*interleave)(const uint16_t* first, const uint16_t* second, int64_t stride, int64_t pairs, int64_t width,
                     uint16_t* output, int64_t output_stride);
  // output[row] = (x - mean) / sqrt(variance + epsilon) * gain + shift; output may be input, shift nullptr: none.
  void (*layer_norm)(const float* input, int64_t rows, int64_t width, const float* gain, const float* shift,
                     float epsilon, float* output);
  // output[i][r] = input[r][i] and output[r][i] = input[r][i], for r < rows and i < width, both with row strides. The
  // `width` values that follow in each row of the input are fetched: those of the next head.
  void (*transpose)(const float* input, int64_t rows, int64_t stride, int64_t width, float* output,
                    int64_t output_stride);
  void (*copy_rows)(const float* input, int64_t rows, int64_t stride, int64_t width, float* output,
                    int64_t output_stride);
  // sum[column] += row[column]
  void (*add)(float* sum, const float* row, int64_t width);
  // exp((x - largest) * inverse_temperature), in place.
  void (*exponentials)(float* values, int64_t count, float largest, float inverse_temperature);
  // The product of input [inner] and one column of a group with `stride` columns, whose first weight is `weights`, in the
  // order of `multiply`. Not for I8, nor where the input is rounded.
  float (*dot)(const float* input, const void* weights, WeightType type, int64_t stride, int64_t inner);
  // Turns `heads` heads [2 * half] of one row, one behind the other, in place: elements j and j + half of each are a
  // pair, turned by the angle whose cosine is cosines[j] and whose sine is cosines[half + j].
  void (*rotate)(float* row, int64_t heads, int64_t half, const float* cosines);
};

extern const Kernels kernels_portable;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avxvnni;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_avx512bf16;
#endif

}  // namespace mask_predict::cpu
