// Tests linear, linear_pair, linear_norm and pack of a CUDA device under the emulator: against sums in double, for sizes
// that are no multiple of any tile, with every epilogue, under every schedule; and that a row's bits do not depend on what
// is computed beside it. From the repository's root:
//   g++ -std=c++20 -O2 -g1 -DMASK_PREDICT_SIMT -Wall -Wextra -Wconversion -Werror -Wno-unknown-pragmas -I native
//     -o build/simt/linear_test native/simt/*.cpp native/base/buffer.cpp native/base/numbers.cpp
//     native/ops/weights/quantize.cpp native/cpu/thread_pool.cpp -pthread
//     -x c++ native/ops/linear/linear_cuda.cu native/ops/weights/pack_cuda.cu native/cuda/cublaslt.cu test/simt/linear_test.cu
//   build/simt/linear_test [report]
// The same with -O1 -fsanitize=address,undefined. `report` also prints the emulator's table of the memory accesses of
// the last test.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "linear_problem.h"
#include "ops/linear/linear_slices.h"
#include "ops/operations.h"

namespace mask_predict {
namespace {

int cases = 0;

// ---- linear ----------------------------------------------------------------------------------------------------

struct Epilogue {
  bool bias, gelu, residual;
  ValueType output;
};

std::vector<uint8_t> run_linear(const Problem& p, const Epilogue& e, int64_t first, int64_t rows) {
  const DeviceArray<uint32_t> output(static_cast<size_t>((rows * p.outputs * bytes_of(e.output) + 3) / 4));
  const auto begin = p.residual.begin() + first * p.outputs;
  const DeviceArray<float> residual(std::vector<float>(begin, begin + rows * p.outputs));
  cuda::linear(p.context, {p.input_at(first), rows, &p.matrix, e.bias ? p.device_bias.data : nullptr, e.gelu,
                           e.residual ? residual.data : nullptr, output.data, e.output});
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  const size_t element = static_cast<size_t>(bytes_of(e.output));
  simt::require_written(output.data, static_cast<size_t>(rows * p.outputs), element, "output of " + p.name());
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * p.outputs) * element);
  check(cudaMemcpy(bytes.data(), output.data, bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return bytes;
}

void check_linear(const Problem& p, const Epilogue& e) {
  ++cases;
  const std::vector<uint8_t> output = run_linear(p, e, 0, p.rows);
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t out = 0; out < p.outputs; ++out) {
      double bound;
      double wanted = p.product(row, out, bound);
      double largest = std::fabs(wanted);
      const auto add = [&](float term) {
        wanted += static_cast<double>(term);
        largest = std::max({largest, std::fabs(static_cast<double>(term)), std::fabs(wanted)});
      };
      if (e.bias) add(p.bias[static_cast<size_t>(out)]);
      if (e.gelu) {
        bound = 1.13 * bound + 4 * 0x1p-24 * largest;  // the slope of gelu, and its own error
        wanted = 0.5 * wanted * (1 + std::erf(wanted * std::sqrt(0.5)));
      }
      if (e.residual) add(p.residual[static_cast<size_t>(row * p.outputs + out)]);
      bound += 2 * 0x1p-24 * largest;
      bound += (std::fabs(wanted) + bound) * rounding(e.output);
      const double got = value_at(output, row * p.outputs + out, e.output);
      if (std::fabs(got - wanted) <= bound) continue;  // false for NaN
      expect(false, "linear of " + p.name() + ": [" + std::to_string(row) + ", " + std::to_string(out) + "] is " +
                        std::to_string(got) + ", not " + std::to_string(wanted));
      return;
    }
  }
}

// Rows first ... first + rows - 1 alone have the bits that they have among all.
void check_alone(const Problem& p, const Epilogue& e, const std::vector<uint8_t>& all, int64_t first, int64_t rows) {
  ++cases;
  const std::vector<uint8_t> alone = run_linear(p, e, first, rows);
  expect(std::memcmp(alone.data(), all.data() + first * p.outputs * bytes_of(e.output), alone.size()) == 0,
         "bits of rows " + std::to_string(first) + " to " + std::to_string(first + rows - 1) + " of linear of " +
             p.name());
}

