// The layer stack with dynamic mixed attention, section 3.2, eq. (7): its working memory and its entry.
#include "engine/layer_stack.h"

#include <utility>

#include "base/error.h"
#include "engine/layer_operations.h"

namespace mask_predict {

StackWorkspace::StackWorkspace(const ModelConfig& config, const Context& context, std::shared_ptr<MemoryBudget> budget)
    : config_(config), context_(context), budget_(std::move(budget)) {}

void StackWorkspace::reserve(int64_t rows) {
  if (rows > rows_) {
    memory_ = Buffer();
    rows_ = 0;
    rows = (rows + 63) / 64 * 64;
    const int64_t row_bytes =
        config_.hidden * (2 * 4 + 3 * bytes_of(context_.activations) + 2 * bytes_of(context_.keys_values_type())) +
        (context_.rounded_attention ? config_.hidden * 2 * 4 : 0) +
        config_.feed_forward * bytes_of(context_.activations) +
        (config_.is_modern_bert() ? static_cast<int64_t>(sizeof(int32_t)) : 0);
    memory_ = device_buffer(context_, static_cast<uint64_t>(rows * row_bytes), budget_,
                            "a pass over " + std::to_string(rows) + " rows");
    rows_ = rows;
  }
  const int64_t floats = rows_ * config_.hidden * 4;
  const int64_t values = rows_ * config_.hidden * bytes_of(context_.activations);
  char* next = memory_.as<char>();
  const auto take = [&next](int64_t bytes) { return std::exchange(next, next + bytes); };
  states = reinterpret_cast<float*>(take(floats));
  other_states = reinterpret_cast<float*>(take(floats));
  normed = take(values);
  query = take(values);
  attention = take(values);
  keys_values = take(rows_ * config_.hidden * 2 * bytes_of(context_.keys_values_type()));
  unrounded = context_.rounded_attention ? reinterpret_cast<float*>(take(2 * floats)) : nullptr;
  feed_forward = take(rows_ * config_.feed_forward * bytes_of(context_.activations));
  positions = config_.is_modern_bert() ? reinterpret_cast<int32_t*>(next) : nullptr;
}

void run_stack(const Context& context, const Weights& weights, const StackPass& pass, bool float_states,
               StackWorkspace& workspace) {
  workspace.reserve(pass.rows);
  LayerOperations layers{context, weights, pass, workspace, pass.rows, pass.positions};
  if (weights.config.is_modern_bert())
    run_modern_bert(layers, float_states);
  else
    run_xlm_roberta(layers, float_states);
  if (context.is_cancelled()) throw Cancelled();  // the last layer may have stopped early
}

}  // namespace mask_predict
