// Code that the tests of single operations share: arrays of the emulated device, and a list of failures.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cuda/platform.h"
#include "cuda/stream.h"
#include "ops/context.h"
#include "simt/simt.h"

namespace mask_predict {

inline constexpr simt::Schedule all_schedules[] = {
    {simt::Order::RoundRobin, 0}, {simt::Order::Ahead, 0}, {simt::Order::Random, 1}, {simt::Order::Random, 2}};

inline int failures = 0;

inline bool expect(bool condition, const std::string& what) {
  if (condition) return true;
  if (++failures <= 20) std::printf("FAILED: %s\n", what.c_str());
  return false;
}

// Memory of the device. Fresh memory says of itself that nothing was written to it.
template <class T>
struct DeviceArray {
  T* data = nullptr;
  size_t count;

  explicit DeviceArray(size_t count) : count(count) {
    cuda::check(cudaMalloc(&data, (count == 0 ? 1 : count) * sizeof(T)), "cudaMalloc");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    if (count > 0)
      cuda::check(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    // A stream of a test need not wait for the legacy one, which the copy is in.
    cuda::check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  }
  DeviceArray(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data); }

  std::vector<T> get() const {
    std::vector<T> values(count);
    if (count > 0)
      cuda::check(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }
  // Waits, and throws where an element was not written.
  std::vector<T> results(const char* what) const {
    cuda::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    if (count > 0) simt::require_written(data, count, sizeof(T), what);
    return get();
  }
};

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Runs the tests, says how they went, and with the argument "report" how memory was accessed.
template <class Tests>
int run_tests(int argument_count, char** arguments, const Tests& tests) {
  const auto start = std::chrono::steady_clock::now();
  try {
    tests();
  } catch (const Error& error) {
    expect(false, error.what());
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (argument_count > 1 && std::string(arguments[1]) == "report") std::printf("%s", simt::report().c_str());
  std::printf("%s in %.1f s\n", failures > 0 ? "FAILED" : "passed", seconds.count());
  return failures > 0 ? 1 : 0;
}

}  // namespace mask_predict