// ---- linear_norm -----------------------------------------------------------------------------------------------

struct Normed {
  std::vector<float> states;
  std::vector<uint8_t> normed;
};

constexpr float epsilon = 1e-5f;

Normed run_norm(const Problem& p, NormPlacement placement, bool same_memory, int64_t first, int64_t rows) {
  const auto begin = p.residual.begin() + first * p.outputs;
  const DeviceArray<float> states(std::vector<float>(begin, begin + rows * p.outputs));
  const size_t elements = static_cast<size_t>(rows * p.outputs), element = static_cast<size_t>(bytes_of(p.type));
  const DeviceArray<float> other(elements);
  void* normed = same_memory ? states.data : other.data;
  cuda::linear_norm(p.context, {p.input_at(first), rows, &p.matrix, p.device_bias.data, placement, p.device_gain.data,
                                p.device_shift.data, epsilon, states.data, normed});
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  simt::require_written(normed, elements, element, "normed of " + p.name());
  std::vector<uint8_t> bytes(elements * element);
  check(cudaMemcpy(bytes.data(), normed, bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return {states.results("states"), bytes};
}

void check_norm(const Problem& p, NormPlacement placement, bool same_memory) {
  ++cases;
  const Normed result = run_norm(p, placement, same_memory, 0, p.rows);
  const auto compare = [&](const char* what, int64_t row, int64_t out, double got, double wanted, double bound) {
    if (std::fabs(got - wanted) <= bound) return true;
    expect(false, std::string(what) + " of linear_norm of " + p.name() + ": [" + std::to_string(row) + ", " +
                      std::to_string(out) + "] is " + std::to_string(got) + ", not " + std::to_string(wanted));
    return false;
  };
  const double width = static_cast<double>(p.outputs);
  for (int64_t row = 0; row < p.rows; ++row) {
    std::vector<double> sums(static_cast<size_t>(p.outputs));
    double mean = 0, variance = 0, bound = 0, largest = 0;
    for (int64_t out = 0; out < p.outputs; ++out) {
      double own_bound;
      double& sum = sums[static_cast<size_t>(out)];
      sum = p.product(row, out, own_bound) + static_cast<double>(p.bias[static_cast<size_t>(out)]) +
            static_cast<double>(p.residual[static_cast<size_t>(row * p.outputs + out)]);
      mean += sum / width;
      largest = std::max(largest, std::fabs(sum));
      bound = std::max(bound, own_bound);
    }
    bound += 4 * 0x1p-24 * (largest + 2);
    for (const double sum : sums) variance += (sum - mean) * (sum - mean) / width;
    const double deviation = std::sqrt(variance + static_cast<double>(epsilon));
    for (int64_t out = 0; out < p.outputs; ++out) {
      const size_t o = static_cast<size_t>(out);
      const double sum = sums[o], gain = static_cast<double>(p.gain[o]);
      const double normal = (sum - mean) / deviation;
      const double wanted = normal * gain + static_cast<double>(p.shift[o]);
      // An error of the sums, of their mean and of their deviation.
      const double sum_bound = bound + width * 0x1p-24 * largest;
      double norm_bound = std::fabs(gain) * sum_bound / deviation * (2 + std::fabs(normal)) +
                          8 * 0x1p-24 * (std::fabs(wanted) + std::fabs(normal) + 1);
      const double state = static_cast<double>(result.states[static_cast<size_t>(row * p.outputs + out)]);
      const bool post = placement == NormPlacement::Post;
      if (!compare("states", row, out, state, post ? wanted : sum, post ? norm_bound : bound)) return;
      norm_bound += (std::fabs(wanted) + norm_bound) * rounding(p.type);
      const double normed = value_at(result.normed, row * p.outputs + out, p.type);
      if (!compare("normed", row, out, normed, wanted, norm_bound)) return;
    }
  }
}

void check_norm_alone(const Problem& p, const Normed& all, int64_t first, int64_t rows) {
  ++cases;
  const Normed alone = run_norm(p, NormPlacement::Pre, false, first, rows);
  const int64_t begin = first * p.outputs;
  expect(std::memcmp(alone.states.data(), all.states.data() + begin, alone.states.size() * 4) == 0 &&
             std::memcmp(alone.normed.data(), all.normed.data() + begin * bytes_of(p.type), alone.normed.size()) == 0,
         "bits of rows " + std::to_string(first) + " to " + std::to_string(first + rows - 1) + " of linear_norm of " +
             p.name());
}

// ---- the tests -------------------------------------------------------------------------------------------------

constexpr int64_t row_counts[] = {1, 3, 8, 9, 31, 32, 33, 64, 70};
constexpr ValueType types[] = {ValueType::F32, ValueType::BF16};

void test_shapes() {
  simt::set_schedule({simt::Order::RoundRobin, 0});
  size_t next = 0;  // each shape meets two numbers of rows, by turns
  for (const ValueType type : types) {
    for (const int64_t outputs : {16, 48, 80, 131, 320}) {
      for (const int64_t inputs : {16, 37, 160, 320}) {
        for (int i = 0; i < 2; ++i) {
          const Problem p(row_counts[next++ % std::size(row_counts)], outputs, inputs, type);
          check_linear(p, {true, false, false, type});
          check_norm(p, i == 0 ? NormPlacement::Pre : NormPlacement::Post, false);
        }
      }
    }
  }
}

void test_epilogues() {
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    for (const ValueType type : types) {
      for (const int64_t outputs : {80, 131}) {
        for (const int64_t inputs : {37, 320}) {
          const Problem p(11, outputs, inputs, type);
          for (const ValueType output : {ValueType::F32, type}) {
            check_linear(p, {false, false, false, output});
            check_linear(p, {true, true, false, output});
            check_linear(p, {true, false, true, output});
          }
          check_linear(p, {true, true, true, type});
          check_norm(p, NormPlacement::Pre, false);
          check_norm(p, NormPlacement::Post, type == ValueType::F32);
        }
      }
    }
  }
}

// The same bits for rows alone and among others, with the slices added up in their blocks or after them, in one
// launch or in several.
void test_bits() {
  const Epilogue epilogue{true, false, true, ValueType::F32};
  for (const ValueType type : types) {
    simt::set_schedule({simt::Order::Random, 3});
    Problem p(70, 131, 328, type);
    const std::vector<uint8_t> all = run_linear(p, epilogue, 0, p.rows);
    const Normed normed = run_norm(p, NormPlacement::Pre, false, 0, p.rows);
    for (const int64_t rows : row_counts) {
      check_alone(p, epilogue, all, 0, rows);
      check_norm_alone(p, normed, 70 - rows, rows);
    }
    check_alone(p, epilogue, all, 37, 1);
    p.stream.processors = 1;  // few are enough for it
    check_alone(p, epilogue, all, 0, 70);
    check_alone(p, epilogue, all, 5, 3);
    check_norm_alone(p, normed, 2, 66);
    p.stream.processors = 132;
    p.stream.partial_floats = 3 * 131 * 32;
    check_alone(p, epilogue, all, 0, 70);
    check_norm_alone(p, normed, 0, 70);
    p.stream.partial_floats = 130;
    try {
      run_norm(p, NormPlacement::Pre, false, 0, 1);
      expect(false, "too little memory for partial sums must be an error");
    } catch (const Error& error) {
      expect(std::string(error.what()).find("do not fit") != std::string::npos, error.what());
    }
  }
}

// Weights that are bytes, under every schedule: several chunks and slices, and every number of rows.
void test_bytes() {
  size_t next = 0;
  for (const WeightType type : {WeightType::I8, WeightType::F8}) {
    for (const simt::Schedule schedule : all_schedules) {
      simt::set_schedule(schedule);
      for (const auto& [outputs, inputs] : {std::pair{80, 320}, {131, 37}, {48, 600}}) {
        const Problem p(row_counts[next++ % std::size(row_counts)], outputs, inputs, ValueType::BF16, type);
        check_linear(p, {true, true, true, ValueType::F32});
        check_linear(p, {false, false, false, ValueType::BF16});
        check_norm(p, next % 2 == 0 ? NormPlacement::Pre : NormPlacement::Post, false);
      }
    }
    Problem p(70, 131, 1100, ValueType::BF16, type);
    const cuda::InnerSlices slices = cuda::inner_slices(p.outputs, p.inputs, 1);
    expect(slices.slices > 2, "several slices");
    const Epilogue epilogue{true, true, false, ValueType::F32};
    const std::vector<uint8_t> all = run_linear(p, epilogue, 0, p.rows);
    const Normed normed = run_norm(p, NormPlacement::Pre, false, 0, p.rows);
    check_alone(p, epilogue, all, 37, 1);
    check_alone(p, epilogue, all, 5, 20);
    check_norm_alone(p, normed, 2, 9);
    p.stream.processors = 1;  // all slices in one block
    check_alone(p, epilogue, all, 0, 70);
    check_norm_alone(p, normed, 4, 66);
  }
}

// Chunks, slices and stages enough that every buffer is used anew.
void test_long_sums() {
  const Epilogue epilogue{true, false, false, ValueType::F32};
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    Problem p(9, 40, 2100, ValueType::BF16);
    const cuda::InnerSlices slices = cuda::inner_slices(p.outputs, p.inputs, 2);
    expect(slices.slices > 2 && slices.slice_chunks > 2, "several slices of several chunks");
    check_linear(p, epilogue);
    const std::vector<uint8_t> all = run_linear(p, epilogue, 0, p.rows);
    p.stream.processors = 1;
    check_alone(p, epilogue, all, 0, p.rows);
  }
  // Rings of every depth: what compute capability 9.0, 8.0 and 8.6 leave each of two blocks, and one block alone.
  simt::set_schedule({simt::Order::Random, 4});
  for (const WeightType type : {WeightType::BF16, WeightType::I8}) {
    for (const int64_t rows : {9, 64, 70, 130}) {
      Problem p(rows, 40, 2100, ValueType::BF16, type);
      const std::vector<uint8_t> all = run_linear(p, epilogue, 0, p.rows);
      for (const int processors : {1, 132}) {
        p.stream.processors = processors;
        for (const int64_t kibibytes : {227, 163, 99}) {
          p.stream.shared_bytes = kibibytes << 10;
          check_alone(p, epilogue, all, 0, p.rows);
        }
      }
    }
  }
  // A ring for more memory than the device has is refused; it is never cut.
  Problem p(256, 128, 64, ValueType::BF16);
  p.stream.shared_bytes = 300 << 10;
  p.stream.processors = 1;
  try {
    run_linear(p, epilogue, 0, p.rows);
    expect(false, "a launch beyond the device's shared memory must be an error");
  } catch (const Error& error) {
    const std::string message = error.what();
    expect(message.find("kernel linear_tensor: a block with") != std::string::npos &&
               message.find("more than the 232448 that it may have there") != std::string::npos,
           message);
  }
  // The XL model's shapes fill a large device once or twice over; no slice is empty.
  for (const auto& [outputs, inputs] : {std::pair{2560, 2560}, {5120, 2560}, {10240, 2560}, {2560, 10240}}) {
    const cuda::InnerSlices slices = cuda::inner_slices(outputs, inputs, 2);
    const int blocks = outputs / cuda::block_outputs * slices.slices;
    expect(blocks >= 132 && blocks <= 264, std::to_string(blocks) + " blocks");
    expect((slices.slices - 1) * slices.slice_chunks < slices.chunks, "empty slices");
  }
}

