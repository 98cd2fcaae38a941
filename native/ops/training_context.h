// The context in which an operation of training runs. (Training runs on the CPU.)
#pragma once

#include <atomic>

#include "cpu/matrix_product.h"
#include "cpu/thread_pool.h"
#include "cpu/training_kernels.h"

namespace mask_predict::training {

struct TrainingContext {
  const cpu::TrainingKernels* kernels = nullptr;
  cpu::ThreadPool* pool = nullptr;

  void multiply(const cpu::MatrixProduct& product) const { cpu::multiply(*pool, *kernels, product); }
};

}  // namespace mask_predict::training
