// The kernels over AVX-512 (F, BW, DQ, VL), and the same with VNNI for bytes.
#if defined(__x86_64__) || defined(_M_X64)
#include "cpu/vector_avx512.h"

// after the vectors, which they are compiled over
#include "cpu/kernels_lm_head.h"
#include "cpu/kernels_multiply.h"
#include "cpu/kernels_rows.h"

namespace mask_predict::cpu {
const Kernels kernels_avx512 = {"avx512",  multiply<WideBytes>, head_update, quantize,     softmax, layer_norm,
                                transpose, copy_rows,           add,         exponentials, dot,     rotate};
const Kernels kernels_avx512vnni = {"avx512vnni", multiply<VnniBytes>, head_update, quantize,     softmax, layer_norm,
                                    transpose,    copy_rows,           add,         exponentials, dot,     rotate};
}  // namespace mask_predict::cpu
#endif
