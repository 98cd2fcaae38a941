// Products of many rows by NVIDIA's cuBLASLt, which chooses an algorithm, and with it the order of additions, by the
// number of rows: only for engines that were asked not to be deterministic. The library is not linked but looked up
// when a device is opened; without it the project's own kernels do everything.
//
// It leaves bare float32 sums, and the kernels that add up slices (linear_reduce.cuh) do the rest: its own GELU is the
// tanh form, and its biases have the type of the output, while ours are float32.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "cuda/platform.h"

namespace mask_predict::cuda {

class CublasLt {
 public:
  // From the file that the environment variable MASK_PREDICT_CUBLASLT names, else from where the system finds
  // libcublasLt.so.13, .12 or without a version. nullptr if there is none; `note` then says what was looked for,
  // otherwise what was found. Throws Error(OutOfMemory).
  static std::unique_ptr<CublasLt> find(std::string& note);
  ~CublasLt();

  // True if it can multiply matrices of these sizes; all pointers are aligned to 16 bytes. The first call plans the
  // product and must not happen while the stream is captured.
  bool can_multiply(int rows, int outputs, int inputs);
  // sums[rows, outputs] = input[rows, inputs] . weights[outputs, inputs]ᵀ, for sizes it can multiply.
  void multiply(cudaStream_t stream, const void* weights, const void* input, int rows, int outputs, int inputs,
                float* sums);

 private:
  struct Functions;
  struct Plan;
  CublasLt() = default;
  Plan make_plan(int rows, int outputs, int inputs);

  std::unique_ptr<Functions> functions_;
  void* handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<std::tuple<int, int, int>, Plan> plans_;
};

}  // namespace mask_predict::cuda
