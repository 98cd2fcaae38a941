// A stand-in for libcublasLt.so, for tests of what calls it (cuda/cublaslt.cu): the same functions, for bfloat16
// matrices and float32 sums, done by plain loops when the emulated stream comes to them, from the end of the inner
// dimension to its beginning, so that the bits tell whose they are. Built as a shared library.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>

#include "simt/library_work.h"

namespace {

constexpr int success = 0, invalid_value = 7, not_supported = 15;
constexpr int type_float = 0, type_bfloat16 = 14, compute_float = 68, transpose_a = 3;
constexpr uint64_t magic = 0x6375626c61734c74;  // what its algorithms are told by

struct Description {
  bool transposes_a = false;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading_dimension;
};
struct Preference {
  std::map<int, uint64_t> values;
};
struct Algorithm {
  uint64_t data[8];
};
struct Suggestion {
  Algorithm algorithm;
  size_t workspace;
  int status;
  float waves;
  int reserved[4];
};

int64_t suggestions_made = 0, products_done = 0;

float widened(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

// aᵀ b = d with a [k, m], b [k, n], d [m, n]; columns are contiguous.
bool fits(const Description& description, const Layout& a, const Layout& b, const Layout& d) {
  return description.transposes_a && a.type == type_bfloat16 && b.type == type_bfloat16 && d.type == type_float &&
         a.rows == b.rows && a.columns == d.rows && b.columns == d.columns;
}

}  // namespace

extern "C" {

// For the tests: how often a product was planned, and done.
int64_t stand_in_suggestions() { return suggestions_made; }
int64_t stand_in_products() { return products_done; }

size_t cublasLtGetVersion() { return 130102; }

int cublasLtCreate(void** handle) {
  *handle = new int(0);
  return success;
}
int cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return success;
}

int cublasLtMatmulDescCreate(void** description, int compute, int scale_type) {
  if (compute != compute_float || scale_type != type_float) return not_supported;
  *description = new Description;
  return success;
}
int cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* value, size_t bytes) {
  int32_t operation = 0;
  if (attribute != transpose_a || bytes != sizeof operation) return invalid_value;
  std::memcpy(&operation, value, sizeof operation);
  static_cast<Description*>(description)->transposes_a = operation == 1;
  return success;
}
int cublasLtMatmulDescDestroy(void* description) {
  delete static_cast<Description*>(description);
  return success;
}

int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading_dimension) {
  *layout = new Layout{type, rows, columns, leading_dimension};
  return success;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return success;
}

int cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = new Preference;
  return success;
}
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) {
  uint64_t number = 0;
  if (bytes > sizeof number) return invalid_value;
  std::memcpy(&number, value, bytes);
  static_cast<Preference*>(preference)->values[attribute] = number;
  return success;
}
int cublasLtMatmulPreferenceDestroy(void* preference) {
  delete static_cast<Preference*>(preference);
  return success;
}

int cublasLtMatmulAlgoGetHeuristic(void*, void* description, void* a, void* b, void* c, void* d, void* preference,
                                   int wanted, Suggestion* suggestions, int* found) {
  ++suggestions_made;
  *found = 0;
  const auto layout = [](void* pointer) -> const Layout& { return *static_cast<Layout*>(pointer); };
  if (wanted < 1 || c != d || !fits(*static_cast<Description*>(description), layout(a), layout(b), layout(d)))
    return not_supported;
  const auto& values = static_cast<Preference*>(preference)->values;
  for (const int alignment : {5, 6, 7, 8})  // of the four matrices
    if (values.count(alignment) == 0 || values.at(alignment) != 16) return not_supported;
  suggestions[0] = {};
  suggestions[0].algorithm.data[0] = magic;
  suggestions[0].workspace = values.at(1);
  *found = 1;
  return success;
}

int cublasLtMatmul(void*, void* description, const void* alpha, const void* a, void* a_layout, const void* b,
                   void* b_layout, const void* beta, const void* c, void*, void* d, void* d_layout,
                   const Algorithm* algorithm, void* workspace, size_t, cudaStream_t stream) {
  const Layout left = *static_cast<Layout*>(a_layout), right = *static_cast<Layout*>(b_layout);
  const Layout result = *static_cast<Layout*>(d_layout);
  float one = 0, zero = 1;
  std::memcpy(&one, alpha, sizeof one);
  std::memcpy(&zero, beta, sizeof zero);
  if (one != 1 || zero != 0 || c != d || workspace == nullptr || algorithm->data[0] != magic) return invalid_value;
  if (!fits(*static_cast<Description*>(description), left, right, result)) return not_supported;
  for (const void* pointer : {a, b, static_cast<const void*>(d)})
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) return invalid_value;
  const auto multiply = [=] {
    ++products_done;
    for (uint64_t n = 0; n < result.columns; ++n) {
      for (uint64_t m = 0; m < result.rows; ++m) {
        const uint16_t* x = static_cast<const uint16_t*>(a) + m * static_cast<uint64_t>(left.leading_dimension);
        const uint16_t* y = static_cast<const uint16_t*>(b) + n * static_cast<uint64_t>(right.leading_dimension);
        float sum = 0;
        for (uint64_t k = left.rows; k-- > 0;) sum += widened(x[k]) * widened(y[k]);
        static_cast<float*>(d)[n * static_cast<uint64_t>(result.leading_dimension) + m] = sum;
      }
    }
  };
  return mask_predict::simt::library_work(stream).enqueue(stream, multiply) ? success : invalid_value;
}

}  // extern "C"
