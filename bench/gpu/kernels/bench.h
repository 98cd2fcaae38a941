// Code that the kernel benchmarks share: values that the host can compute again, device arrays, times, reports.
//
// A time is that of one call in a graph that is launched again and again: no host between the calls. A call's large operands are
// others than those of the calls before it, together more than the L2 cache holds, so that they come from memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/context.h"
#include "ops/weights/packed_layout.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict::bench {

// More than this in turn is not in the L2 cache of any device any more.
inline constexpr int64_t cold_bytes = int64_t{320} << 20;

// Element `index` of the array with number `seed`: whole multiples of `scale` from -127 to 127, which bfloat16
// holds exactly; the standard deviation is 73 times `scale`.
MASK_PREDICT_HOST_DEVICE inline float value_of(uint64_t seed, uint64_t index, float scale) {
  uint64_t x = seed * 0x9e3779b97f4a7c15u + index;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<float>(static_cast<int>((x >> 33) % 255) - 127) * scale;
}

struct Bench {
  bool tiny = false;  // sizes for a rehearsal
  std::shared_ptr<cuda::Stream> stream;
  Context context;  // bfloat16 activations
};

void fill_bf16(const Bench& bench, void* values, int64_t count, uint64_t seed, float scale);
void fill_floats(const Bench& bench, float* values, int64_t count, uint64_t seed, float scale);

// An array of the device.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(int64_t count) : count_(count) {
    void* data = nullptr;
    cuda::check(cudaMalloc(&data, bytes()), "cudaMalloc of " + std::to_string(bytes()) + " bytes");
    data_ = std::shared_ptr<void>(data, [](void* memory) { cudaFree(memory); });
  }
  explicit Array(const std::vector<T>& values) : Array(static_cast<int64_t>(values.size())) {
    cuda::check(cudaMemcpy(data_.get(), values.data(), bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
    // The copy is in the legacy stream and may end after the call; the bench's stream would not wait for it.
    cuda::check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  }
  T* get() const { return static_cast<T*>(data_.get()); }
  operator T*() const { return get(); }
  int64_t count() const { return count_; }
  size_t bytes() const { return static_cast<size_t>(count_) * sizeof(T); }
  // After everything in the stream.
  std::vector<T> host(const Bench& bench) const {
    std::vector<T> values(static_cast<size_t>(count_));
    cuda::check(cudaStreamSynchronize(bench.stream->handle), "cudaStreamSynchronize");
    cuda::check(cudaMemcpy(values.data(), data_.get(), bytes(), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  std::shared_ptr<void> data_;
  int64_t count_ = 0;
};

// A matrix with value_of(seed, its place in memory): whole steps of `scale`, or for fp8 the bytes of that number.
PackedMatrix random_matrix(const Bench& bench, int64_t outputs, int64_t inputs, uint64_t seed, float scale,
                           WeightType type = WeightType::BF16);
// Its element.
float matrix_value(const PackedMatrix& matrix, int64_t output, int64_t input, uint64_t seed, float scale);

// The contestant that multiplies by weights of a type, in reports.
inline const char* who_with(WeightType type) {
  return type == WeightType::I8 ? "ours, int8" : type == WeightType::F8 ? "ours, fp8" : "ours";
}

struct Times {
  double median, low, high;  // microseconds of one call; the quartiles over replays
  int replays;
};
// Captures call(0) ... call(count - 1) in a graph and launches it.
Times time_calls(const Bench& bench, int count, const std::function<void(int)>& call);

// One JSON object on one line of the output: `fields` is its inside.
void report(const std::string& fields, const Times& times, const char* who = "ours");
void report(const std::string& fields, const char* who = "ours");
// "name":value
std::string field(const char* name, double value);
std::string field(const char* name, int64_t value);
std::string field(const char* name, const std::string& value);

// Says so, and makes the program exit with 1, unless value <= bound.
extern int failures;
void require(const std::string& what, double value, double bound);

// The largest of |got - wanted| / (|wanted| + scale) of what was compared; NaN if anything was NaN.
class Deviation {
 public:
  explicit Deviation(double scale) : scale_(scale) {}
  void compare(double got, double wanted);
  double worst() const { return worst_; }

 private:
  double scale_, worst_ = 0;
};

void measure(const Bench& bench);
void linear(const Bench& bench);
void attention(const Bench& bench);
void head(const Bench& bench);
void remask(const Bench& bench);
void bits(const Bench& bench);
void thresholds(const Bench& bench);

}  // namespace mask_predict::bench
