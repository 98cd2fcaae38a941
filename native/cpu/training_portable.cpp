// The loops of training over the baseline instruction set.
#include "cpu/vector_portable.h"

// after the vectors, which they are compiled over
#include "cpu/training_product.h"
#include "cpu/training_rows.h"

namespace mask_predict::cpu {
const TrainingKernels training_portable = {
    "portable", tile_rows,   tile_columns,  pack_rows,        pack_columns, multiply,       add_bias, add,
    scale,      column_sums, dot,           sum_of_squares,   gelu_rows,    gelu_gradient,  norm,     norm_gradient,
    dropout,    softmax,     probabilities, softmax_gradient, scan_logits,  logit_gradient, adam};
}
