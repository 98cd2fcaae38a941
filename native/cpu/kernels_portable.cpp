// The kernels over the baseline instruction set.

#include "cpu/vector_portable.h"

// after the vectors, which they are compiled over
#include "cpu/kernels_table.h"

namespace mask_predict::cpu {
constinit const Kernels kernels_portable = kernels<PlainBytes>("portable");
}
