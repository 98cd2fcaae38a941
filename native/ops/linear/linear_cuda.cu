// Chooses the kernels: bfloat16 activations with weights of bfloat16 or bytes go to the tensor cores, float32 with
// float32 to plain multiply-adds in one order. Both give a row the same bits whatever the other rows and their number.
//
// Few rows: one launch makes the slices of the inner dimension side by side, another adds them up. Many rows: enough
// blocks without that, each of which adds up all slices itself; or, where rows' bits may depend on their number,
// cuBLASLt, whose sums are finished as if they were one slice. A pair is one launch, unless its weights are float32 or
// cuBLASLt multiplies: then it is two products.
#include <algorithm>
#include <string>

#include "cuda/stream.h"
#include "ops/linear/linear.h"
#include "ops/linear/linear_float.cuh"
#include "ops/linear/linear_reduce.cuh"
#include "ops/linear/linear_tensor.cuh"
#include "ops/weights/packed_layout.h"

namespace mask_predict::cuda {
namespace {

// More rows than these are done in several launches, for the sake of 32-bit numbers of rows.
constexpr int64_t most_rows = 1 << 16;

unsigned tiles(int64_t size, int tile) { return static_cast<unsigned>((size + tile - 1) / tile); }

// Rows whose partial sums, `floats` of each, fit into the stream's memory for them.
int64_t rows_of_partials(const Stream& stream, int64_t floats) {
  const int64_t fitting = stream.partial_floats / floats;
  if (fitting == 0) {
    throw Error(ErrorCode::Device, "the partial sums of one row, " + std::to_string(floats) +
                                       " floats, do not fit into the " + std::to_string(stream.partial_floats) +
                                       " set aside for them");
  }
  return std::min(fitting >= 64 ? fitting / 64 * 64 : fitting, most_rows);
}

void require_types(const Context& context, const PackedMatrix& weight) {
  const bool floats = context.activations == ValueType::F32 && weight.type == WeightType::F32;
  const bool narrow =
      context.activations == ValueType::BF16 &&
      (weight.type == WeightType::BF16 || weight.type == WeightType::I8 || weight.type == WeightType::F8);
  if (floats || narrow) return;
  throw Error(ErrorCode::Device,
              "a CUDA device multiplies float32 by float32, and bfloat16 by bfloat16, int8 or fp8 only");
}

// Blocks that fill the device well enough.
int64_t enough_blocks(const Stream& stream) { return std::max(stream.processors * 3 / 4, 1); }

template <class Weights, int row_tile>
void launch_tile(const Stream& stream, TensorLinear a, unsigned blocks) {
  using Stage = TensorStage<Weights, row_tile>;
  const dim3 grid(tiles(a.rows, row_tile), blocks);
  // As many blocks as a multiprocessor has, or one, if there are no more blocks than multiprocessors.
  const bool alone = int64_t{grid.x} * grid.y <= stream.processors;
  const int64_t room = room_of_block(stream.shared_bytes, alone ? 1 : Stage::blocks);
  a.stages = stages_of(room - static_cast<int64_t>(Stage::totals_bytes), Stage::bytes);
  launch(linear_tensor_kernel<Weights, row_tile>,
         LaunchShape{grid, dim3(Stage::threads), static_cast<size_t>(a.stages) * Stage::bytes + Stage::totals_bytes,
                     stream.handle, "linear_tensor", true},
         a);
}

// The largest tile of rows that leaves enough blocks: with it weights are read least often. Up to 64 rows, one for all.
template <class Weights>
void launch_tensor(const Stream& stream, const TensorLinear& a, unsigned blocks) {
  const auto fills = [&](int row_tile) { return int64_t{tiles(a.rows, row_tile)} * blocks >= enough_blocks(stream); };
  if constexpr (Weights::load_tiles == 1) {  // with bytes, a stage has twice the rows, and no room for them
    using Stage = TensorStage<Weights, 256>;
    const bool has_room =
        Stage::totals_bytes + shallowest_ring * Stage::bytes <= static_cast<size_t>(stream.shared_bytes);
    // An odd number of tiles of 128 rows would leave a half empty.
    if (has_room && tiles(a.rows, 128) % 2 == 0 && fills(256)) return launch_tile<Weights, 256>(stream, a, blocks);
  }
  if (a.rows > 64 && fills(128)) {
    launch_tile<Weights, 128>(stream, a, blocks);
  } else if (a.rows > 32) {
    launch_tile<Weights, 64>(stream, a, blocks);
  } else if (a.rows > 16) {
    launch_tile<Weights, 32>(stream, a, blocks);
  } else if (a.rows > 8) {
    launch_tile<Weights, 16>(stream, a, blocks);
  } else {
    launch_tile<Weights, 8>(stream, a, blocks);
  }
}

InnerSlices slices_of(const PackedMatrix& weight) {
  return inner_slices(weight.outputs, weight.inputs, bytes_of(weight.type));
}

// A matrix, and what becomes of its products.
struct Product {
  const PackedMatrix* weight;
  LinearEpilogue epilogue;  // of the first row

