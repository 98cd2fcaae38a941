// Everything a device does: the engine knows no other difference between devices. All pointers in the arguments of
// an operation are the device's memory; operations of one context happen in the order they were called.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "ops/embed/embed.h"
#include "ops/layer_norm/layer_norm.h"
#include "ops/linear/linear.h"
#include "ops/lm_head/lm_head.h"
#include "ops/mixed_attention/mixed_attention.h"
#include "ops/remask/remask.h"
#include "ops/rotate/rotate.h"
#include "ops/rows/rows.h"
#include "ops/sample/sample.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict {

// The functions that every device has, in a namespace of its own (cpu, cuda): result, name, parameters.
//
// packed_bytes: bytes of a packed matrix [outputs, inputs].
// pack: fills outputs first ... first + count - 1, narrowing or widening as the types say. An output of an I8 or F8
//   matrix with a value that is no finite number has the scale NaN.
// select_outputs: output i of `subset` becomes output outputs[i] of `matrix`; both have the same type and inputs. Every
//   element keeps its bits.
// All others: see the header of the operation.
#define MASK_PREDICT_OPERATIONS(OPERATION)                                                                             \
  OPERATION(int64_t, packed_bytes, (WeightType type, int64_t outputs, int64_t inputs))                                 \
  OPERATION(void, pack, (const Context&, const PackSource&, int64_t first, int64_t count, PackedMatrix&))              \
  OPERATION(void, select_outputs, (const Context&, const PackedMatrix&, const int32_t* outputs, PackedMatrix& subset)) \
  OPERATION(void, embed, (const Context&, const EmbedArguments&))                                                      \
  OPERATION(void, layer_norm, (const Context&, const LayerNormArguments&))                                             \
  OPERATION(void, linear, (const Context&, const LinearArguments&))                                                    \
  OPERATION(void, linear_pair, (const Context&, const LinearPairArguments&))                                           \
  OPERATION(void, linear_norm, (const Context&, const LinearNormArguments&))                                           \
  OPERATION(void, mixed_attention, (const Context&, const MixedAttentionArguments&))                                   \
  OPERATION(void, gather_rows, (const Context&, const GatherRowsArguments&))                                           \
  OPERATION(void, mean_rows, (const Context&, const MeanRowsArguments&))                                               \
  OPERATION(void, lm_head_argmax, (const Context&, const LmHeadArguments&))                                            \
  OPERATION(void, logits_at, (const Context&, const LogitsAtArguments&))                                               \
  OPERATION(void, fill_masks, (const Context&, const FillMasksArguments&))                                             \
  OPERATION(void, remask, (const Context&, const RemaskArguments&))                                                    \
  OPERATION(void, sample, (const Context&, const SampleArguments&))

struct Operations {
  // Capabilities of the device.
  const Memory* memory;
  bool host_memory;         // its memory is the host's: arguments may point to JavaScript's arrays
  bool reads_saved_layout;  // computes on a saved int8 file where it is mapped
  bool (*supports)(WeightType type);
  // The type of the weights if none is asked for; none: as they are stored.
  std::optional<WeightType> (*default_type)(const Context&);

  // Host to device; the host's bytes may be changed when it returns.
  void (*upload)(const Context&, void* to, const void* from, uint64_t bytes);
  // Device to host, after everything called before; waits for it.
  void (*download)(const Context&, void* to, const void* from, uint64_t bytes);
  // Device to device.
  void (*copy)(const Context&, void* to, const void* from, uint64_t bytes);
  // Returns when everything called before is done: what other contexts may read from then on.
  void (*wait)(const Context&);
  // The memory, which this device allocated, is constant from here on: what was called before may still write to it, what
  // is called later only reads it, and may do so before the kernels ahead of it have ended. Null on a device that does not
  // check that.
  void (*freeze)(const Context&, const void* memory);
  // Makes the device the calling thread's: what a thread calls that did not open it.
  void (*select)(const Context&);
  // Marks the end of everything called so far, and returns when what came before the last mark is done: so the host is at
  // most the work between two marks ahead of the device. Null on a device that is never behind.
  void (*pace)(const Context&);

  // Between begin_capture and end_capture the device only captures operations, in a graph, and runs none. launch_graph
  // runs them all with one call, on the values that the same memory holds by then. Null on a device without graphs.
  void (*begin_capture)(const Context&);
  void* (*end_capture)(const Context&);
  void (*launch_graph)(const Context&, void* graph);
  void (*destroy_graph)(const Context&, void* graph);  // from any thread

  // Where a matrix of bytes (I8, F8) has its outputs' scales, [outputs].
  const float* (*scales)(const PackedMatrix&);
  // Fills matrix.row_major. Null on a device without row-major copies.
  void (*copy_row_major)(const Context&, const PackedMatrix&);

  // Null on a device that does not run models with rotary positions, windows and gates.
  void (*rotate)(const Context&, const RotateArguments&);
  // Null on a device that does not round attention (context.h).
  void (*round_rows)(const Context&, const RoundRowsArguments&);

#define MASK_PREDICT_MEMBER(result, name, parameters) result(*name) parameters;
  MASK_PREDICT_OPERATIONS(MASK_PREDICT_MEMBER)
#undef MASK_PREDICT_MEMBER
};

#define MASK_PREDICT_FUNCTION(result, name, parameters) result name parameters;
namespace cpu {
MASK_PREDICT_OPERATIONS(MASK_PREDICT_FUNCTION)
MASK_PREDICT_FUNCTION(void, rotate, (const Context&, const RotateArguments&))
MASK_PREDICT_FUNCTION(void, round_rows, (const Context&, const RoundRowsArguments&))
}  // namespace cpu
namespace cuda {
MASK_PREDICT_OPERATIONS(MASK_PREDICT_FUNCTION)
}
#undef MASK_PREDICT_FUNCTION

extern const Operations cpu_operations;
#if MASK_PREDICT_CUDA
extern const Operations cuda_operations;  // also those of the emulated device
#endif

// A block of the memory of the context's device. Throws as Buffer does.
inline Buffer device_buffer(const Context& context, uint64_t bytes, std::shared_ptr<MemoryBudget> budget,
                            const std::string& purpose) {
  return Buffer(bytes, std::move(budget), purpose, *context.operations->memory, context.stream);
}

inline void freeze(const Context& context, const Buffer& buffer) {
  if (context.operations->freeze != nullptr && buffer) context.operations->freeze(context, buffer.as<void>());
}

inline void freeze(const Context& context, const PackedMatrix& matrix) {
  freeze(context, matrix.data);
  freeze(context, matrix.row_major);
}

}  // namespace mask_predict
