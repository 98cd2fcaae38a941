// The kernels over the baseline instruction set.

#include "vector_portable.h"
// kept in this order: each builds on the ones before
#include "kernels_math.h"
#include "kernels_tile.h"
#include "kernels_byte_tile.h"
#include "kernels_multiply.h"
#include "kernels_rows.h"
#include "kernels_lm_head.h"

namespace mask_predict::cpu {
const Kernels kernels_portable = {"portable", multiply<PlainBytes>, head_update, quantize, softmax, layer_norm, transpose, copy_rows, add, exponentials, dot};
}

