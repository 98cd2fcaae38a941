// The kernels over the baseline instruction set.

#include "cpu/vector_portable.h"

// after the vectors, which they are compiled over
#include "cpu/kernels_lm_head.h"
#include "cpu/kernels_multiply.h"
#include "cpu/kernels_rows.h"

namespace mask_predict::cpu {
const Kernels kernels_portable = {"portable", multiply<PlainBytes>, head_update, quantize,
                                  softmax,    layer_norm,           transpose,   copy_rows,
                                  add,        exponentials,         dot,         rotate};
}
