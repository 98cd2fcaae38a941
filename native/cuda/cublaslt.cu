// The few functions and numbers of cublasLt.h that are needed, declared here so that building needs no cuBLAS. They
// are part of its binary interface and the same from version 11 on.
#include "cuda/cublaslt.h"

#include <dlfcn.h>

#include <cstdlib>

namespace mask_predict::cuda {
namespace {

constexpr size_t workspace_bytes = 32 << 20;  // what NVIDIA recommends for sm_90

constexpr int type_float = 0, type_bfloat16 = 14;  // cudaDataType_t
constexpr int compute_float = 68;                  // cublasComputeType_t: float32 sums, no TF32
constexpr int32_t transposed = 1;                  // cublasOperation_t
constexpr int description_transposes_a = 3;        // cublasLtMatmulDescAttributes_t
// cublasLtMatmulPreferenceAttributes_t; the least alignments of A, B, C and D follow each other
constexpr int preference_workspace = 1, preference_alignments = 5;

struct Algorithm {  // cublasLtMatmulAlgo_t
  uint64_t data[8];
};

struct Suggestion {  // cublasLtMatmulHeuristicResult_t
  Algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Suggestion) == 96);

}  // namespace

// Opaque objects are void*; 0 is success.
struct CublasLt::Functions {
  void* library = nullptr;
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  size_t (*version)();
  int (*create_description)(void** description, int compute, int scale_type);
  int (*set_description)(void* description, int attribute, const void* value, size_t bytes);
  int (*destroy_description)(void* description);
  int (*create_layout)(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading_dimension);
  int (*destroy_layout)(void* layout);
  int (*create_preference)(void** preference);
  int (*set_preference)(void* preference, int attribute, const void* value, size_t bytes);
  int (*destroy_preference)(void* preference);
  int (*suggest)(void* handle, void* description, void* a, void* b, void* c, void* d, void* preference, int wanted,
                 Suggestion* suggestions, int* found);
  int (*multiply)(void* handle, void* description, const void* alpha, const void* a, void* a_layout, const void* b,
                  void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                  const Algorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream);

  // Looks up all of them. False if the library lacks one.
  bool look_up() {
    bool all = true;
    const auto find = [&](auto& function, const char* name) {
      void* const symbol = dlsym(library, name);
      all = all && symbol != nullptr;
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
    };
    find(create, "cublasLtCreate");
    find(destroy, "cublasLtDestroy");
    find(version, "cublasLtGetVersion");
    find(create_description, "cublasLtMatmulDescCreate");
    find(set_description, "cublasLtMatmulDescSetAttribute");
    find(destroy_description, "cublasLtMatmulDescDestroy");
    find(create_layout, "cublasLtMatrixLayoutCreate");
    find(destroy_layout, "cublasLtMatrixLayoutDestroy");
    find(create_preference, "cublasLtMatmulPreferenceCreate");
    find(set_preference, "cublasLtMatmulPreferenceSetAttribute");
    find(destroy_preference, "cublasLtMatmulPreferenceDestroy");
    find(suggest, "cublasLtMatmulAlgoGetHeuristic");
    find(multiply, "cublasLtMatmul");
    return all;
  }
};

// How one size is multiplied. Matrices are column-major there: a row-major [rows, columns] is a [columns, rows].
struct CublasLt::Plan {
  void* description = nullptr;
  void* weights = nullptr;
  void* input = nullptr;
  void* sums = nullptr;
  Algorithm algorithm{};
  bool possible = false;
};

