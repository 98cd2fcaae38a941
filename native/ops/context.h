// The context in which an operation runs: its device.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/numbers.h"

namespace mask_predict {

struct Operations;

namespace cpu {
class ThreadPool;
struct Kernels;
}  // namespace cpu
namespace cuda {
struct Stream;
}

struct Context {
  const Operations* operations = nullptr;  // the device's functions
  ValueType activations = ValueType::F32;  // the type of every `void*` among the arguments
  const cpu::Kernels* kernels = nullptr;   // on the CPU
  cpu::ThreadPool* pool = nullptr;         // elsewhere too, for packing weights on the host
  cuda::Stream* stream = nullptr;          // on a CUDA device
  // On the CPU, with kernels that have the products (kernels.h, `round`): bfloat16 weights meet activations that are
  // rounded to bfloat16. Elsewhere and without it their products are float32.
  bool rounded_products = false;
  bool rounded_head = false;  // the same for the LM head's matrix, which may have a precision of its own
  // With such kernels too: queries, keys, values and weights of attention are rounded to bfloat16 in its products. Keys and
  // values are rounded when they are made, and kept so.
  bool rounded_attention = false;
  ValueType keys_values_type() const { return rounded_attention ? ValueType::BF16 : activations; }
  // True if the layers' matrices are kept in row-major order too (packed_matrix.h), for products of many rows.
  bool row_major_copies = false;
  // Set while an operation runs: it may stop early, its result is not going to be used.
  const std::atomic<bool>* cancelled = nullptr;

  bool is_cancelled() const { return cancelled != nullptr && cancelled->load(std::memory_order_relaxed); }
};

}  // namespace mask_predict
