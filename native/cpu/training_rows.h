// Everything of training that is not a matrix product: rows in, rows out.
#pragma once

#include "base/philox.h"
#include "cpu/kernels_math.h"
#include "cpu/training_kernels.h"

namespace {

using mask_predict::cpu::AdamTask;
using mask_predict::cpu::DropoutTask;
using mask_predict::cpu::LogitScan;
using mask_predict::cpu::NormGradientTask;
using mask_predict::cpu::NormTask;

void add_bias(float* rows, int64_t stride, int64_t count, int64_t width, const float* bias) {
  for (int64_t r = 0; r < count; r++)
    for_vectors(width, [&](int64_t i, int n) {
      float* const to = rows + r * stride + i;
      (Vector::load(to, n) + Vector::load(bias + i, n)).store(to, n);
    });
}

void add(float* sum, const float* values, int64_t count) {
  for_vectors(count,
              [&](int64_t i, int n) { (Vector::load(sum + i, n) + Vector::load(values + i, n)).store(sum + i, n); });
}

void scale(float* values, int64_t count, float factor) {
  const Vector f = Vector::all(factor);
  for_vectors(count, [&](int64_t i, int n) { (Vector::load(values + i, n) * f).store(values + i, n); });
}

void column_sums(const float* rows, int64_t stride, int64_t count, int64_t width, float* sum) {
  for_vectors(width, [&](int64_t i, int n) {
    Vector total = Vector::zero();
    for (int64_t r = 0; r < count; r++) total = total + Vector::load(rows + r * stride + i, n);
    total.store(sum + i, n);
  });
}

float dot(const float* a, const float* b, int64_t count) {
  Vector sum = Vector::zero();
  for_vectors(count,
              [&](int64_t i, int n) { sum = multiply_add(Vector::load(a + i, n), Vector::load(b + i, n), sum); });
  return sum.sum();
}

double sum_of_squares(const float* values, int64_t count) {
  double total = 0;
  constexpr int64_t part = 512;  // in float32; parts in double
  for (int64_t first = 0; first < count; first += part) {
    const int64_t size = count - first < part ? count - first : part;
    total += static_cast<double>(dot(values + first, values + first, size));
  }
  return total;
}

void gelu_rows(const float* input, int64_t count, float* output) {
  for_vectors(count, [&](int64_t i, int n) { gelu(Vector::load(input + i, n)).store(output + i, n); });
}

// d/dx x Phi(x) = Phi(x) + x phi(x), with the normal distribution's Phi and its density phi.
void gelu_gradient(const float* input, int64_t count, float* gradient) {
  const Vector half = Vector::all(0.5f), root_half = Vector::all(0.707106781f);
  const Vector density = Vector::all(0.398942280f);  // 1 / sqrt(2 pi)
  for_vectors(count, [&](int64_t i, int n) {
    const Vector x = Vector::load(input + i, n);
    const Vector phi = density * exponential(x * x * Vector::all(-0.5f));
    const Vector distribution = multiply_add(half, error_function(x * root_half), half);
    (Vector::load(gradient + i, n) * multiply_add(x, phi, distribution)).store(gradient + i, n);
  });
}

void norm(const NormTask& t) {
  const float inverse_width = 1.0f / static_cast<float>(t.width);
  for (int64_t r = 0; r < t.rows; r++) {
    const float* x = t.input + r * t.width;
    float* y = t.output + r * t.width;
    Vector sums = Vector::zero();
    for_vectors(t.width, [&](int64_t i, int n) { sums = sums + Vector::load(x + i, n); });
    const float m = sums.sum() * inverse_width;
    const Vector mean = Vector::all(m);
    Vector squares = Vector::zero();
    float rest = 0;
    for_vectors(t.width, [&](int64_t i, int n) {
      if (n == Vector::lanes) {
        const Vector d = Vector::load(x + i) - mean;
        squares = multiply_add(d, d, squares);
      } else {
        for (int k = 0; k < n; k++) rest = multiply_add(x[i + k] - m, x[i + k] - m, rest);
      }
    });
    const float inverse = 1.0f / __builtin_sqrtf((squares.sum() + rest) * inverse_width + t.epsilon);
    t.means[r] = m;
    t.inverses[r] = inverse;
    const Vector factor = Vector::all(inverse);
    for_vectors(t.width, [&](int64_t i, int n) {
      const Vector normal = (Vector::load(x + i, n) - mean) * factor;
      multiply_add(normal, Vector::load(t.gain + i, n), Vector::load(t.shift + i, n)).store(y + i, n);
    });
  }
}

// With h = (x - mean) * inverse and g = dy * gain: dx = inverse * (g - mean(g) - h * mean(g * h)).
void norm_gradient(const NormGradientTask& t) {
  const float inverse_width = 1.0f / static_cast<float>(t.width);
  for_vectors(t.width, [&](int64_t i, int n) {
    Vector::zero().store(t.gain_sum + i, n);
    Vector::zero().store(t.shift_sum + i, n);
  });
  for (int64_t r = 0; r < t.rows; r++) {
    const float* x = t.input + r * t.width;
    const float* dy = t.output_gradient + r * t.width;
    float* dx = t.input_gradient + r * t.width;
    const Vector mean = Vector::all(t.means[r]), inverse = Vector::all(t.inverses[r]);
    Vector sum = Vector::zero(), product = Vector::zero();
    for_vectors(t.width, [&](int64_t i, int n) {
      const Vector h = (Vector::load(x + i, n) - mean) * inverse, d = Vector::load(dy + i, n),
                   g = d * Vector::load(t.gain + i, n);
      sum = sum + g;
      product = multiply_add(g, h, product);
      multiply_add(d, h, Vector::load(t.gain_sum + i, n)).store(t.gain_sum + i, n);
      (Vector::load(t.shift_sum + i, n) + d).store(t.shift_sum + i, n);
    });
    const Vector mean_g = Vector::all(sum.sum() * inverse_width), mean_gh = Vector::all(product.sum() * inverse_width);
    for_vectors(t.width, [&](int64_t i, int n) {
      const Vector h = (Vector::load(x + i, n) - mean) * inverse,
                   g = Vector::load(dy + i, n) * Vector::load(t.gain + i, n);
      const Vector d = inverse * ((g - mean_g) - h * mean_gh);
      (t.accumulate ? Vector::load(dx + i, n) + d : d).store(dx + i, n);
    });
  }
}

// A row's 64 columns: column 8 j + 2 w is the low half of word w of counter j, column 8 j + 2 w + 1 the high half.
constexpr int dropout_columns = 64;

inline void dropout_bits(const DropoutTask& t, uint32_t row, uint32_t first_counter, uint32_t* bits) {
  using namespace mask_predict;
  constexpr int counters = dropout_columns / 8, parts = counters / Words::count;
  Words c0[parts], c1[parts], c2[parts], c3[parts];
#pragma GCC unroll 8
  for (int j = 0; j < parts; j++) {
    c0[j] = Words::rising(first_counter + static_cast<uint32_t>(j * Words::count));
    c1[j] = Words::all(row);
    c2[j] = Words::all(t.site);
    c3[j] = Words::all(t.step);
  }
  uint32_t k0 = static_cast<uint32_t>(t.key), k1 = static_cast<uint32_t>(t.key >> 32);
  for (int round = 0; round < philox_rounds; round++) {
#pragma GCC unroll 8
    for (int j = 0; j < parts; j++) {
      const Words a = c0[j] * philox_multiplier_0, b = c2[j] * philox_multiplier_1;
      c0[j] = b.high() ^ c1[j] ^ Words::all(k0);
      c1[j] = b;
      c2[j] = a.high() ^ c3[j] ^ Words::all(k1);
      c3[j] = a;
    }
    k0 += philox_key_step_0;
    k1 += philox_key_step_1;
  }
#pragma GCC unroll 8
  for (int j = 0; j < parts; j++) Words::store(c0[j], c1[j], c2[j], c3[j], bits + 4 * Words::count * j);
}

void dropout(const DropoutTask& t) {
  for (int64_t r = 0; r < t.rows; r++) {
    const float* x = t.input + r * t.width;
    const float* residual = t.residual == nullptr ? nullptr : t.residual + r * t.width;
    float* y = t.output + r * t.width;
    for (int64_t first = 0; first < t.width; first += dropout_columns) {
      const int64_t count = t.width - first < dropout_columns ? t.width - first : dropout_columns;
      uint32_t words[dropout_columns / 2];
      if (t.threshold > 0)
        dropout_bits(t, t.first_row + static_cast<uint32_t>(r), static_cast<uint32_t>(first / 8), words);
      uint16_t bits[dropout_columns] = {};
      __builtin_memcpy(bits, words, sizeof bits);
      for_vectors(count, [&](int64_t i, int n) {
        Vector d = Vector::load(x + first + i, n);
        if (t.threshold > 0) d = d * Vector::kept(bits + i, t.threshold, t.scale);
        (residual == nullptr ? d : Vector::load(residual + first + i, n) + d).store(y + first + i, n);
      });
    }
  }
}

void softmax(float* scores, int64_t rows, int64_t stride, int64_t keys, float factor, float* log_sums) {
  const Vector f = Vector::all(factor);
  for (int64_t r = 0; r < rows; r++) {
    float* row = scores + r * stride;
    Vector most = Vector::all(row[0]);
    float largest = row[0];
    for_vectors(keys, [&](int64_t i, int n) {
      if (n == Vector::lanes)
        most = larger(most, Vector::load(row + i));
      else
        for (int k = 0; k < n; k++) largest = row[i + k] > largest ? row[i + k] : largest;
    });
    const float of_vectors = most.largest();
    largest = of_vectors > largest ? of_vectors : largest;
    const Vector offset = Vector::all(-largest * factor);
    Vector sums = Vector::zero();
    for_vectors(keys, [&](int64_t i, int n) {
      exponential(multiply_add(Vector::load(row + i, n), f, offset)).store(row + i, n);
      sums = sums + Vector::load(row + i, n);  // read again: zeros beyond the last key
    });
    const float sum = sums.sum();
    scale(row, keys, 1.0f / sum);
    log_sums[r] = largest * factor + __builtin_logf(sum);
  }
}

void probabilities(float* scores, int64_t rows, int64_t stride, int64_t keys, float factor, const float* log_sums) {
  const Vector f = Vector::all(factor);
  for (int64_t r = 0; r < rows; r++) {
    float* row = scores + r * stride;
    const Vector offset = Vector::all(-log_sums[r]);
    for_vectors(keys, [&](int64_t i, int n) {
      exponential(multiply_add(Vector::load(row + i, n), f, offset)).store(row + i, n);
    });
  }
}

void softmax_gradient(const float* probabilities, float* gradients, int64_t rows, int64_t stride, int64_t keys,
                      float factor, const float* dots) {
  const Vector f = Vector::all(factor);
  for (int64_t r = 0; r < rows; r++) {
    const float* p = probabilities + r * stride;
    float* d = gradients + r * stride;
    const Vector mean = Vector::all(dots[r]);
    for_vectors(keys, [&](int64_t i, int n) {
      (Vector::load(p + i, n) * (Vector::load(d + i, n) - mean) * f).store(d + i, n);
    });
  }
}

void scan_logits(const float* logits, int64_t count, LogitScan& scan) {
  constexpr int64_t part = 2048;  // summed in float32; parts in double
  for (int64_t first = 0; first < count; first += part) {
    const float* row = logits + first;
    const int64_t size = count - first < part ? count - first : part;
    Vector most = Vector::all(row[0]), total = Vector::zero();
    float largest = row[0];
    for_vectors(size, [&](int64_t i, int n) {
      const Vector x = Vector::load(row + i, n);
      total = total + x;
      if (n == Vector::lanes)
        most = larger(most, x);
      else
        for (int k = 0; k < n; k++) largest = row[i + k] > largest ? row[i + k] : largest;
    });
    const float of_vectors = most.largest();
    largest = of_vectors > largest ? of_vectors : largest;
    if (largest > scan.largest) {
      scan.sum *= __builtin_exp(static_cast<double>(scan.largest) - static_cast<double>(largest));
      scan.largest = largest;
    }
    const Vector offset = Vector::all(scan.largest);
    Vector sums = Vector::zero();
    for_vectors(size, [&](int64_t i, int n) {
      float values[Vector::lanes] = {};
      exponential(Vector::load(row + i, n) - offset).store(values, n);
      sums = sums + Vector::load(values);
    });
    scan.sum += static_cast<double>(sums.sum());
    scan.total += static_cast<double>(total.sum());
  }
}

void logit_gradient(float* logits, int64_t count, float log_sum, float factor, float share) {
  const Vector offset = Vector::all(log_sum), f = Vector::all(factor), s = Vector::all(share);
  for_vectors(count, [&](int64_t i, int n) {
    ((exponential(Vector::load(logits + i, n) - offset) - s) * f).store(logits + i, n);
  });
}

void adam(const AdamTask& t) {
  const Vector clip = Vector::all(t.clip), decay = Vector::all(t.decay), epsilon = Vector::all(t.epsilon);
  const Vector keep1 = Vector::all(t.first_decay), take1 = Vector::all(1.0f - t.first_decay);
  const Vector keep2 = Vector::all(t.second_decay), take2 = Vector::all(1.0f - t.second_decay);
  const Vector rate = Vector::all(t.rate), inverse_root = Vector::all(t.inverse_root);
  const Vector take = Vector::all(t.average_take);
  for_vectors(t.count, [&](int64_t i, int n) {
    const Vector g = Vector::load(t.gradients + i, n) * clip;
    const Vector m = multiply_add(keep1, Vector::load(t.first + i, n), take1 * g);
    const Vector v = multiply_add(keep2, Vector::load(t.second + i, n), take2 * (g * g));
    m.store(t.first + i, n);
    v.store(t.second + i, n);
    const Vector decayed = Vector::load(t.weights + i, n) * decay;
    const Vector w = decayed - rate * m / multiply_add(square_root(v), inverse_root, epsilon);
    w.store(t.weights + i, n);
    if (t.average == nullptr) return;
    const Vector a = Vector::load(t.average + i, n);
    multiply_add(take, w - a, a).store(t.average + i, n);
  });
}

}  // namespace
