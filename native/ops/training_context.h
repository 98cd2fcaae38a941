// The context in which an operation of training runs. (Training runs on the CPU.)
#pragma once

#include <atomic>

#include "cpu/matrix_product.h"
#include "cpu/thread_pool.h"
#include "cpu/training_kernels.h"

namespace mask_predict::training {

struct TrainingContext {
  const cpu::TrainingKernels* kernels = nullptr;  // in float32: attention's own products too
  cpu::ThreadPool* pool = nullptr;
  const cpu::TrainingKernels* products = nullptr;  // of dense products, which may round their operands to bfloat16

  void multiply(const cpu::MatrixProduct& product) const { cpu::multiply(*pool, *products, product); }
};

}  // namespace mask_predict::training
