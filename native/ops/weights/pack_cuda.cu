// Packs weights for a CUDA device (ops/weights/packed_layout.h): some megabytes at a time are put into order on the host, by the
// context's threads if it has any, and copied.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/thread_pool.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/weights/packed_layout.h"
#include "ops/weights/packed_matrix.h"
#include "ops/weights/quantize.h"

namespace mask_predict::cuda {
namespace {

constexpr int64_t staging_bytes = 16 << 20;

void require_kept(WeightType type) {
  if (type != WeightType::F16) return;
  throw Error(ErrorCode::Device, "float16 weights are kept as bfloat16 or float32 on a CUDA device");
}

// Copies and waits: the host's memory may be changed, or read, when it returns.
void copy_now(const Stream& stream, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  check(cudaMemcpyAsync(to, from, bytes, kind, stream.handle), "cudaMemcpyAsync of weights");
  check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize after a copy of weights");
}

// body(i) for i from 0 to count - 1.
template <class Body>
void for_each(const Context& context, int64_t count, const Body& body) {
  const auto range = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) body(i);
  };
  context.pool != nullptr ? context.pool->parallel_for(count, 1, range) : range(0, count, 0);
}

void pack_floats(const Context& context, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  const int64_t inputs = matrix.inputs;
  const int64_t slice = std::clamp<int64_t>(staging_bytes / std::max<int64_t>(inputs * 4, 1), 1, count);
  std::vector<float> staging(static_cast<size_t>(slice * inputs));
  for (int64_t row = 0; row < count; row += slice) {
    const int64_t rows = std::min(slice, count - row);
    for_each(context, rows, [&](int64_t i) {
      float* to = staging.data() + i * inputs;
      if (source.value == nullptr && source.type == WeightType::F32) {
        const auto bytes = static_cast<size_t>(inputs) * sizeof(float);
        std::memcpy(to, static_cast<const char*>(source.values) + (row + i) * inputs * 4, bytes);
      } else {
        for (int64_t k = 0; k < inputs; ++k) to[k] = source.at(row + i, k, inputs);
      }
    });
    copy_now(*context.stream, matrix.data.as<float>() + (first + row) * inputs, staging.data(),
             static_cast<size_t>(rows * inputs) * sizeof(float), cudaMemcpyHostToDevice);
  }
}

// A row to pack: element k of output `from` of the source goes to band[places[k]].
struct RowToPack {
  const PackSource& source;
  int64_t from;
  int64_t inputs;
  const std::vector<int64_t>& places;
};

void pack_row(const RowToPack& row, uint16_t* band) {
  const int64_t inputs = row.inputs;
  if (row.source.value == nullptr && row.source.type == WeightType::BF16) {
    const char* values = static_cast<const char*>(row.source.values) + row.from * inputs * 2;
    for (int64_t k = 0; k < inputs; ++k) {
      std::memcpy(band + row.places[static_cast<size_t>(k)], values + k * 2, sizeof(uint16_t));
    }
  } else {
    for (int64_t k = 0; k < inputs; ++k) {
      band[row.places[static_cast<size_t>(k)]] = float_to_bf16(row.source.at(row.from, k, inputs));
    }
  }
}

// Returns the row's scale.
float pack_row(const RowToPack& row, WeightType type, uint8_t* band) {
  std::vector<float> values(static_cast<size_t>(row.inputs));
  std::vector<uint8_t> bytes(values.size());
  for (int64_t k = 0; k < row.inputs; ++k) values[static_cast<size_t>(k)] = row.source.at(row.from, k, row.inputs);
  const float scale = quantize_row(type, values.data(), row.inputs, bytes.data());
  for (size_t k = 0; k < bytes.size(); ++k) band[row.places[k]] = bytes[k];
  return scale;
}

// A band of 16 outputs is one piece of memory. Bands that this call fills only in part are fetched first, because
// another call may have filled the rest of them.
void pack_bands(const Context& context, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  const Stream& stream = *context.stream;
  const int64_t inputs = matrix.inputs, element = bytes_of(matrix.type);
  const bool are_bytes = element == 1;
  const auto index_of = are_bytes ? byte_index : fragment_index;
  const int64_t band = 16 * (are_bytes ? round_up(inputs, 32) : round_up(inputs, 16)) * element;  // bytes
  const int64_t first_band = first / 16, end_band = (first + count + 15) / 16, end = first + count;
  const int64_t slice = std::clamp<int64_t>(staging_bytes / band, 1, end_band - first_band);
  std::vector<uint8_t> staging(static_cast<size_t>(slice * band));
  std::vector<float> scales(static_cast<size_t>(are_bytes ? count : 0));
  // An element's index is that of its output plus that of its input.
  std::vector<int64_t> places(static_cast<size_t>(inputs));
  for (int64_t k = 0; k < inputs; ++k) places[static_cast<size_t>(k)] = index_of(0, k, inputs);

  for (int64_t band_of_slice = first_band; band_of_slice < end_band; band_of_slice += slice) {
    const int64_t bands = std::min(slice, end_band - band_of_slice);
    const int64_t begin_output = band_of_slice * 16;
    const int64_t end_output = std::min(begin_output + bands * 16, matrix.outputs);
    const size_t bytes = static_cast<size_t>(bands * band);
    uint8_t* device = matrix.data.as<uint8_t>() + band_of_slice * band;
    if (begin_output < first || end_output > end) {
      copy_now(stream, staging.data(), device, bytes, cudaMemcpyDeviceToHost);
    } else {
      std::memset(staging.data(), 0, bytes);
    }
    const int64_t from = std::max(begin_output, first);
    for_each(context, std::min(end_output, end) - from, [&](int64_t i) {
      const int64_t output = from + i;
      uint8_t* to = staging.data() + index_of(output - begin_output, 0, inputs) * element;
      const RowToPack row{source, output - first, inputs, places};
      if (are_bytes) {
        scales[static_cast<size_t>(output - first)] = pack_row(row, matrix.type, to);
      } else {
        pack_row(row, reinterpret_cast<uint16_t*>(to));
      }
    });
    copy_now(stream, device, staging.data(), bytes, cudaMemcpyHostToDevice);
  }
  if (are_bytes)
    copy_now(stream, const_cast<float*>(scales_of(matrix)) + first, scales.data(), scales.size() * sizeof(float),
             cudaMemcpyHostToDevice);
}

