// The kernels over AVX-512 (F, BW, DQ, VL).
#if defined(__x86_64__) || defined(_M_X64)
#include "vector_avx512.h"
// kept in this order: each builds on the ones before
#include "kernels_math.h"
#include "kernels_multiply.h"
#include "kernels_rows.h"
#include "kernels_lm_head.h"

namespace mask_predict::cpu {
const Kernels kernels_avx512 = {"avx512", multiply, head_update, softmax, layer_norm, add, exponentials, dot};
}
#endif
