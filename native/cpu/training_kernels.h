// The inner loops of training on the CPU, one set per instruction set (training_avx512.cpp, training_avx2.cpp,
// training_portable.cpp compile the same sources over another vector type). As in kernels.h: plain data and function
// pointers only. Everything is float32, row-major, with a stride in elements where one is named; a set with products of
// bfloat16 rounds their operands as it packs them.
//
// The order of every sum is a function of the sizes alone, never of the threads.
#pragma once

#include <cstdint>

namespace mask_predict::cpu {

// Rows are summed (biases, gains) in blocks of so many, then the blocks one after the other.
inline constexpr int64_t sum_rows = 64;
// The inner dimension of a product is cut into pieces of so many steps (`together`), added to the result one after the other.
inline constexpr int64_t product_steps = 256;

// Dropout of rows: output = residual + kept * scale * input, where an element is kept if its 16 bits of
// Philox(key; column / 8, row, site, step) are at least `threshold`. The counter's four words give eight columns.
struct DropoutTask {
  const float* input;
  const float* residual;  // or nullptr: 0; may be the output
  float* output;          // may be the input
  int64_t rows, width;    // stride: width
  uint32_t threshold;     // of 65536; 0 keeps all
  float scale;
  uint64_t key;
  uint32_t step, site;
  uint32_t first_row;  // number of the first row
};

struct NormTask {
  const float* input;
  int64_t rows, width;
  const float* gain;
  const float* shift;
  float epsilon;
  float* output;
  float* means;     // [rows]
  float* inverses;  // [rows]: 1 / sqrt(variance + epsilon)
};

struct NormGradientTask {
  const float* input;  // of the forward
  const float* means;
  const float* inverses;
  const float* gain;
  const float* output_gradient;
  int64_t rows, width;
  float* input_gradient;  // += where `accumulate`; may be output_gradient without it
  bool accumulate;
  float* gain_sum;  // [width], overwritten: sums over these rows
  float* shift_sum;
};

struct AdamTask {
  float* weights;
  const float* gradients;
  float* first;  // moments
  float* second;
  int64_t count;
  float clip;          // the gradient's factor
  float decay;         // the weights' factor, 1 - rate * decay
  float first_decay;   // beta 1
  float second_decay;  // beta 2
  float rate;          // learning rate / (1 - beta1^t)
  float inverse_root;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
  float* average;      // or nullptr: of the weights, exponential
  float average_take;  // average += average_take * (weights - average), after the update
};

// One row's sums over the logits seen so far.
struct LogitScan {
  float largest;
  double sum;    // of exp(logit - largest)
  double total;  // of the logits
};

struct TrainingKernels {
  const char* name;
  int tile_rows, tile_columns;  // of the product's tiles
  int together;                 // values of the inner dimension in a step of four bytes: one float32 or two bfloat16

  // op(A) [rows, inner] as panels of tile_rows: packed[panel][step][row], zeros beyond the last row and the last value.
  void (*pack_rows)(const float* a, int64_t row_stride, int64_t inner_stride, int64_t rows, int64_t inner,
                    float* packed);
  // op(B) [inner, columns] as panels of tile_columns: packed[panel][step][column], likewise.
  void (*pack_columns)(const float* b, int64_t inner_stride, int64_t column_stride, int64_t inner, int64_t columns,
                       float* packed);
  // result (+)= A . B of packed panels.
  void (*multiply)(const float* a, const float* b, int64_t rows, int64_t columns, int64_t inner, float* result,
                   int64_t stride, bool accumulate);

  // row += bias, for every row
  void (*add_bias)(float* rows, int64_t stride, int64_t count, int64_t width, const float* bias);
  // sum += values
  void (*add)(float* sum, const float* values, int64_t count);
  // values *= factor
  void (*scale)(float* values, int64_t count, float factor);
  // sum[column] = sum over rows
  void (*column_sums)(const float* rows, int64_t stride, int64_t count, int64_t width, float* sum);
  // sum over i of a[i] * b[i]
  float (*dot)(const float* a, const float* b, int64_t count);
  double (*sum_of_squares)(const float* values, int64_t count);

  // output = gelu(input); gradient *= gelu'(input)
  void (*gelu)(const float* input, int64_t count, float* output);
  void (*gelu_gradient)(const float* input, int64_t count, float* gradient);

  void (*norm)(const NormTask&);
  void (*norm_gradient)(const NormGradientTask&);
  void (*dropout)(const DropoutTask&);

  // Scores [rows, keys] become probabilities, exp(scale * score - log_sum), and log_sums [rows] what makes them so.
  void (*softmax)(float* scores, int64_t rows, int64_t stride, int64_t keys, float scale, float* log_sums);
  // The same from log-sums that are known.
  void (*probabilities)(float* scores, int64_t rows, int64_t stride, int64_t keys, float scale, const float* log_sums);
  // gradients = probabilities * (gradients - dots[row]) * scale
  void (*softmax_gradient)(const float* probabilities, float* gradients, int64_t rows, int64_t stride, int64_t keys,
                           float scale, const float* dots);

  // Takes `count` more logits into account.
  void (*scan_logits)(const float* logits, int64_t count, LogitScan& scan);
  // logits become factor * (exp(logit - log_sum) - share)
  void (*logit_gradient)(float* logits, int64_t count, float log_sum, float factor, float share);

  void (*adam)(const AdamTask&);
};

extern const TrainingKernels training_portable;
#if defined(__x86_64__) || defined(_M_X64)
extern const TrainingKernels training_avx2;
extern const TrainingKernels training_avx512;
extern const TrainingKernels training_avx512bf16;  // the same with products of bfloat16
#endif

}  // namespace mask_predict::cpu
