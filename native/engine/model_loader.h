// From what a caller asks for to an engine: device, precision, threads, memory, and weights that engines of one
// process share.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/engine.h"

namespace mask_predict {

struct LoadOptions {
  std::string device = "auto";  // as open_device takes it
  // On the CPU "auto" and "fp32" keep matrices as stored, "bf16", "fp16" and "int8" narrow them; "bf16" rounds the
  // activations of products where the processor has them in bfloat16. On a GPU "auto" is "bf16", and "int8" and "fp8"
  // narrow matrices.
  std::string precision = "auto";
  std::string head_precision = "auto";       // of the LM head's matrix; "auto": as `precision` says
  int threads = 0;                           // 0: as many processors as the process may use
  uint64_t memory_limit = 0;                 // 0: what the machine has available
  int64_t mask_token_id = -1;                // -1: from config.json
  std::vector<int32_t> allowed_ids;          // rising; empty: all
  std::vector<int32_t> added_ids;            // of added tokens, rising; each must have a row of the embeddings
  bool map = true;                           // files are mapped into memory, not read
  bool deterministic = true;                 // a row's bits never depend on the rows beside it
  std::optional<TargetAttention> attention;  // none: as the model was trained
};

struct ModelRequest {
  std::string directory;              // or
  std::optional<ModelConfig> random;  // an architecture, its weights drawn from `seed`
  uint64_t seed = 0;
};

struct LoadedModel {
  OpenDevice device;
  std::unique_ptr<Engine> engine;
  std::string precision;       // of the matrices: "fp32", "fp16", "bf16", "int8" or "fp8"
  std::string head_precision;  // of the LM head's
  uint64_t memory_limit = 0;
  std::vector<int32_t> added_ids;  // those behind the real ids, which sources may have and which are never answered

  bool is_source_id(int32_t id) const;
};

// Throws Error of every code but Disposed, and Cancelled. `progress` goes from 0 to 1.
LoadedModel load_model(const ModelRequest& request, const LoadOptions& options,
                       const std::function<void(double)>& progress, const std::atomic<bool>& cancelled);

}  // namespace mask_predict
