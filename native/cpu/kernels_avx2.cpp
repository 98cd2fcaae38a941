// The kernels over AVX2, FMA and F16C.
#if defined(__x86_64__) || defined(_M_X64)
#include "vector_avx2.h"
// kept in this order: each builds on the ones before
#include "kernels_math.h"
#include "kernels_tile.h"
#include "kernels_byte_tile.h"
#include "kernels_multiply.h"
#include "kernels_rows.h"
#include "kernels_lm_head.h"

namespace mask_predict::cpu {
const Kernels kernels_avx2 = {"avx2", multiply<WideBytes>, head_update, quantize, softmax, layer_norm, transpose, copy_rows, add, exponentials, dot};
}
#endif
