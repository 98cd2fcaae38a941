// The encoder: embeddings and layers with dynamic mixed attention (section 3.2, eq. 7), for any ragged set of
// sequences at once. There is one stack; a source and a target differ only in what they may attend to.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/buffer.h"
#include "engine/weights.h"
#include "ops/mixed_attention.h"

namespace mask_predict {

// One sequence going through the stack.
struct StackSequence {
  const int32_t* ids;
  int64_t length;
  const float* source;    // keys_values of the source it sees besides itself, or nullptr
  int64_t source_length;
  float* keys_values;     // where to keep this sequence's own keys and values, [layers][length][2D], or nullptr
};

// Memory for the rows of one pass; grows to the largest pass and stays.
class StackWorkspace {
 public:
  StackWorkspace(const ModelConfig& config, std::shared_ptr<MemoryBudget> budget);
  // Throws Error(OutOfMemory); the workspace is empty then and can be tried again.
  void reserve(int64_t rows);
  uint64_t bytes() const { return memory_.bytes(); }

  float* states = nullptr;      // [rows, D], the residual stream
  float* normed = nullptr;      // [rows, D]
  float* query = nullptr;       // [rows, D]
  float* keys_values = nullptr; // [rows, 2D]
  float* attention = nullptr;   // [rows, D]
  float* feed_forward = nullptr;  // [rows, F]

 private:
  const ModelConfig& config_;
  std::shared_ptr<MemoryBudget> budget_;
  Buffer memory_;
  int64_t rows_ = 0;
};

// Runs `sequences` through embeddings and all layers. On return workspace.states holds the final states, after
// the last norm, of the rows that `wanted` names (rows of all sequences laid one behind the other), in its order,
// or of all rows if it is null: the last layer computes no others. Throws Cancelled between layers.
void run_stack(const Context& context, const Weights& weights, const std::vector<StackSequence>& sequences,
               const std::vector<int32_t>* wanted, StackWorkspace& workspace, const std::atomic<bool>& cancelled);

}  // namespace mask_predict
