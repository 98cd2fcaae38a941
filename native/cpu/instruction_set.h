// Which of the kernel sets this machine can run.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/training_kernels.h"

namespace mask_predict::cpu {

// Names the machine has, best first; the environment variable MASK_PREDICT_ISA removes those above the one it
// names ("avx512bf16", "avx512vnni", "avx512", "avxvnni", "avx2", "portable"; anything else is Error(Device)).
std::vector<std::string> instruction_sets();

// The kernels of one of them; "" is the best. Error(Device) if the machine does not have it.
const Kernels& kernels_for(const std::string& name);
// Training's loops of the same instruction set, with products of bfloat16 where `rounded`: Error(Device) if it has none.
const TrainingKernels& training_kernels_for(const Kernels& kernels, bool rounded);

}  // namespace mask_predict::cpu
