// linear, linear_pair and linear_norm at the shapes of XLM-R XL, in bfloat16 and with weights of int8 and fp8, for 1 to 256
// rows, by our own kernels and, in bfloat16, through cuBLASLt (deterministic: false), where it is. Each call has weights of
// its own. Queries, keys and values are a pair, as in the engine; the query and the keys and values alone say what that saves.
//
// thresholds: the same of ours and cuBLASLt alone, for more numbers of rows and more shapes. From where on cuBLASLt wins is
// library_rows of cuda/stream.h; what a bucket of engine/padding.h costs is the time of its rows less that of the one before.
#include <algorithm>
#include <cmath>
#include <vector>

#include "bench.h"
#include "ops/linear/linear.h"
#include "ops/operations.h"

namespace mask_predict::bench {
namespace {

struct Shape {
  const char* name;
  int64_t inputs, outputs;
  // "bias", "gelu": bias and GELU, "norm": bias, sum with the states, LayerNorm; "pair": bias, the first third of the
  // outputs of one matrix and the others of another
  const char* epilogue;

  bool is(const char* other) const { return std::string(epilogue) == other; }
  int64_t first_outputs() const { return is("pair") ? outputs / 3 : outputs; }
};

constexpr Shape full_size[] = {{"query", 2560, 2560, "bias"},
                               {"keys and values", 2560, 5120, "bias"},
                               {"queries, keys and values", 2560, 7680, "pair"},
                               {"attention output", 2560, 2560, "norm"},
                               {"feed-forward in", 2560, 10240, "gelu"},
                               {"feed-forward out", 10240, 2560, "norm"}};
constexpr Shape tiny_size[] = {{"query", 64, 64, "bias"},
                               {"queries, keys and values", 64, 192, "pair"},
                               {"feed-forward in", 64, 144, "gelu"},
                               {"feed-forward out", 144, 64, "norm"}};

constexpr float weight_scale = 1.0f / 4096, input_scale = 1.0f / 64;
constexpr int64_t first_seed = 100, second_seed = 200;

double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

// The arrays of one shape, for as many rows as wanted.
struct Operands {
  std::vector<PackedMatrix> weights, seconds;  // `seconds` of a pair
  Array<__nv_bfloat16> input, output;          // of a pair the outputs of all rows for one matrix, then for the other
  Array<float> bias, gain, shift, states;
};

Operands operands_of(const Bench& bench, const Shape& shape, int64_t rows, WeightType type) {
  Operands o;
  const int64_t bytes = shape.inputs * shape.outputs * bytes_of(type);
  const int64_t copies = bench.tiny ? 2 : std::clamp<int64_t>(cold_bytes / bytes + 1, 2, 64);
  const auto add = [&](std::vector<PackedMatrix>& matrices, int64_t outputs, int64_t seed) {
    matrices.push_back(random_matrix(bench, outputs, shape.inputs, static_cast<uint64_t>(seed), weight_scale, type));
    if (!bench.stream->cublaslt || type != WeightType::BF16) return;
    PackedMatrix& weight = matrices.back();
    weight.row_major =
        device_buffer(bench.context, static_cast<uint64_t>(outputs * shape.inputs * 2), nullptr, "a matrix");
    cuda::copy_row_major(bench.context, weight);
  };
  for (int64_t i = 0; i < copies; ++i) {
    add(o.weights, shape.first_outputs(), first_seed + i);
    if (shape.is("pair")) add(o.seconds, shape.outputs - shape.first_outputs(), second_seed + i);
  }
  o.input = Array<__nv_bfloat16>(rows * shape.inputs);
  o.output = Array<__nv_bfloat16>(rows * shape.outputs);
  o.bias = Array<float>(shape.outputs);
  o.gain = Array<float>(shape.outputs);
  o.shift = Array<float>(shape.outputs);
  o.states = Array<float>(rows * shape.outputs);
  fill_bf16(bench, o.input, rows * shape.inputs, 1, input_scale);
  fill_floats(bench, o.bias, shape.outputs, 2, 1.0f / 256);
  fill_floats(bench, o.gain, shape.outputs, 3, 1.0f / 128);
  fill_floats(bench, o.shift, shape.outputs, 4, 1.0f / 256);
  return o;
}

void run(const Bench& bench, const Shape& shape, const Operands& o, int64_t rows, size_t which) {
  const PackedMatrix& weight = o.weights[which];
  if (shape.is("pair")) {
    LinearPairArguments a{};
    a.input = o.input.get();
    a.rows = rows;
    a.products[0] = {&weight, o.bias, o.output.get()};
    a.products[1] = {&o.seconds[which], o.bias + weight.outputs, o.output + rows * weight.outputs};
    a.output_type = ValueType::BF16;
    cuda::linear_pair(bench.context, a);
  } else if (shape.is("norm")) {
    LinearNormArguments a{};
    a.input = o.input.get();
    a.rows = rows;
    a.weight = &weight;
    a.bias = o.bias;
    a.placement = NormPlacement::Pre;
    a.gain = o.gain;
    a.shift = o.shift;
    a.epsilon = 1e-5f;
    a.states = o.states;
    a.normed = o.output.get();
    cuda::linear_norm(bench.context, a);
  } else {
    LinearArguments a{};
    a.input = o.input.get();
    a.rows = rows;
    a.weight = &weight;
    a.bias = o.bias;
    a.gelu = shape.is("gelu");
    a.output = o.output.get();
    a.output_type = ValueType::BF16;
    cuda::linear(bench.context, a);
  }
}

// Sampled results of the first weights against sums in double.
double deviation_of(const Bench& bench, const Shape& shape, const Operands& o, int64_t rows) {
  const bool norm = shape.is("norm"), with_gelu = shape.is("gelu");
  const int64_t first_outputs = shape.first_outputs();
  fill_floats(bench, o.states, o.states.count(), 5, 1.0f / 64);
  run(bench, shape, o, rows, 0);
  const std::vector<float> states = o.states.host(bench);
  const std::vector<__nv_bfloat16> output = o.output.host(bench);
  // The states are float32, everything else is rounded to bfloat16; values are about 1.
  Deviation deviation(norm ? 1.0 : 0.1);
  for (int64_t sample = 0; sample < 64; ++sample) {
    const int64_t row = sample * 7919 % rows, column = sample * 104729 % shape.outputs;
    const bool second = column >= first_outputs;
    const PackedMatrix& weight = second ? o.seconds[0] : o.weights[0];
    const int64_t inside = second ? column - first_outputs : column;
    const auto seed = static_cast<uint64_t>(second ? second_seed : first_seed);
    double sum = 0;
    for (int64_t k = 0; k < shape.inputs; ++k)
      sum += static_cast<double>(value_of(1, static_cast<uint64_t>(row * shape.inputs + k), input_scale)) *
             static_cast<double>(matrix_value(weight, inside, k, seed, weight_scale));
    sum += static_cast<double>(value_of(2, static_cast<uint64_t>(column), 1.0f / 256));
    const auto place = static_cast<size_t>((second ? rows * first_outputs : 0) + row * weight.outputs + inside);
    if (norm) {
      deviation.compare(static_cast<double>(states[place]), sum + static_cast<double>(value_of(5, place, 1.0f / 64)));
    } else {
      deviation.compare(static_cast<double>(__bfloat162float(output[place])), with_gelu ? gelu(sum) : sum);
    }
  }
  return deviation.worst();
}

// `library_rows`: from how many rows on cuBLASLt multiplies.
void run_shape(const Bench& bench, const Shape& shape, const Operands& o, const std::vector<int64_t>& row_counts,
               const char* who, int64_t library_rows, const char* op = "linear") {
  bench.stream->library_rows = library_rows;
  const bool norm = shape.is("norm");
  for (const int64_t rows : row_counts) {
    const double deviation = deviation_of(bench, shape, o, rows);
    require(std::string("linear, ") + shape.name + ", " + std::to_string(rows) + " rows", deviation,
            norm ? 1e-4 : 0.01);
    const int copies = static_cast<int>(o.weights.size());
    const Times times = time_calls(bench, copies, [&](int i) { run(bench, shape, o, rows, static_cast<size_t>(i)); });
    const int64_t bytes = shape.inputs * shape.outputs * bytes_of(o.weights[0].type) +
                          rows * (shape.inputs + shape.outputs) * 2 + (norm ? rows * shape.outputs * 8 : 0);
    report(field("op", op) + "," + field("shape", shape.name) + "," + field("epilogue", shape.epilogue) + "," +
               field("rows", rows) + "," + field("inputs", shape.inputs) + "," + field("outputs", shape.outputs) + "," +
               field("bytes", bytes) + "," + field("operations", 2 * rows * shape.inputs * shape.outputs) + "," +
               field("deviation", deviation),
           times, who);
  }
}

}  // namespace

void linear(const Bench& bench) {
  const std::vector<int64_t> row_counts =
      bench.tiny ? std::vector<int64_t>{1, 9} : std::vector<int64_t>{1, 8, 16, 32, 64, 96, 128, 160, 192, 256};
  const auto run_all = [&](const Shape& shape) {
    for (const WeightType type : {WeightType::BF16, WeightType::I8, WeightType::F8}) {
      const Operands o = operands_of(bench, shape, row_counts.back(), type);
      run_shape(bench, shape, o, row_counts, who_with(type), INT64_MAX);
      if (bench.stream->cublaslt && type == WeightType::BF16)
        run_shape(bench, shape, o, row_counts, "ours, deterministic: false", 1);
    }
  };
  if (bench.tiny) {
    for (const Shape& shape : tiny_size) run_all(shape);
  } else {
    for (const Shape& shape : full_size) run_all(shape);
  }
}

void thresholds(const Bench& bench) {
  constexpr Shape shapes[] = {{"xl, query", 2560, 2560, "bias"},
                              {"xl, feed-forward in", 2560, 10240, "gelu"},
                              {"xl, feed-forward out", 10240, 2560, "norm"},
                              {"large, feed-forward in", 1024, 4096, "gelu"},
                              {"base, feed-forward in", 768, 3072, "gelu"}};
  const std::vector<int64_t> row_counts =
      bench.tiny ? std::vector<int64_t>{8, 9} : std::vector<int64_t>{8,   16,  24,  32,  48,  64,  80,  96,  112, 128,
                                                                     144, 160, 192, 224, 256, 320, 384, 448, 512};
  const auto run_both = [&](const Shape& shape) {
    const Operands o = operands_of(bench, shape, row_counts.back(), WeightType::BF16);
    run_shape(bench, shape, o, row_counts, "ours", INT64_MAX, "threshold");
    if (bench.stream->cublaslt) run_shape(bench, shape, o, row_counts, "ours, deterministic: false", 1, "threshold");
  };
  if (bench.tiny) {
    for (const Shape& shape : tiny_size) run_both(shape);
  } else {
    for (const Shape& shape : shapes) run_both(shape);
  }
}

}  // namespace mask_predict::bench
