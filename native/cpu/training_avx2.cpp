// The loops of training over AVX2, FMA and F16C.
#if defined(__x86_64__) || defined(_M_X64)
#include "cpu/vector_avx2.h"

// after the vectors, which they are compiled over
#include "cpu/training_table.h"

namespace mask_predict::cpu {
constinit const TrainingKernels training_avx2 = training_kernels("avx2");
}
#endif
