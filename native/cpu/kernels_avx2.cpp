// The kernels over AVX2, FMA and F16C.
#if defined(__x86_64__) || defined(_M_X64)
#include "cpu/vector_avx2.h"

// after the vectors, which they are compiled over
#include "cpu/kernels_lm_head.h"
#include "cpu/kernels_multiply.h"
#include "cpu/kernels_rows.h"

namespace mask_predict::cpu {
const Kernels kernels_avx2 = {"avx2",    multiply<WideBytes>, head_update, quantize,     softmax, layer_norm,
                              transpose, copy_rows,           add,         exponentials, dot,     rotate};
}
#endif