// A pair gives each matrix the bits that linear gives, with its slices side by side or in one block, in one launch or in
// several. test/ops/linear-pair.test.ts has matrices of unlike numbers of slices.
void test_pair() {
  size_t next = 0;
  for (const simt::Schedule schedule : all_schedules) {
    simt::set_schedule(schedule);
    for (const WeightType type : {WeightType::F32, WeightType::BF16, WeightType::I8, WeightType::F8}) {
      const ValueType values = type == WeightType::F32 ? ValueType::F32 : ValueType::BF16;
      Problem first(row_counts[next++ % std::size(row_counts)], 131, 600, values, type);
      const Problem second(first.rows, 260, first.inputs, values, type);
      for (const int processors : {1, 132}) {
        for (const int64_t partial_floats : {int64_t{1} << 20, int64_t{8} * (131 + 260) * 2}) {
          ++cases;
          first.stream.processors = processors;
          first.stream.partial_floats = partial_floats;
          const DeviceArray<float> outputs[2] = {DeviceArray<float>(static_cast<size_t>(first.rows * first.outputs)),
                                                 DeviceArray<float>(static_cast<size_t>(first.rows * second.outputs))};
          cuda::linear_pair(first.context, {first.device_input.data,
                                            first.rows,
                                            {{&first.matrix, first.device_bias.data, outputs[0].data},
                                             {&second.matrix, nullptr, outputs[1].data}}});
          check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
          const Problem* const problems[2] = {&first, &second};
          for (int i = 0; i < 2; ++i) {
            const std::vector<float> together = outputs[i].results("output of a pair");
            const std::vector<uint8_t> alone =
                run_linear(*problems[i], {i == 0, false, false, ValueType::F32}, 0, first.rows);
            expect(std::memcmp(together.data(), alone.data(), alone.size()) == 0,
                   "bits of a pair's product, " + problems[i]->name());
          }
        }
      }
    }
  }
}

