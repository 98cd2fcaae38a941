// The kernels over AVX-512 (F, BW, DQ, VL), and the same with VNNI for bytes.
#if defined(__x86_64__) || defined(_M_X64)
#include "vector_avx512.h"
// kept in this order: each builds on the ones before
#include "kernels_math.h"
#include "kernels_tile.h"
#include "kernels_byte_tile.h"
#include "kernels_multiply.h"
#include "kernels_rows.h"
#include "kernels_lm_head.h"

namespace mask_predict::cpu {
const Kernels kernels_avx512 = {"avx512",   multiply<WideBytes>, head_update, quantize, softmax,     layer_norm,
                                transpose,  copy_rows,           add,         exponentials, dot};
const Kernels kernels_avx512vnni = {"avx512vnni", multiply<VnniBytes>, head_update, quantize, softmax, layer_norm,
                                    transpose,    copy_rows,           add,         exponentials, dot};
}
#endif
