// Tests how cuBLASLt is found and called (cuda/cublaslt.cu, ops/linear/linear_cuda.cu) with a stand-in for it
// (cublaslt_stand_in.cpp), which the environment variable MASK_PREDICT_CUBLASLT names: every epilogue against sums in
// double, plans that are made once, products in a CUDA graph, and what happens without the library.
#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "linear_problem.h"

namespace mask_predict {
namespace {

using Count = int64_t (*)();

// Reads a counter of the stand-in; looked up in the library that is already loaded.
int64_t counted(const char* name) {
  void* library = dlopen(std::getenv("MASK_PREDICT_CUBLASLT"), RTLD_NOW);
  const auto count = reinterpret_cast<Count>(dlsym(library, name));
  return count != nullptr ? count() : -1;
}

struct LibraryProblem : Problem {
  std::string note;

  LibraryProblem(int64_t rows, int64_t outputs, int64_t inputs) : Problem(rows, outputs, inputs, ValueType::BF16) {
    check(cudaStreamCreateWithFlags(&stream.handle, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    stream.cublaslt = cuda::CublasLt::find(note);
    matrix.row_major = Buffer(static_cast<uint64_t>(outputs * inputs * 2), nullptr, "a test", device_memory, nullptr);
    cuda::copy_row_major(context, matrix);
  }
  ~LibraryProblem() {
    stream.cublaslt = nullptr;
    cudaStreamDestroy(stream.handle);
  }
};

struct Epilogue {
  bool gelu, residual;
  ValueType output;
};

void expect_near(const LibraryProblem& p, const std::vector<uint8_t>& output, const Epilogue& e, const char* what) {
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t out = 0; out < p.outputs; ++out) {
      double bound;
      double wanted = p.product(row, out, bound) + static_cast<double>(p.bias[static_cast<size_t>(out)]);
      bound += 4 * 0x1p-24 * (std::fabs(wanted) + 2);
      if (e.gelu) wanted = 0.5 * wanted * (1 + std::erf(wanted * std::sqrt(0.5))), bound = 1.13 * bound + 0x1p-21;
      if (e.residual) wanted += static_cast<double>(p.residual[static_cast<size_t>(row * p.outputs + out)]);
      bound += (std::fabs(wanted) + bound) * rounding(e.output);
      const double got = value_at(output, row * p.outputs + out, e.output);
      if (std::fabs(got - wanted) <= bound) continue;  // false for NaN
      expect(false, std::string(what) + " of " + p.name() + ": [" + std::to_string(row) + ", " + std::to_string(out) +
                        "] is " + std::to_string(got) + ", not " + std::to_string(wanted));
      return;
    }
  }
}

// `times`: put into the stream as often, after the first as a CUDA graph.
std::vector<uint8_t> run_linear(const LibraryProblem& p, const Epilogue& e, int times) {
  const DeviceArray<uint32_t> output(static_cast<size_t>((p.rows * p.outputs * bytes_of(e.output) + 3) / 4));
  const DeviceArray<float> residual(p.residual);
  const auto put = [&] {
    cuda::linear(p.context, {p.device_input.data, p.rows, &p.matrix, p.device_bias.data, e.gelu,
                             e.residual ? residual.data : nullptr, output.data, e.output});
  };
  put();
  if (times > 1) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    check(cudaStreamBeginCapture(p.stream.handle, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    put();
    check(cudaStreamEndCapture(p.stream.handle, &graph), "cudaStreamEndCapture");
    check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    cudaGraphDestroy(graph);
    for (int i = 1; i < times; ++i) check(cudaGraphLaunch(executable, p.stream.handle), "cudaGraphLaunch");
    check(cudaStreamSynchronize(p.stream.handle), "cudaStreamSynchronize");
    cudaGraphExecDestroy(executable);
  }
  check(cudaStreamSynchronize(p.stream.handle), "cudaStreamSynchronize");
  const size_t element = static_cast<size_t>(bytes_of(e.output));
  simt::require_written(output.data, static_cast<size_t>(p.rows * p.outputs), element, "output of " + p.name());
  std::vector<uint8_t> bytes(static_cast<size_t>(p.rows * p.outputs) * element);
  check(cudaMemcpy(bytes.data(), output.data, bytes.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return bytes;
}

void test_products() {
  LibraryProblem p(130, 80, 160);
  expect(p.note == "products of many rows by cuBLASLt 13.1.2", p.note);
  const int64_t planned = counted("stand_in_suggestions"), done = counted("stand_in_products");
  int products = 0;
  for (const Epilogue& e : {Epilogue{false, false, ValueType::BF16},
                            {true, false, ValueType::BF16},
                            {false, true, ValueType::F32},
                            {true, true, ValueType::F32}}) {
    const int times = e.gelu ? 3 : 1;
    expect_near(p, run_linear(p, e, times), e, "linear");
    products += times;
  }
  expect(counted("stand_in_products") - done == products, "every product is the library's");
  expect(counted("stand_in_suggestions") - planned == 1, "one size is planned once");
}

void test_norm() {
  const LibraryProblem p(128, 96, 64);
  const int64_t done = counted("stand_in_products");
  const DeviceArray<float> states(p.residual);
  const DeviceArray<uint16_t> normed(p.residual.size());
  cuda::linear_norm(p.context, {p.device_input.data, p.rows, &p.matrix, p.device_bias.data, NormPlacement::Pre,
                                p.device_gain.data, p.device_shift.data, 1e-5f, states.data, normed.data});
  const std::vector<float> sums = states.results("states");
  normed.results("normed");
  std::vector<uint8_t> bytes(sums.size() * 4);
  std::memcpy(bytes.data(), sums.data(), bytes.size());
  expect_near(p, bytes, {false, true, ValueType::F32}, "linear_norm");
  expect(counted("stand_in_products") - done == 1, "linear_norm's product is the library's");
}

// Few rows, sizes it cannot read, and matrices without a copy are our own kernels'.
void test_what_stays() {
  const int64_t done = counted("stand_in_products");
  const Epilogue e{false, false, ValueType::F32};
  const LibraryProblem few(127, 32, 32), odd_inputs(128, 32, 37), odd_outputs(128, 33, 32);
  LibraryProblem no_copy(128, 32, 32);
  no_copy.matrix.row_major = Buffer();
  for (const LibraryProblem* p : {&few, &odd_inputs, &odd_outputs, static_cast<const LibraryProblem*>(&no_copy)})
    expect_near(*p, run_linear(*p, e, 1), e, "linear");
  expect(counted("stand_in_products") == done, "nothing of this is the library's");
}

void test_missing() {
  const std::string path = std::getenv("MASK_PREDICT_CUBLASLT");
  std::string note;
  setenv("MASK_PREDICT_CUBLASLT", "/nowhere/libcublasLt.so", 1);
  expect(cuda::CublasLt::find(note) == nullptr, "there is no such library");
  expect(note.find("was not found (/nowhere/libcublasLt.so)") != std::string::npos, note);
  setenv("MASK_PREDICT_CUBLASLT", "libpthread.so.0", 1);  // a library, but another one
  expect(cuda::CublasLt::find(note) == nullptr, "that is not the library");
  expect(note.find("does not work") != std::string::npos, note);
  setenv("MASK_PREDICT_CUBLASLT", path.c_str(), 1);
}

}  // namespace
}  // namespace mask_predict

int main(int count, char** arguments) {
  using namespace mask_predict;
  if (std::getenv("MASK_PREDICT_CUBLASLT") == nullptr) {
    std::printf("MASK_PREDICT_CUBLASLT must name the stand-in\n");
    return 1;
  }
  return run_tests(count, arguments, [] {
    test_products();
    test_norm();
    test_what_stays();
    test_missing();
  });
}
