// Packs weights for a CUDA device (cuda/packed_layout.h): a few megabytes at a time are put into order on the host
// and copied.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda/packed_layout.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/packed_matrix.h"

namespace mask_predict::cuda {
namespace {

constexpr int64_t staging_bytes = 4 << 20;

void require_kept(WeightType type) {
  if (type == WeightType::F16)
    throw Error(ErrorCode::Device, "float16 weights are kept as bfloat16 or float32 on a CUDA device");
  if (type == WeightType::I8) throw Error(ErrorCode::Device, "int8 weights are not available on a CUDA device");
}

// Copies and waits: the host's memory may be changed, or read, when it returns.
void copy_now(const Stream& stream, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  check(cudaMemcpyAsync(to, from, bytes, kind, stream.handle), "cudaMemcpyAsync of weights");
  check(cudaStreamSynchronize(stream.handle), "cudaStreamSynchronize after a copy of weights");
}

void pack_floats(const Stream& stream, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  const int64_t inputs = matrix.inputs;
  const int64_t slice = std::clamp<int64_t>(staging_bytes / std::max<int64_t>(inputs * 4, 1), 1, count);
  std::vector<float> staging(static_cast<size_t>(slice * inputs));
  for (int64_t row = 0; row < count; row += slice) {
    const int64_t rows = std::min(slice, count - row);
    const size_t bytes = static_cast<size_t>(rows * inputs) * sizeof(float);
    if (source.value == nullptr && source.type == WeightType::F32) {
      std::memcpy(staging.data(), static_cast<const char*>(source.values) + row * inputs * 4, bytes);
    } else {
      float* next = staging.data();
      for (int64_t i = row; i < row + rows; ++i) {
        for (int64_t k = 0; k < inputs; ++k) *next++ = source.at(i, k, inputs);
      }
    }
    copy_now(stream, matrix.data.as<float>() + (first + row) * inputs, staging.data(), bytes, cudaMemcpyHostToDevice);
  }
}

// A band of 16 outputs is one piece of memory. Bands that this call fills only in part are fetched first, because
// another call may have filled the rest of them.
void pack_bands(const Stream& stream, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  const int64_t inputs = matrix.inputs;
  const int64_t band = 16 * rounded_up(inputs);  // elements
  const int64_t first_band = first / 16, end_band = (first + count + 15) / 16, end = first + count;
  const int64_t slice = std::clamp<int64_t>(staging_bytes / (band * 2), 1, end_band - first_band);
  std::vector<uint16_t> staging(static_cast<size_t>(slice * band));
  // An element's index is that of its output plus that of its input.
  std::vector<int64_t> places(static_cast<size_t>(inputs));
  for (int64_t k = 0; k < inputs; ++k) places[static_cast<size_t>(k)] = fragment_index(0, k, inputs);

  for (int64_t band_of_slice = first_band; band_of_slice < end_band; band_of_slice += slice) {
    const int64_t bands = std::min(slice, end_band - band_of_slice);
    const int64_t begin_output = band_of_slice * 16;
    const int64_t end_output = std::min(begin_output + bands * 16, matrix.outputs);
    const size_t bytes = static_cast<size_t>(bands * band) * sizeof(uint16_t);
    uint16_t* device = matrix.data.as<uint16_t>() + band_of_slice * band;
    if (begin_output < first || end_output > end) {
      copy_now(stream, staging.data(), device, bytes, cudaMemcpyDeviceToHost);
    } else {
      std::memset(staging.data(), 0, bytes);
    }
    for (int64_t output = std::max(begin_output, first); output < std::min(end_output, end); ++output) {
      uint16_t* row = staging.data() + fragment_index(output - begin_output, 0, inputs);
      const int64_t from = output - first;
      if (source.value == nullptr && source.type == WeightType::BF16) {
        const char* values = static_cast<const char*>(source.values) + from * inputs * 2;
        for (int64_t k = 0; k < inputs; ++k) {
          std::memcpy(row + places[static_cast<size_t>(k)], values + k * 2, sizeof(uint16_t));
        }
      } else {
        for (int64_t k = 0; k < inputs; ++k) {
          row[places[static_cast<size_t>(k)]] = float_to_bf16(source.at(from, k, inputs));
        }
      }
    }
    copy_now(stream, device, staging.data(), bytes, cudaMemcpyHostToDevice);
  }
}

// A block for each row of the copy.
constexpr int plain_threads = 128;

__global__ void __launch_bounds__(plain_threads)
    plain_rows_kernel(const uint16_t* fragments, int64_t inputs, uint16_t* plain) {
  const int64_t output = blockIdx.x;
  for (int64_t k = threadIdx.x; k < inputs; k += plain_threads)
    store_global(plain + output * inputs + k, load_global(fragments + fragment_index(output, k, inputs)));
}

}  // namespace

int64_t packed_bytes(WeightType type, int64_t outputs, int64_t inputs) {
  require_kept(type);
  return type == WeightType::F32 ? outputs * inputs * 4 : rounded_up(outputs) * rounded_up(inputs) * 2;
}

void pack(const Context& context, const PackSource& source, int64_t first, int64_t count, PackedMatrix& matrix) {
  require_kept(matrix.type);
  if (count == 0 || matrix.inputs == 0) return;
  const auto pack_rows = matrix.type == WeightType::F32 ? pack_floats : pack_bands;
  pack_rows(*context.stream, source, first, count, matrix);
}

void copy_plainly(const Context& context, const PackedMatrix& matrix) {
  const auto outputs = static_cast<unsigned>(matrix.outputs);
  launch(plain_rows_kernel, {dim3(outputs), dim3(plain_threads), 0, context.stream->handle, "plain_rows"},
         matrix.data.as<const uint16_t>(), matrix.inputs, matrix.plain.as<uint16_t>());
}

}  // namespace mask_predict::cuda
