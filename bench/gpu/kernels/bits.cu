// A row's bits depend on the row alone: rows multiplied in any number, and at any place of an mma tile, are those of one large
// batch, byte for byte, for the layers and the head at the shapes of XLM-R XL.
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "bench.h"
#include "ops/linear/linear.h"
#include "ops/lm_head/lm_head.h"
#include "ops/operations.h"

namespace mask_predict::bench {
namespace {

constexpr float weight_scale = 1.0f / 4096, input_scale = 1.0f / 64;

// The results of rows first ... first + count - 1 of the input.
using RowsOf = std::function<std::vector<char>(int64_t first, int64_t count)>;

// Compares every window of rows with the batch of all of them. Windows begin at each of the 16 rows of an mma tile and have
// the sizes at which kernels take other tiles.
void compare(const std::string& what, int64_t rows, int64_t bytes_of_row, const RowsOf& rows_of) {
  const std::vector<char> whole = rows_of(0, rows);
  const auto row_of_whole = [&](int64_t row) { return whole.data() + row * bytes_of_row; };
  int64_t compared = 0, differing = 0;
  for (const int64_t count : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 96, 127, 128, 129, 192, 256}) {
    for (int64_t first = 0; first < 17 && first + count <= rows; ++first) {
      const std::vector<char> window = rows_of(first, count);
      for (int64_t i = 0; i < count; ++i, ++compared)
        differing += std::memcmp(window.data() + i * bytes_of_row, row_of_whole(first + i),
                                 static_cast<size_t>(bytes_of_row)) != 0;
    }
  }
  // All rows differ from their neighbours: otherwise the comparison would say nothing.
  int64_t alike = 0;
  for (int64_t row = 1; row < rows; ++row)
    alike += std::memcmp(row_of_whole(row), row_of_whole(row - 1), static_cast<size_t>(bytes_of_row)) == 0;
  require("bits, " + what + ", rows that differ", static_cast<double>(differing), 0);
  require("bits, " + what + ", neighbours that are alike", static_cast<double>(alike), 0);
  report(field("op", "bits") + "," + field("what", what) + "," + field("compared", compared) + "," +
         field("differing", differing));
}

// Row `row` of an array that was read back.
template <class T>
void append(const std::vector<T>& values, int64_t row, int64_t width, std::vector<char>& to) {
  const char* bytes = reinterpret_cast<const char*>(values.data() + row * width);
  to.insert(to.end(), bytes, bytes + static_cast<size_t>(width) * sizeof(T));
}

void layers(const Bench& bench, WeightType type, int64_t inputs, int64_t outputs, int64_t rows) {
  const PackedMatrix weight = random_matrix(bench, outputs, inputs, 100, weight_scale, type);
  const Array<__nv_bfloat16> input(rows * inputs), output(rows * outputs);
  const Array<float> bias(outputs), gain(outputs), shift(outputs), states(rows * outputs);
  fill_bf16(bench, input.get(), input.count(), 1, input_scale);
  fill_floats(bench, bias, outputs, 2, 1.0f / 256);
  fill_floats(bench, gain, outputs, 3, 1.0f / 128);
  fill_floats(bench, shift, outputs, 4, 1.0f / 256);
  const std::string shape =
      std::string(who_with(type)) + ", " + std::to_string(inputs) + " to " + std::to_string(outputs);
  compare("linear, " + shape, rows, outputs * 2, [&](int64_t first, int64_t count) {
    LinearArguments a{};
    a.input = input.get() + first * inputs;
    a.rows = count;
    a.weight = &weight;
    a.bias = bias;
    a.gelu = true;
    a.output = output.get();
    a.output_type = ValueType::BF16;
    cuda::linear(bench.context, a);
    const std::vector<__nv_bfloat16> values = output.host(bench);
    std::vector<char> result;
    append(values, 0, count * outputs, result);
    return result;
  });
  compare("linear_norm, " + shape, rows, outputs * 6, [&](int64_t first, int64_t count) {
    cuda::check(cudaMemsetAsync(states, 0, states.bytes(), bench.stream->handle), "cudaMemsetAsync");
    LinearNormArguments a{};
    a.input = input.get() + first * inputs;
    a.rows = count;
    a.weight = &weight;
    a.bias = bias;
    a.placement = NormPlacement::Pre;
    a.gain = gain;
    a.shift = shift;
    a.epsilon = 1e-5f;
    a.states = states;
    a.normed = output.get();
    cuda::linear_norm(bench.context, a);
    const std::vector<float> sums = states.host(bench);
    const std::vector<__nv_bfloat16> normed = output.host(bench);
    std::vector<char> result;
    for (int64_t row = 0; row < count; ++row) {
      append(sums, row, outputs, result);
      append(normed, row, outputs, result);
    }
    return result;
  });
}

void best_ids(const Bench& bench, WeightType type, int64_t width, int64_t vocabulary, int64_t rows) {
  const PackedMatrix weight = random_matrix(bench, vocabulary, width, 100, weight_scale, type);
  const Array<__nv_bfloat16> states(rows * width);
  const Array<float> bias((vocabulary + 15) / 16 * 16), log_probs(rows), log_sums(rows);
  const Array<LmHeadPartial> partials(lm_head_ranges * rows);
  const Array<int32_t> ids(rows);
  fill_bf16(bench, states.get(), states.count(), 1, input_scale);
  fill_floats(bench, bias, bias.count(), 3, 1.0f / 256);
  compare(std::string("head, ") + who_with(type), rows, 12, [&](int64_t first, int64_t count) {
    LmHeadArguments a{};
    a.states = states.get() + first * width;
    a.rows = count;
    a.weight = &weight;
    a.bias = bias;
    a.head_ids = xlm_roberta_ids(static_cast<int32_t>(vocabulary * 9 / 10));
    a.partials = partials;
    a.ids = ids;
    a.log_probs = log_probs;
    a.log_sums = log_sums;
    cuda::lm_head_argmax(bench.context, a);
    const std::vector<int32_t> best = ids.host(bench);
    const std::vector<float> scores = log_probs.host(bench), sums = log_sums.host(bench);
    std::vector<char> result;
    for (int64_t row = 0; row < count; ++row) {
      append(best, row, 1, result);
      append(scores, row, 1, result);
      append(sums, row, 1, result);
    }
    return result;
  });
}

}  // namespace

void bits(const Bench& bench) {
  bench.stream->library_rows = INT64_MAX;
  const int64_t rows = bench.tiny ? 20 : 272;
  for (const WeightType type : {WeightType::BF16, WeightType::I8, WeightType::F8}) {
    if (bench.tiny) {
      layers(bench, type, 96, 64, rows);
      best_ids(bench, type, 64, 640, rows);
      continue;
    }
    layers(bench, type, 2560, 2560, rows);
    layers(bench, type, 2560, 10240, rows);
    layers(bench, type, 10240, 2560, rows);
    best_ids(bench, type, 2560, 250880, rows);
  }
}

}  // namespace mask_predict::bench
