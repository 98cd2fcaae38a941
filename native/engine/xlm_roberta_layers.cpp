// XLM-RoBERTa's layers with dynamic mixed attention, eq. (7), and with LayerNorm after each block (base, large) or
// before (XL, XXL).
#include "engine/layer_operations.h"

namespace mask_predict {

void run_xlm_roberta(LayerOperations& stack, bool float_states) {
  const Weights& weights = stack.weights;
  const StackPass& pass = stack.pass;
  StackWorkspace& workspace = stack.workspace;
  const bool pre = weights.config.norm == NormPlacement::Pre;
  const std::vector<LayerWeights>& layers = weights.layers;
  stack.embed(weights.positions.as<float>());
  stack.norm_states(pre ? layers[0].attention_norm : weights.outer_norm, pre ? nullptr : workspace.states,
                    workspace.normed);
  for (size_t i = 0; i < layers.size(); i++) {
    stack.throw_if_cancelled();
    const LayerWeights& layer = layers[i];
    const bool last = i + 1 == layers.size();
    const NormWeights& next_norm = last ? weights.outer_norm : layers[i + 1].attention_norm;
    const LinearWeights& next = last ? weights.head_dense : layers[i + 1].key_value;
    if (last && pass.wants_none()) {
      stack.project_keys_values(layer, static_cast<int64_t>(i), {});
      break;
    }
    stack.attend(layer, static_cast<int64_t>(i));
    stack.end_block(layer.attention_output, pre ? layer.feed_forward_norm : layer.attention_norm, workspace.attention,
                    layer.feed_forward_in);
    stack.linear(layer.feed_forward_in, workspace.normed, workspace.feed_forward, layer.feed_forward_out, true);
    stack.end_block(layer.feed_forward_out, pre ? next_norm : layer.feed_forward_norm, workspace.feed_forward, next);
  }
  if (pass.attention == TargetAttention::Mixed) stack.project_final_states();
  if (pre && float_states) stack.norm_states(weights.outer_norm, workspace.states, nullptr);
}

}  // namespace mask_predict
