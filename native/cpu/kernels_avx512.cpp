// The kernels over AVX-512 (F, BW, DQ, VL), the same with VNNI for bytes, and with BF16 for products of bfloat16.
#if defined(__x86_64__) || defined(_M_X64)
#include "cpu/vector_avx512.h"

// after the vectors, which they are compiled over
#include "cpu/kernels_table.h"

namespace mask_predict::cpu {
constinit const Kernels kernels_avx512 = kernels<WideBytes>("avx512");
constinit const Kernels kernels_avx512vnni = kernels<VnniBytes>("avx512vnni");
constinit const Kernels kernels_avx512bf16 = kernels<VnniBytes, Bf16Pairs>("avx512bf16");
}  // namespace mask_predict::cpu
#endif
