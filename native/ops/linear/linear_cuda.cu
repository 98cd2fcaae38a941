// Chooses the kernels: bfloat16 activations with weights of bfloat16 or bytes go to the tensor cores, float32 with
// float32 to plain multiply-adds in one order. Both give a row the same bits whatever the other rows and their number.
//
// Few rows: one launch makes the slices of the inner dimension side by side, another adds them up. Many rows: enough
// blocks without that, each of which adds up all slices itself; or, where rows' bits may depend on their number,
// cuBLASLt, whose sums are finished as if they were one slice.
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

// Rows whose partial sums, [slices, rows, outputs], fit into the stream's memory for them.
int64_t rows_of_partials(const Stream& stream, int64_t slices, int64_t outputs) {
  const int64_t fitting = stream.partial_floats / (slices * outputs);
  if (fitting == 0) {
    throw Error(ErrorCode::Device, "the partial sums of one row of " + std::to_string(outputs) + " outputs, " +
                                       std::to_string(slices * outputs) + " floats, do not fit into the " +
                                       std::to_string(stream.partial_floats) + " set aside for them");
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

template <class Weights, int row_tile, bool all_slices>
void launch_tensor(const Stream& stream, const TensorLinear& a) {
  const dim3 grid(tiles(a.rows, row_tile), tiles(a.outputs, block_outputs),
                  all_slices ? 1u : static_cast<unsigned>(a.slices.slices));
  launch(linear_tensor_kernel<Weights, row_tile, all_slices>,
         LaunchShape{grid, dim3(tensor_threads), tensor_shared_bytes<Weights, row_tile, all_slices>, stream.handle,
                     "linear_tensor", true},
         a);
}

// Side by side or, if all_slices, one after the other.
template <class Weights>
void launch_slices(const Stream& stream, const TensorLinear& a, bool all_slices) {
  if (all_slices) {
    launch_tensor<Weights, 64, true>(stream, a);
  } else if (a.rows <= 8) {
    launch_tensor<Weights, 8, false>(stream, a);
  } else if (a.rows <= 16) {
    launch_tensor<Weights, 16, false>(stream, a);
  } else if (a.rows <= 32) {
    launch_tensor<Weights, 32, false>(stream, a);
  } else {
    launch_tensor<Weights, 64, false>(stream, a);
  }
}

InnerSlices slices_of(const PackedMatrix& weight) {
  return inner_slices(weight.outputs, weight.inputs, bytes_of(weight.type));
}

// One launch: its number of rows, the number of parts in which it leaves their sums, and if cuBLASLt computes them.
struct Step {
  int64_t rows;
  int parts;
  bool by_library;

  bool leaves_sums() const { return parts > 1 || by_library; }
};

Step next_step(const Stream& stream, const PackedMatrix& weight, int64_t rows_left, bool always_partials) {
  if (stream.cublaslt && weight.row_major && rows_left >= stream.library_rows) {
    const int64_t rows = std::min(rows_left, rows_of_partials(stream, 1, weight.outputs));
    const auto size = [](int64_t value) { return static_cast<int>(value); };
    if (stream.cublaslt->can_multiply(size(rows), size(weight.outputs), size(weight.inputs))) return {rows, 1, true};
  }
  int64_t rows = std::min(rows_left, most_rows);
  int parts = weight.type == WeightType::F32 ? 1 : slices_of(weight).slices;
  // If there are enough blocks to fill the device, each block computes all slices.
  const int64_t blocks = int64_t{tiles(rows, 64)} * tiles(weight.outputs, block_outputs);
  if (blocks >= std::max(stream.processors * 3 / 4, 1)) parts = 1;
  if (parts > 1 || always_partials) rows = std::min(rows, rows_of_partials(stream, parts, weight.outputs));
  return {rows, parts, false};
}

// The sums of step.rows rows: bare, into `partials`, or if that is nullptr through the epilogue.
void multiply(const Context& context, const PackedMatrix& weight, const void* input, const Step& step, float* partials,
              const LinearEpilogue& epilogue, bool wide) {
  const Stream& stream = *context.stream;
  const int rows = static_cast<int>(step.rows);
  const int outputs = static_cast<int>(weight.outputs), inputs = static_cast<int>(weight.inputs);
  if (weight.type == WeightType::F32) {
    const FloatLinear a{
        weight.data.as<float>(), static_cast<const float*>(input), rows, outputs, inputs, partials, epilogue};
    launch(linear_float_kernel,
           LaunchShape{dim3(tiles(rows, float_rows), tiles(outputs, float_outputs)), dim3(float_threads),
                       float_shared_bytes, stream.handle, "linear_float", true},
           a);
    return;
  }
  if (step.by_library) {
    stream.cublaslt->multiply(stream.handle, weight.row_major.as<void>(), input, rows, outputs, inputs, partials);
    return;
  }
  const InnerSlices slices = slices_of(weight);
  const TensorLinear a{weight.data.as<uint4>(),
                       static_cast<const __nv_bfloat16*>(input),
                       rows,
                       outputs,
                       inputs,
                       inputs % 8 == 0 && aligned_16(input),
                       wide,
                       slices,
                       scales_of(weight),
                       partials,
                       epilogue};
  with_weights(weight.type,
               [&](auto weights) { launch_slices<decltype(weights)>(stream, a, step.parts < slices.slices); });
}

template <bool wide>
void launch_reduce(const Stream& stream, const ReduceLinear& a) {
  const dim3 grid(static_cast<unsigned>(a.rows), tiles(a.outputs, reduce_outputs));
  launch(linear_reduce_kernel<wide>, LaunchShape{grid, dim3(reduce_threads), 0, stream.handle, "linear_reduce", true},
         a);
}

template <bool wide>
void launch_norm(const Stream& stream, const NormLinear& a) {
  launch(linear_norm_kernel<wide>,
         LaunchShape{dim3(static_cast<unsigned>(a.rows)), dim3(static_cast<unsigned>(norm_threads(a.width))),
                     norm_shared_bytes(a.width), stream.handle, "linear_norm", true},
         a);
}

const char* advance(const void* array, int64_t elements, int64_t element_bytes) {
  return static_cast<const char*>(array) + elements * element_bytes;
}
char* advance(void* array, int64_t elements, int64_t element_bytes) {
  return static_cast<char*>(array) + elements * element_bytes;
}

}  // namespace

void linear(const Context& context, const LinearArguments& arguments) {
  const PackedMatrix& weight = *arguments.weight;
  require_types(context, weight);
  const Stream& stream = *context.stream;
  const int64_t outputs = weight.outputs;
  const int64_t input_bytes = bytes_of(context.activations), output_bytes = bytes_of(arguments.output_type);
  const bool wide =
      outputs % 4 == 0 && aligned_16(arguments.output) && aligned_16(arguments.bias) && aligned_16(arguments.residual);

  for (int64_t first = 0; first < arguments.rows;) {
    const Step step = next_step(stream, weight, arguments.rows - first, false);
    const LinearEpilogue epilogue{arguments.bias,
                                  arguments.residual != nullptr ? arguments.residual + first * outputs : nullptr,
                                  advance(arguments.output, first * outputs, output_bytes), arguments.gelu,
                                  arguments.output_type == ValueType::BF16};
    const char* input = advance(arguments.input, first * weight.inputs, input_bytes);
    multiply(context, weight, input, step, step.leaves_sums() ? stream.partials : nullptr, epilogue, wide);
    if (step.leaves_sums()) {
      const ReduceLinear sums{stream.partials,           step.parts,        static_cast<int>(step.rows),
                              static_cast<int>(outputs), scales_of(weight), epilogue};
      wide ? launch_reduce<true>(stream, sums) : launch_reduce<false>(stream, sums);
    }
    first += step.rows;
  }
}

void linear_norm(const Context& context, const LinearNormArguments& arguments) {
  const PackedMatrix& weight = *arguments.weight;
  require_types(context, weight);
  const Stream& stream = *context.stream;
  const int64_t width = weight.outputs;
  const int64_t value_bytes = bytes_of(context.activations);
  const bool wide = width % 4 == 0 && aligned_16(arguments.bias) && aligned_16(arguments.gain) &&
                    aligned_16(arguments.shift) && aligned_16(arguments.states) && aligned_16(arguments.normed);

  for (int64_t first = 0; first < arguments.rows;) {
    const Step step = next_step(stream, weight, arguments.rows - first, true);
    const char* input = advance(arguments.input, first * weight.inputs, value_bytes);
    multiply(context, weight, input, step, stream.partials, LinearEpilogue{}, wide);
    const NormLinear sums{stream.partials,
                          step.parts,
                          static_cast<int>(step.rows),
                          static_cast<int>(width),
                          scales_of(weight),
                          arguments.bias,
                          arguments.gain,
                          arguments.shift,
                          arguments.epsilon,
                          arguments.placement == NormPlacement::Post,
                          arguments.states + first * width,
                          advance(arguments.normed, first * width, value_bytes),
                          context.activations == ValueType::BF16};
    wide ? launch_norm<true>(stream, sums) : launch_norm<false>(stream, sums);
    first += step.rows;
  }
}

}  // namespace mask_predict::cuda
