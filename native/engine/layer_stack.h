// The encoder: embeddings and layers with dynamic mixed attention (section 3.2, eq. (7)), for any ragged set of
// sequences at once. There is one stack; a source and a target differ only in what they may attend to.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/buffer.h"
#include "model/weights.h"
#include "ops/mixed_attention/mixed_attention.h"

namespace mask_predict {

// Where a sequence after `source_ids` ids begins: XLM-R's sources and targets both at the pad id + 1, ModernBERT's targets
// where their source ends.
inline int64_t first_position(const ModelConfig& config, int64_t source_ids) {
  return config.is_modern_bert() ? source_ids : pad_id + 1;
}

// Rows that go through the stack together. All pointers are the device's memory.
struct StackPass {
  int64_t rows = 0;
  const int32_t* ids = nullptr;        // [rows]
  const int32_t* positions = nullptr;  // [rows]
  const AttentionSequence* sequences = nullptr;
  int64_t sequence_count = 0;
  int64_t most_queries = 0;
  int64_t most_keys = 0;
  // The rows whose final states are wanted, and the sequences with only these as queries; null: all.
  const int32_t* wanted = nullptr;  // [wanted_rows], rising
  int64_t wanted_rows = 0;
  const AttentionSequence* last_sequences = nullptr;
  int64_t last_most_queries = 0;
  // Then the stack ends with the last layer's keys and values.
  bool wants_none() const { return wanted != nullptr && wanted_rows == 0; }
  // Where to keep rows' keys and values of every layer: the caches of sources.
  struct Keep {
    int64_t first_row, rows;
    int64_t first_final;  // of its final states among those of the pass
    char* keys_values;    // [layers, rows, 2 * hidden], of the type of the context's keys and values
  };
  std::vector<Keep> keep;
  // Mixed: the kept keys and values are made of final states, eq. (6), so that all rows of these sources are wanted.
  TargetAttention attention = TargetAttention::Dynamic;
};

// Memory for the rows of one pass; grows to the largest pass and stays.
class StackWorkspace {
 public:
  StackWorkspace(const ModelConfig& config, const Context& context, std::shared_ptr<MemoryBudget> budget);
  // Throws Error(OutOfMemory); the workspace is empty then and can be tried again. The pointers are where they always
  // are for a workspace of this size, whatever was swapped in an earlier pass.
  void reserve(int64_t rows);
  uint64_t address() const { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(memory_.as<void>())); }

  float* states = nullptr;        // [rows, D], the residual stream
  float* other_states = nullptr;  // [rows, D]
  void* normed = nullptr;         // [rows, D] activations from here on
  void* query = nullptr;          // [rows, D]
  void* attention = nullptr;      // [rows, D]
  void* keys_values = nullptr;    // [rows, 2D], of the type of the context's keys and values
  float* unrounded = nullptr;     // [rows, 2D]: keys and values of a product, where they are kept rounded
  void* feed_forward = nullptr;   // [rows, F]
  int32_t* positions = nullptr;   // [rows], of the wanted rows; only of ModernBERT

 private:
  const ModelConfig& config_;
  const Context& context_;
  std::shared_ptr<MemoryBudget> budget_;
  Buffer memory_;
  int64_t rows_ = 0;
};

// Runs a pass through embeddings and all layers. On return workspace.normed holds the final states, after the last
// norm, of the wanted rows in their order; with `float_states`, workspace.states holds them in float32. Throws
// Cancelled between layers.
void run_stack(const Context& context, const Weights& weights, const StackPass& pass, bool float_states,
               StackWorkspace& workspace);

}  // namespace mask_predict
