// ModernBERT's layers: LayerNorm on the embeddings, before each block but the first (whose input is normed already), and at
// the end; rotary positions; attention to nearby keys in local layers; a gated feed-forward.
#include "engine/layer_operations.h"

namespace mask_predict {

void run_modern_bert(LayerOperations& stack, bool float_states) {
  const Weights& weights = stack.weights;
  const StackPass& pass = stack.pass;
  StackWorkspace& workspace = stack.workspace;
  const RotaryPositions& rotary = weights.config.rotary;
  const AttentionKind global{weights.global_angles.as<float>()};
  const AttentionKind local{weights.local_angles.as<float>(), rotary.window};
  const std::vector<LayerWeights>& layers = weights.layers;
  stack.embed(nullptr);
  stack.norm_states(weights.embedding_norm, workspace.states, workspace.normed);
  for (size_t i = 0; i < layers.size(); i++) {
    stack.throw_if_cancelled();
    const LayerWeights& layer = layers[i];
    const AttentionKind& kind = rotary.local[i] ? local : global;
    const bool last = i + 1 == layers.size();
    if (last && pass.wants_none()) {
      stack.project_keys_values(layer, static_cast<int64_t>(i), kind);
      break;
    }
    stack.attend(layer, static_cast<int64_t>(i), kind);
    stack.end_block(layer.attention_output, layer.feed_forward_norm, workspace.attention, layer.feed_forward_in);
    stack.linear(layer.feed_forward_in, workspace.normed, workspace.feed_forward, layer.feed_forward_out, false, true);
    stack.end_block(layer.feed_forward_out, last ? weights.outer_norm : layers[i + 1].attention_norm,
                    workspace.feed_forward, last ? weights.head_dense : layers[i + 1].key_value);
  }
  if (float_states) stack.norm_states(weights.outer_norm, workspace.states, nullptr);
}

}  // namespace mask_predict
