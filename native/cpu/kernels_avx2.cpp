// The kernels over AVX2, FMA and F16C, and the same with AVX-VNNI for bytes.
#if defined(__x86_64__) || defined(_M_X64)
#include "cpu/vector_avx2.h"

// after the vectors, which they are compiled over
#include "cpu/kernels_table.h"

namespace mask_predict::cpu {
constinit const Kernels kernels_avx2 = kernels<WideBytes>("avx2");
constinit const Kernels kernels_avxvnni = kernels<VnniBytes>("avxvnni");
}  // namespace mask_predict::cpu
#endif
