// The two autoregressive models, as large as the encoder-only model they are compared with, their weights drawn like
// its weights (random_weights).
//
// Decoder-only: the encoder's own layers, seen causally. Every weight is the same.
// Encoder-decoder: half of the layers encode, half decode; the decoding ones have a cross-attention of 4 D^2 more
// weights, so every layer's feed-forward is F - D wide instead of F: 6 D^2 + 2 D (F - D) = 4 D^2 + 2 D F, a layer's
// share of both kinds. The matrices of all layers together hold exactly as many weights as the encoder's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/weights.h"

namespace autoregressive {

using mask_predict::ModelConfig;

enum class Architecture { DecoderOnly, EncoderDecoder };

struct CrossAttention {
  mask_predict::LinearWeights query;      // [D, D]
  mask_predict::LinearWeights key_value;  // [2D, D]: keys, then values
  mask_predict::LinearWeights output;     // [D, D]
  mask_predict::NormWeights norm;
};

struct DecoderLayer {
  const mask_predict::LayerWeights* block;  // self-attention and feed-forward
  const CrossAttention* cross;              // between them; nullptr in a decoder-only model
};

struct Model {
  Architecture architecture;
  // The embeddings and the head, which source and target share; its layers are the encoder's, or those of a decoder
  // without one.
  std::shared_ptr<const mask_predict::Weights> shared;
  // Only in an encoder-decoder:
  std::vector<mask_predict::LayerWeights> decoding;
  std::vector<CrossAttention> cross;
  mask_predict::NormWeights decoding_norm;

  const ModelConfig& config() const { return shared->config; }  // of a stack: its layers, its feed-forward
  std::vector<DecoderLayer> decoder() const;
  // On the embeddings (post-LN) or after the last layer (pre-LN) of the decoder.
  const mask_predict::NormWeights& decoder_norm() const;
  // Weights of the matrices that every generated token runs through: the decoder's layers, without the head.
  int64_t decoder_body() const;
  // The same of an encoder-decoder's encoder, plus what turns its states into keys and values.
  int64_t encoder_body() const;
  int64_t parameters() const;
};

// `like`: the encoder-only model, its mask_token_id settled. Throws Error(InvalidArgument) if the layers cannot be
// halved or the feed-forward is not wider than the model.
Model random_model(Architecture architecture, const ModelConfig& like, mask_predict::WeightType type, uint64_t seed,
                   const mask_predict::LoadContext& context);

}  // namespace autoregressive
