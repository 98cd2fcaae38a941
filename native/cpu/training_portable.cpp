// The loops of training over the baseline instruction set.
#include "cpu/vector_portable.h"

// after the vectors, which they are compiled over
#include "cpu/training_table.h"

namespace mask_predict::cpu {
constinit const TrainingKernels training_portable = training_kernels("portable");
}