void test_pack() {
  cuda::Stream stream;
  Context context;
  context.stream = &stream;
  const int64_t outputs = 37, inputs = 21;
  const std::vector<float> values = random_values(outputs * inputs, 9, ValueType::BF16);
  const PackedMatrix matrix = device_matrix(context, values, WeightType::BF16, outputs, inputs);
  std::vector<uint16_t> packed(matrix.data.bytes() / 2);
  check(cudaMemcpy(packed.data(), matrix.data.as<void>(), packed.size() * 2, cudaMemcpyDeviceToHost), "cudaMemcpy");
  std::vector<uint16_t> wanted(packed.size());
  std::vector<uint16_t> bits;
  for (int64_t i = 0; i < outputs; ++i) {
    for (int64_t k = 0; k < inputs; ++k) {
      bits.push_back(float_to_bf16(values[static_cast<size_t>(i * inputs + k)]));
      wanted[static_cast<size_t>(cuda::fragment_index(i, k, inputs))] = bits.back();
    }
  }
  expect(packed == wanted, "a bfloat16 matrix packed from float32");

  // From bfloat16 of odd alignment, and from a function.
  std::vector<char> bytes(bits.size() * 2 + 1);
  std::memcpy(bytes.data() + 1, bits.data(), bits.size() * 2);
  const auto value = [](const void* state, int64_t output, int64_t input) {
    return (*static_cast<const std::vector<float>*>(state))[static_cast<size_t>(output * 21 + input)];
  };
  for (const PackSource& source : {PackSource{bytes.data() + 1, WeightType::BF16, nullptr, nullptr},
                                   PackSource{nullptr, WeightType::F32, value, &values}}) {
    PackedMatrix other{WeightType::BF16, outputs, inputs,
                       Buffer(matrix.data.bytes(), nullptr, "a test", device_memory, nullptr)};
    cuda::pack(context, source, 0, outputs, other);
    check(cudaMemcpy(packed.data(), other.data.as<void>(), packed.size() * 2, cudaMemcpyDeviceToHost), "cudaMemcpy");
    expect(packed == wanted, "a bfloat16 matrix packed from another source");
  }
  for (const WeightType type : {WeightType::I8, WeightType::F8}) {
    const PackedMatrix bytes = device_matrix(context, values, type, outputs, inputs);
    std::vector<uint8_t> got(bytes.data.bytes()), row(static_cast<size_t>(inputs));
    check(cudaMemcpy(got.data(), bytes.data.as<void>(), got.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    std::vector<uint8_t> expected(got.size());
    auto* scales = reinterpret_cast<float*>(expected.data() + round_up(outputs, 16) * round_up(inputs, 32));
    for (int64_t i = 0; i < outputs; ++i) {
      scales[i] = quantize_row(type, values.data() + i * inputs, inputs, row.data());
      for (int64_t k = 0; k < inputs; ++k)
        expected[static_cast<size_t>(cuda::byte_index(i, k, inputs))] = row[static_cast<size_t>(k)];
    }
    expect(got == expected, "a matrix of bytes");
  }
  // No place is taken twice.
  std::vector<bool> taken(48 * 64);
  for (int64_t i = 0; i < 48; ++i) {
    for (int64_t k = 0; k < 64; ++k) {
      const auto place = static_cast<size_t>(cuda::byte_index(i, k, 64));
      expect(place < taken.size() && !taken[place], "the place of a byte");
      if (place < taken.size()) taken[place] = true;
    }
  }
  try {
    cuda::packed_bytes(WeightType::F16, 16, 16);
    expect(false, "float16 must be refused");
  } catch (const Error&) {
  }
}

void test_quantize() {
  // Every byte of e4m3 stands for a number that becomes that byte again; what lies between becomes the nearer one.
  for (int byte = 0; byte < 256; ++byte) {
    const float value = fp8_to_float(static_cast<uint8_t>(byte));
    if ((byte & 0x7f) == 0x7f) {
      expect(std::isnan(value), "the byte that is no number");
      continue;
    }
    expect(float_to_fp8(value) == byte, "fp8 " + std::to_string(value));
    if ((byte & 0x7f) == 0x7e) continue;  // the largest
    const float next = fp8_to_float(static_cast<uint8_t>(byte + 1)), middle = (value + next) / 2;
    expect(float_to_fp8(value + (next - value) * 0.49f) == byte, "nearer to " + std::to_string(value));
    expect(float_to_fp8(value + (next - value) * 0.51f) == byte + 1, "nearer to " + std::to_string(next));
    expect(float_to_fp8(middle) == (byte % 2 == 0 ? byte : byte + 1), "a tie at " + std::to_string(middle));
  }
  expect(float_to_fp8(1e9f) == 0x7e && float_to_fp8(-460.0f) == 0xfe, "beyond the largest");
  // A row's bytes are within half a step of its values, and its largest value is exact.
  const std::vector<float> row = random_values(500, 3, ValueType::F32);
  std::vector<uint8_t> bytes(row.size());
  const float scale = quantize_row(WeightType::I8, row.data(), 500, bytes.data());
  for (size_t i = 0; i < row.size(); ++i) {
    const float error = row[i] - scale * static_cast<float>(static_cast<int8_t>(bytes[i]));
    expect(std::fabs(error) <= 0.5001f * scale, "a step of int8");
  }
  const float zeros[2] = {0, 0}, broken[2] = {1, INFINITY}, tiny[2] = {1e-42f, -1e-42f};
  expect(quantize_row(WeightType::F8, zeros, 2, bytes.data()) == 0 && bytes[0] == 0 && bytes[1] == 0, "a row of zeros");
  expect(std::isnan(quantize_row(WeightType::I8, broken, 2, bytes.data())), "a row that is not finite");
  expect(std::isfinite(quantize_row(WeightType::I8, tiny, 2, bytes.data())), "a row of subnormal numbers");
}

// Shared memory is never passed over more often than an access is wide; global memory, where the sizes are multiples
// of those of the tiles, is read and written in whole sectors.
void test_accesses() {
  for (const simt::KernelCounts& kernel : simt::counts()) {
    expect(kernel.counts.bank_conflicts == 0,
           std::to_string(kernel.counts.bank_conflicts) + " bank conflicts in " + kernel.kernel);
  }
  simt::reset_counts();
  simt::set_schedule({simt::Order::RoundRobin, 0});
  for (const ValueType type : types) {
    for (const int64_t rows : {8, 16, 32, 64}) {
      const Problem p(rows, 256, 384, type);
      check_linear(p, {true, true, true, ValueType::F32});
      check_norm(p, NormPlacement::Pre, false);
      check_norm(p, NormPlacement::Post, false);
    }
  }
  for (const int64_t rows : {8, 16, 32, 64})
    check_linear(Problem(rows, 256, 512, ValueType::BF16, WeightType::I8), {true, true, true, ValueType::F32});
  for (const int64_t rows : {64, 128, 256}) {  // a tile for each
    Problem p(rows, 256, 384, ValueType::BF16);
    p.stream.processors = 1;
    check_linear(p, {true, true, true, ValueType::BF16});
  }
  Problem p(128, 256, 512, ValueType::BF16, WeightType::I8);
  p.stream.processors = 1;
  check_linear(p, {true, true, true, ValueType::BF16});
  for (const simt::KernelCounts& kernel : simt::counts()) {
    expect(
        kernel.counts.bank_conflicts == 0 && kernel.counts.sectors == kernel.counts.needed_sectors,
        std::to_string(kernel.counts.sectors - kernel.counts.needed_sectors) + " needless sectors in " + kernel.kernel);
  }
}

// Every block reads its weights and its rows once: weights are read as often as there are tiles of rows, rows as often as
// there are 128 outputs.
void test_traffic() {
  simt::set_schedule({simt::Order::RoundRobin, 0});
  struct Case {
    WeightType type;
    int64_t rows;
    int processors;
    int64_t kibibytes;  // of shared memory: compute capability 9.0 has room for tiles of 256 rows, 8.0 has none
    int64_t row_tiles, parts;
  };
  for (const Case& c : {Case{WeightType::BF16, 64, 1, 227, 1, 1},
                        {WeightType::BF16, 128, 1, 227, 1, 1},
                        {WeightType::BF16, 256, 1, 227, 1, 1},
                        {WeightType::BF16, 256, 1, 163, 2, 1},
                        {WeightType::BF16, 320, 1, 227, 3, 1},
                        {WeightType::I8, 256, 1, 227, 2, 1},
                        // Too few blocks of one part, enough of slices.
                        {WeightType::BF16, 128, 8, 227, 1, 8},
                        {WeightType::BF16, 256, 14, 227, 1, 8},
                        {WeightType::I8, 128, 8, 227, 1, 4},
                        // Too few blocks of any other tile.
                        {WeightType::BF16, 128, 132, 227, 2, 8}}) {
    ++cases;
    Problem p(c.rows, 256, 1024, ValueType::BF16, c.type);
    p.stream.processors = c.processors;
    p.stream.shared_bytes = c.kibibytes << 10;
    simt::reset_counts();
    run_linear(p, {false, false, false, ValueType::F32}, 0, c.rows);
    const simt::KernelCounts kernel = simt::counts("linear_tensor");
    uint64_t bytes = kernel.weight_sectors * 32;
    for (const simt::SiteCounts& site : kernel.sites) {
      const std::string access = site.access;
      if (access == "load_global" || access == "cp_async_16 (source)") bytes += site.counts.sectors * 32;
    }
    const int64_t weights = p.outputs * p.inputs * bytes_of(c.type), rows = c.rows * p.inputs * 2;
    const int64_t scales = c.type == WeightType::I8 && c.parts == 1 ? c.rows * p.outputs * 4 : 0;
    const int64_t wanted = c.row_tiles * weights + 2 * rows + scales;
    expect(kernel.weight_sectors * 32 == static_cast<uint64_t>(c.row_tiles * weights), "weights of " + p.name());
    expect(kernel.blocks == static_cast<uint64_t>(c.row_tiles * 2 * c.parts) && bytes == static_cast<uint64_t>(wanted),
           std::to_string(kernel.blocks) + " blocks read " + std::to_string(bytes) + " bytes, not " +
               std::to_string(wanted) + ", for linear of " + p.name());
  }
}

}  // namespace
}  // namespace mask_predict

int main(int count, char** arguments) {
  using namespace mask_predict;
  return run_tests(count, arguments, [] {
    test_quantize();
    test_pack();
    test_shapes();
    test_epilogues();
    test_bits();
    test_bytes();
    test_long_sums();
    test_pair();
    test_accesses();
    test_traffic();
    std::printf("%d cases\n", cases);
  });
}