  LinearEpilogue epilogue_at(int64_t row) const {
    LinearEpilogue there = epilogue;
    const int64_t first = row * weight->outputs;
    if (there.residual != nullptr) there.residual += first;
    there.output = static_cast<char*>(there.output) + first * (there.narrow ? 2 : 4);
    return there;
  }
};

// The matrices that the same rows are multiplied by: one, or two of the same inputs and type.
struct Products {
  Product of[2];
  int count;

  const PackedMatrix& first_weight() const { return *of[0].weight; }
  int64_t blocks_of_outputs() const {
    int64_t blocks = 0;
    for (int i = 0; i < count; ++i) blocks += tiles(of[i].weight->outputs, block_outputs);
    return blocks;
  }
};

// One launch: its number of rows, the number of parts in which it leaves each matrix's sums, and if cuBLASLt computes
// them.
struct Step {
  int64_t rows;
  int parts[2];
  bool by_library;

  bool leaves_sums() const { return parts[0] > 1 || parts[1] > 1 || by_library; }
};

bool library_multiplies(const Stream& stream, const PackedMatrix& weight, int64_t rows) {
  const auto size = [](int64_t value) { return static_cast<int>(value); };
  return stream.cublaslt && weight.row_major && rows >= stream.library_rows &&
         stream.cublaslt->can_multiply(size(std::min(rows, rows_of_partials(stream, weight.outputs))),
                                       size(weight.outputs), size(weight.inputs));
}

// cuBLASLt multiplies by one matrix alone.
Step next_step(const Stream& stream, const Products& products, int64_t rows_left, bool always_partials) {
  const PackedMatrix& weight = products.first_weight();
  if (products.count == 1 && library_multiplies(stream, weight, rows_left))
    return {std::min(rows_left, rows_of_partials(stream, weight.outputs)), {1, 1}, true};
  Step step{std::min(rows_left, most_rows), {1, 1}, false};
  // If there are enough blocks to fill the device, each block computes all slices.
  const int64_t blocks = tiles(step.rows, 64) * products.blocks_of_outputs();
  const bool slices = weight.type != WeightType::F32 && blocks < enough_blocks(stream);
  int64_t floats = 0;  // of a row's partial sums
  for (int i = 0; i < products.count; ++i) {
    const PackedMatrix& one = *products.of[i].weight;
    if (slices) step.parts[i] = slices_of(one).slices;
    floats += step.parts[i] * one.outputs;
  }
  if (step.leaves_sums() || always_partials) step.rows = std::min(step.rows, rows_of_partials(stream, floats));
  return step;
}

// Where the step's sums go, `first_row` being its first: through the epilogues or, if it leaves them, bare into the
// stream's memory for them, those of the second matrix behind those of the first.
void place_sums(const Stream& stream, const Products& products, const Step& step, bool leaves_sums, int64_t first_row,
                LinearSums (&sums)[2]) {
  float* partials = stream.partials;
  for (int i = 0; i < products.count; ++i) {
    const PackedMatrix& weight = *products.of[i].weight;
    sums[i] = {static_cast<int>(weight.outputs), step.parts[i], scales_of(weight), leaves_sums ? partials : nullptr,
               products.of[i].epilogue_at(first_row)};
    partials += step.parts[i] * step.rows * weight.outputs;
  }
}

void multiply(const Context& context, const Products& products, const void* input, const Step& step,
              const LinearSums (&sums)[2], bool wide) {
  const Stream& stream = *context.stream;
  const PackedMatrix& weight = products.first_weight();
  const int rows = static_cast<int>(step.rows), inputs = static_cast<int>(weight.inputs);
  if (weight.type == WeightType::F32) {
    const FloatLinear a{
        weight.data.as<float>(), static_cast<const float*>(input), rows, sums[0].outputs, inputs, sums[0].partials,
        sums[0].epilogue};
    launch(linear_float_kernel,
           LaunchShape{dim3(tiles(rows, float_rows), tiles(a.outputs, float_outputs)), dim3(float_threads),
                       float_shared_bytes, stream.handle, "linear_float", true},
           a);
    return;
  }
  if (step.by_library) {
    stream.cublaslt->multiply(stream.handle, weight.row_major.as<void>(), input, rows, sums[0].outputs, inputs,
                              sums[0].partials);
    return;
  }
  TensorLinear a{};
  a.input = static_cast<const __nv_bfloat16*>(input);
  a.rows = rows;
  a.inputs = inputs;
  a.aligned_rows = inputs % 8 == 0 && aligned_16(input);
  a.wide_outputs = wide;
  unsigned blocks = 0;
  for (int i = 0; i < products.count; ++i) {
    const PackedMatrix& one = *products.of[i].weight;
    a.products[i] = {one.data.as<uint4>(), slices_of(one), sums[i]};
    blocks += tiles(sums[i].outputs, block_outputs) * static_cast<unsigned>(sums[i].parts);
    if (i == 0) a.first_blocks = static_cast<int>(blocks);
  }
  with_weights(weight.type, [&](auto weights) { launch_tensor<decltype(weights)>(stream, a, blocks); });
}

void launch_reduce(const Stream& stream, const Step& step, int count, const LinearSums (&sums)[2], bool wide) {
  const int first_blocks = static_cast<int>(tiles(sums[0].outputs, reduce_outputs));
  const ReduceLinear a{static_cast<int>(step.rows), {sums[0], sums[1]}, first_blocks};
  const unsigned blocks =
      static_cast<unsigned>(first_blocks) + (count > 1 ? tiles(sums[1].outputs, reduce_outputs) : 0u);
  launch(wide ? linear_reduce_kernel<true> : linear_reduce_kernel<false>,
         LaunchShape{dim3(static_cast<unsigned>(a.rows), blocks), dim3(reduce_threads), 0, stream.handle,
                     "linear_reduce", true},
         a);
}

template <bool wide>
void launch_norm(const Stream& stream, const NormLinear& a) {
  launch(linear_norm_kernel<wide>,
         LaunchShape{dim3(static_cast<unsigned>(a.rows)), dim3(static_cast<unsigned>(norm_threads(a.width))),
                     norm_shared_bytes(a.width), stream.handle, "linear_norm", true},
         a);
}

// The products of all rows, through their epilogues.
void multiply_rows(const Context& context, const Products& products, const void* input, int64_t rows, bool wide) {
  const int64_t row_bytes = products.first_weight().inputs * bytes_of(context.activations);
  for (int64_t first = 0; first < rows;) {
    const Step step = next_step(*context.stream, products, rows - first, false);
    LinearSums sums[2] = {};
    place_sums(*context.stream, products, step, step.leaves_sums(), first, sums);
    multiply(context, products, static_cast<const char*>(input) + first * row_bytes, step, sums, wide);
    if (step.leaves_sums()) launch_reduce(*context.stream, step, products.count, sums, wide);
    first += step.rows;
  }
}

}  // namespace

void linear(const Context& context, const LinearArguments& a) {
  const PackedMatrix& weight = *a.weight;
  require_types(context, weight);
  const LinearEpilogue epilogue{a.bias, a.residual, a.output, a.gelu, a.output_type == ValueType::BF16};
  const bool wide = weight.outputs % 4 == 0 && aligned_16(a.output) && aligned_16(a.bias) && aligned_16(a.residual);
  multiply_rows(context, {{{&weight, epilogue}}, 1}, a.input, a.rows, wide);
}

void linear_pair(const Context& context, const LinearPairArguments& a) {
  Products pair{{}, 2};
  bool wide = true, together = true;
  for (int i = 0; i < 2; ++i) {
    const auto& [weight, bias, output] = a.products[i];
    require_types(context, *weight);
    pair.of[i] = {weight, {bias, nullptr, output, false, a.output_type == ValueType::BF16}};
    wide = wide && weight->outputs % 4 == 0 && aligned_16(output) && aligned_16(bias);
    together = together && weight->type != WeightType::F32 && !library_multiplies(*context.stream, *weight, a.rows);
  }
  if (together) {
    multiply_rows(context, pair, a.input, a.rows, wide);
    return;
  }
  for (const auto& [weight, bias, output] : a.products)
    linear(context, {a.input, a.rows, weight, bias, false, nullptr, output, a.output_type});
}

void linear_norm(const Context& context, const LinearNormArguments& a) {
  const PackedMatrix& weight = *a.weight;
  require_types(context, weight);
  const Stream& stream = *context.stream;
  const Products products{{{&weight, {}}}, 1};
  const int64_t width = weight.outputs;
  const int64_t value_bytes = bytes_of(context.activations);
  const bool wide = width % 4 == 0 && aligned_16(a.bias) && aligned_16(a.gain) && aligned_16(a.shift) &&
                    aligned_16(a.states) && aligned_16(a.normed);

  for (int64_t first = 0; first < a.rows;) {
    const Step step = next_step(stream, products, a.rows - first, true);
    LinearSums sums[2] = {};
    place_sums(stream, products, step, true, 0, sums);
    multiply(context, products, static_cast<const char*>(a.input) + first * weight.inputs * value_bytes, step, sums,
             wide);
    const NormLinear norm{stream.partials,
                          step.parts[0],
                          static_cast<int>(step.rows),
                          static_cast<int>(width),
                          scales_of(weight),
                          a.bias,
                          a.gain,
                          a.shift,
                          a.epsilon,
                          a.placement == NormPlacement::Post,
                          a.states + first * width,
                          static_cast<char*>(a.normed) + first * width * value_bytes,
                          context.activations == ValueType::BF16};
    wide ? launch_norm<true>(stream, norm) : launch_norm<false>(stream, norm);
    first += step.rows;
  }
}

}  // namespace mask_predict::cuda