// A block for each row of the copy.
constexpr int row_major_threads = 128;

__global__ void __launch_bounds__(row_major_threads)
    row_major_kernel(const uint16_t* fragments, int64_t inputs, uint16_t* row_major) {
  const int64_t output = blockIdx.x;
  for (int64_t k = threadIdx.x; k < inputs; k += row_major_threads)
    store_global(row_major + output * inputs + k, load_global(fragments + fragment_index(output, k, inputs)));
}

// One block per output of the subset; its threads take the inputs in turn.
constexpr int select_threads = 128;

__global__ void __launch_bounds__(select_threads)
    select_rows_kernel(const float* matrix, const int32_t* outputs, int64_t inputs, float* subset) {
  wait_for_earlier_kernels();
  const int64_t from = load_global(outputs + blockIdx.x), to = blockIdx.x;
  for (int64_t k = threadIdx.x; k < inputs; k += select_threads)
    store_global(subset + to * inputs + k, load_global(matrix + from * inputs + k));
}

__global__ void __launch_bounds__(select_threads)
    select_fragments_kernel(const uint16_t* matrix, const int32_t* outputs, int64_t inputs, uint16_t* subset) {
  wait_for_earlier_kernels();
  const int64_t from = load_global(outputs + blockIdx.x), to = blockIdx.x;
  for (int64_t k = threadIdx.x; k < inputs; k += select_threads)
    store_global(subset + fragment_index(to, k, inputs), load_global(matrix + fragment_index(from, k, inputs)));
}

__global__ void __launch_bounds__(select_threads)
    select_bytes_kernel(const uint8_t* matrix, const float* scales, const int32_t* outputs, int64_t inputs,
                        uint8_t* subset, float* subset_scales) {
  wait_for_earlier_kernels();
  const int64_t from = load_global(outputs + blockIdx.x), to = blockIdx.x;
  for (int64_t k = threadIdx.x; k < inputs; k += select_threads)
    store_global(subset + byte_index(to, k, inputs), load_global(matrix + byte_index(from, k, inputs)));
  if (threadIdx.x == 0) store_global(subset_scales + to, load_global(scales + from));
}

}  // namespace

int64_t packed_bytes(WeightType type, int64_t outputs, int64_t inputs) {
  require_kept(type);
  if (type == WeightType::F32) return outputs * inputs * 4;
  if (type == WeightType::BF16) return round_up(outputs, 16) * round_up(inputs, 16) * 2;
  return round_up(outputs, 16) * (round_up(inputs, 32) + static_cast<int64_t>(sizeof(float)));
}

void pack(const Context& context, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  require_kept(matrix.type);
  if (count == 0 || matrix.inputs == 0) return;
  const auto pack_rows = matrix.type == WeightType::F32 ? pack_floats : pack_bands;
  pack_rows(context, source, first, count, matrix);
}

void copy_row_major(const Context& context, const PackedMatrix& matrix) {
  const auto outputs = static_cast<unsigned>(matrix.outputs);
  launch(row_major_kernel, {dim3(outputs), dim3(row_major_threads), 0, context.stream->handle, "row_major"},
         matrix.data.as<const uint16_t>(), matrix.inputs, matrix.row_major.as<uint16_t>());
}

void select_outputs(const Context& context, const PackedMatrix& matrix, const int32_t* outputs, PackedMatrix& subset) {
  if (subset.outputs == 0) return;
  const LaunchShape shape{dim3(static_cast<unsigned>(subset.outputs)),
                          dim3(select_threads),
                          0,
                          context.stream->handle,
                          "select_outputs",
                          true};
  if (bytes_of(matrix.type) == 1) {
    launch(select_bytes_kernel, shape, matrix.data.as<const uint8_t>(), scales_of(matrix), outputs, matrix.inputs,
           subset.data.as<uint8_t>(), const_cast<float*>(scales_of(subset)));
  } else if (matrix.type == WeightType::BF16) {
    launch(select_fragments_kernel, shape, matrix.data.as<const uint16_t>(), outputs, matrix.inputs,
           subset.data.as<uint16_t>());
  } else {
    launch(select_rows_kernel, shape, matrix.data.as<const float>(), outputs, matrix.inputs, subset.data.as<float>());
  }
}

}  // namespace mask_predict::cuda
