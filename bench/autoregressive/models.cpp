#include "models.h"

#include "base/error.h"
#include "model/tensor_source.h"

namespace autoregressive {

using mask_predict::Error;
using mask_predict::ErrorCode;
using mask_predict::WeightsBuilder;

namespace {

CrossAttention cross_attention(WeightsBuilder& builder, int64_t layer, int64_t d) {
  const std::string prefix = "decoder.layer." + std::to_string(layer) + ".cross_attention.";
  return {builder.linear(prefix + "query", d, d), builder.linear(prefix + "key_value", 2 * d, d),
          builder.linear(prefix + "output", d, d), builder.norm(prefix + "layer_norm", d)};
}

}  // namespace

std::vector<DecoderLayer> Model::decoder() const {
  std::vector<DecoderLayer> layers;
  if (architecture == Architecture::DecoderOnly) {
    for (const mask_predict::LayerWeights& block : shared->layers) layers.push_back({&block, nullptr});
  } else {
    for (size_t i = 0; i < decoding.size(); i++) layers.push_back({&decoding[i], &cross[i]});
  }
  return layers;
}

const mask_predict::NormWeights& Model::decoder_norm() const {
  return architecture == Architecture::DecoderOnly ? shared->outer_norm : decoding_norm;
}

int64_t Model::decoder_body() const {
  const int64_t d = config().hidden, layer = 4 * d * d + 2 * d * config().feed_forward;
  return config().layers * layer + static_cast<int64_t>(cross.size()) * 2 * d * d;
}

int64_t Model::encoder_body() const {
  if (architecture == Architecture::DecoderOnly) return 0;
  const int64_t d = config().hidden, layer = 4 * d * d + 2 * d * config().feed_forward;
  return config().layers * layer + static_cast<int64_t>(cross.size()) * 2 * d * d;
}

int64_t Model::parameters() const {
  const int64_t d = config().hidden, f = config().feed_forward;
  const int64_t block = 4 * d * d + 2 * d * f + 5 * d + f + 4 * d;
  const int64_t attention = 4 * d * d + 4 * d + 2 * d;
  const int64_t decoder_norm = decoding.empty() ? 0 : 2 * d;
  return config().parameters() + static_cast<int64_t>(decoding.size()) * block +
         static_cast<int64_t>(cross.size()) * attention + decoder_norm;
}

Model random_model(Architecture architecture, const ModelConfig& like, mask_predict::WeightType type, uint64_t seed,
                   const mask_predict::LoadContext& context) {
  ModelConfig config = like;
  config.lengths = 0;  // the length is given
  Model model{architecture, nullptr, {}, {}, {}};
  if (architecture == Architecture::EncoderDecoder) {
    if (config.layers % 2 != 0 || config.feed_forward <= config.hidden)
      throw Error(ErrorCode::InvalidArgument,
                  "an encoder-decoder of the same size needs an even number of layers, not " +
                      std::to_string(config.layers) + ", and a feed-forward wider than the model, not " +
                      std::to_string(config.feed_forward) + " for " + std::to_string(config.hidden));
    config.layers /= 2;
    config.feed_forward -= config.hidden;
  }
  const auto tensors = mask_predict::random_tensors(config, type, seed, context.device);
  WeightsBuilder builder(*tensors, context);
  model.shared = builder.build(config);
  if (architecture == Architecture::EncoderDecoder) {
    for (int64_t i = 0; i < config.layers; i++) {
      model.decoding.push_back(builder.layer(config.layers + i, config));  // numbered on from the encoder's
      model.cross.push_back(cross_attention(builder, i, config.hidden));
    }
    model.decoding_norm = builder.norm("decoder.LayerNorm", config.hidden);
  }
  return model;
}

}  // namespace autoregressive