std::unique_ptr<CublasLt> CublasLt::find(std::string& note) {
  std::unique_ptr<CublasLt> found(new CublasLt);
  found->functions_ = std::make_unique<Functions>();
  Functions& functions = *found->functions_;
  const char* named = std::getenv("MASK_PREDICT_CUBLASLT");
  std::string looked_for;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
    if (named != nullptr) name = named;
    looked_for += (looked_for.empty() ? "" : ", ") + std::string(name);
    functions.library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (functions.library != nullptr || named != nullptr) break;
  }
  if (functions.library == nullptr) {
    note = "cuBLASLt was not found (" + looked_for + "): deterministic: false makes no difference";
    return nullptr;
  }
  if (!functions.look_up() || functions.create(&found->handle_) != 0) {
    note = "cuBLASLt does not work (" + looked_for + "): deterministic: false makes no difference";
    return nullptr;
  }
  check(cudaMalloc(&found->workspace_, workspace_bytes), "cudaMalloc of cuBLASLt's workspace");
  const size_t version = functions.version();
  note = "products of many rows by cuBLASLt " + std::to_string(version / 10000) + "." +
         std::to_string(version / 100 % 100) + "." + std::to_string(version % 100);
  return found;
}

// The library itself stays loaded: it has threads and state of its own.
CublasLt::~CublasLt() {
  for (auto& [sizes, plan] : plans_) {
    functions_->destroy_description(plan.description);
    for (void* layout : {plan.weights, plan.input, plan.sums}) functions_->destroy_layout(layout);
  }
  if (handle_ != nullptr && functions_->destroy != nullptr) functions_->destroy(handle_);
  cudaFree(workspace_);
}

CublasLt::Plan CublasLt::make_plan(int rows, int outputs, int inputs) {
  const Functions& f = *functions_;
  const auto u = [](int size) { return static_cast<uint64_t>(size); };
  Plan plan;
  void* preference = nullptr;
  bool made = f.create_description(&plan.description, compute_float, type_float) == 0 &&
              f.set_description(plan.description, description_transposes_a, &transposed, sizeof transposed) == 0 &&
              f.create_layout(&plan.weights, type_bfloat16, u(inputs), u(outputs), inputs) == 0 &&
              f.create_layout(&plan.input, type_bfloat16, u(inputs), u(rows), inputs) == 0 &&
              f.create_layout(&plan.sums, type_float, u(outputs), u(rows), outputs) == 0 &&
              f.create_preference(&preference) == 0;
  const uint64_t most = workspace_bytes;
  made = made && f.set_preference(preference, preference_workspace, &most, sizeof most) == 0;
  const uint32_t alignment = 16;
  for (int i = 0; i < 4; ++i)
    made = made && f.set_preference(preference, preference_alignments + i, &alignment, sizeof alignment) == 0;
  Suggestion suggestion{};
  int found = 0;
  made = made && f.suggest(handle_, plan.description, plan.weights, plan.input, plan.sums, plan.sums, preference, 1,
                           &suggestion, &found) == 0;
  if (preference != nullptr) f.destroy_preference(preference);
  plan.algorithm = suggestion.algorithm;
  plan.possible = made && found == 1 && suggestion.status == 0;
  return plan;
}

bool CublasLt::can_multiply(int rows, int outputs, int inputs) {
  if (inputs % 8 != 0 || outputs % 4 != 0) return false;  // rows that do not begin at multiples of 16 bytes
  const std::tuple sizes{rows, outputs, inputs};
  const auto known = plans_.find(sizes);
  if (known != plans_.end()) return known->second.possible;
  return plans_.emplace(sizes, make_plan(rows, outputs, inputs)).first->second.possible;
}

void CublasLt::multiply(cudaStream_t stream, const void* weights, const void* input, int rows, int outputs, int inputs,
                        float* sums) {
  const Plan& plan = plans_.at({rows, outputs, inputs});
  const float one = 1.0f, zero = 0.0f;
  const int status =
      functions_->multiply(handle_, plan.description, &one, weights, plan.weights, input, plan.input, &zero, sums,
                           plan.sums, sums, plan.sums, &plan.algorithm, workspace_, workspace_bytes, stream);
  if (status == 0) return;
  throw Error(ErrorCode::Device, "cublasLtMatmul of " + std::to_string(rows) + " rows, " + std::to_string(outputs) +
                                     " outputs, " + std::to_string(inputs) + " inputs: status " +
                                     std::to_string(status));
}

}  // namespace mask_predict::cuda
