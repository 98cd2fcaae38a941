// Everything a device does: the engine knows no other difference between devices. All pointers in the arguments of
// an operation are the device's memory; operations of one context happen in the order they were called.
#pragma once

#include "ops/embed.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/lm_head.h"
#include "ops/mixed_attention.h"
#include "ops/packed_matrix.h"
#include "ops/remask.h"
#include "ops/rows.h"
#include "ops/sample.h"

namespace mask_predict {

struct Operations {
  const char* device;  // "cpu", "cuda", "simt"
  const Memory* memory;

  // Host to device; the host's bytes may be changed when it returns.
  void (*upload)(const Context&, void* to, const void* from, uint64_t bytes);
  // Device to host, after everything called before; waits for it.
  void (*download)(const Context&, void* to, const void* from, uint64_t bytes);
  // Device to device.
  void (*copy)(const Context&, void* to, const void* from, uint64_t bytes);

  // What is called between begin and end is not done but recorded; replay does it all again with one call, on what
  // the same memory holds by then. Null on a device that gains nothing by it.
  void (*begin_recording)(const Context&);
  void* (*end_recording)(const Context&);
  void (*replay)(const Context&, void* recording);
  void (*discard)(void* recording);

  int64_t (*packed_bytes)(WeightType type, int64_t outputs, int64_t inputs);
  void (*pack)(const Context&, const PackSource&, int64_t first, int64_t count, PackedMatrix&);
  void (*select_outputs)(const Context&, const PackedMatrix&, const int32_t* outputs, PackedMatrix& subset);
  // Where a matrix of bytes (I8, F8) has its outputs' scales, [outputs].
  const float* (*scales)(const PackedMatrix&);
  // Fills matrix.plain. Null on a device where nobody reads it.
  void (*copy_plainly)(const Context&, const PackedMatrix&);

  void (*embed)(const Context&, const EmbedArguments&);
  void (*layer_norm)(const Context&, const LayerNormArguments&);
  void (*linear)(const Context&, const LinearArguments&);
  void (*linear_norm)(const Context&, const LinearNormArguments&);
  void (*mixed_attention)(const Context&, const MixedAttentionArguments&);
  void (*gather_rows)(const Context&, const GatherRowsArguments&);
  void (*mean_rows)(const Context&, const MeanRowsArguments&);
  void (*lm_head_argmax)(const Context&, const LmHeadArguments&);
  void (*logits_at)(const Context&, const LogitsAtArguments&);
  void (*fill_masks)(const Context&, const FillMasksArguments&);
  void (*remask)(const Context&, const RemaskArguments&);
  void (*sample)(const Context&, const SampleArguments&);
};

extern const Operations cpu_operations;
#if MASK_PREDICT_CUDA
extern const Operations cuda_operations;  // also those of the emulated device
#endif

}  // namespace mask_predict
