// The walk over an architecture: which tensor goes where. Checkpoints and generators differ only in TensorSource.
#include "model/weights.h"

#include <cmath>

#include "base/error.h"
#include "model/tensor_source.h"

namespace mask_predict {
namespace {

bool has_plain_copy(WeightType type, const Context& device) { return device.plain_copies && type == WeightType::BF16; }

int64_t padded(int64_t values) { return round_up(values, cpu::panel_columns); }

}  // namespace

uint64_t packed_bytes(const ModelConfig& c, WeightType type, const Context& device) {
  const int64_t d = c.hidden, f = c.feed_forward;
  const auto matrix = [&](int64_t outputs, int64_t inputs) {
    return device.operations->packed_bytes(type, outputs, inputs);
  };
  const auto linear = [&](int64_t outputs, int64_t inputs) {
    return matrix(outputs, inputs) + (has_plain_copy(type, device) ? outputs * inputs * bytes_of(type) : 0);
  };
  const int64_t layer = linear(d, d) * 2 + linear(2 * d, d) + linear(f, d) + linear(d, f) + 4 * (9 * d + f);
  int64_t bytes = c.layers * layer + matrix(c.vocabulary, d) + linear(d, d) + 4 * (c.max_positions * d + 5 * d);
  bytes += 4 * padded(c.vocabulary);
  if (!c.tie_word_embeddings) bytes += matrix(c.vocabulary, d);
  if (c.lengths > 0)
    bytes += device.operations->packed_bytes(bytes_of(type) == 1 ? WeightType::F32 : type, c.lengths, d);
  return static_cast<uint64_t>(bytes);
}

WeightsBuilder::WeightsBuilder(const TensorSource& source, const LoadContext& context)
    : source_(source), context_(context) {}

void WeightsBuilder::step() {
  if (context_.cancelled != nullptr && context_.cancelled->load()) throw Cancelled();
  done_++;
  if (context_.progress) context_.progress(static_cast<double>(done_) / static_cast<double>(steps_));
}

Buffer WeightsBuilder::upload(const std::vector<float>& values, const std::string& name) {
  const Operations& operations = *context_.device.operations;
  const uint64_t bytes = static_cast<uint64_t>(padded(static_cast<int64_t>(values.size()))) * sizeof(float);
  Buffer buffer(bytes, context_.budget, name, *operations.memory);
  operations.upload(context_.device, buffer.as<void>(), values.data(), values.size() * sizeof(float));
  return buffer;
}

Buffer WeightsBuilder::vector(const std::string& name, int64_t size) {
  return upload(source_.read(name, 0, size), name);
}

PackedMatrix WeightsBuilder::empty(const std::string& name, WeightType type, int64_t outputs, int64_t inputs) {
  const Operations& operations = *context_.device.operations;
  const auto bytes = static_cast<uint64_t>(operations.packed_bytes(type, outputs, inputs));
  return {type, outputs, inputs, Buffer(bytes, context_.budget, name, *operations.memory)};
}

// Where products of many rows are another's, in row-major order too.
void WeightsBuilder::add_plain_copy(const std::string& name, PackedMatrix& matrix) const {
  if (!has_plain_copy(matrix.type, context_.device)) return;
  const Operations& operations = *context_.device.operations;
  const auto bytes = static_cast<uint64_t>(matrix.outputs * matrix.inputs * bytes_of(matrix.type));
  matrix.plain = Buffer(bytes, context_.budget, name, *operations.memory);
  operations.copy_plainly(context_.device, matrix);
}

PackedMatrix WeightsBuilder::matrix(const std::string& name, int64_t outputs, int64_t inputs) {
  std::optional<PackedMatrix> there = source_.packed(name, outputs, inputs, context_.budget);
  if (!there) return matrix(name, source_.type(name), outputs, inputs);
  check_scales(name, 0, outputs, *there);
  step();
  return std::move(*there);
}

PackedMatrix WeightsBuilder::matrix(const std::string& name, WeightType type, int64_t outputs, int64_t inputs) {
  PackedMatrix matrix = empty(name, type, outputs, inputs);
  fill(name, 0, outputs, matrix);
  step();
  return matrix;
}

void WeightsBuilder::fill(const std::string& name, int64_t first, int64_t count, PackedMatrix& matrix) {
  source_.pack(name, first, count, matrix);
  check_scales(name, first, count, matrix);
}

// A scale is NaN where an output had a value that is no finite number: a byte has no place for it.
void WeightsBuilder::check_scales(const std::string& name, int64_t first, int64_t count,
                                  const PackedMatrix& matrix) const {
  if (bytes_of(matrix.type) != 1) return;
  const Operations& operations = *context_.device.operations;
  std::vector<float> scales(static_cast<size_t>(count));
  operations.download(context_.device, scales.data(), operations.scales(matrix) + first, scales.size() * sizeof(float));
  for (size_t i = 0; i < scales.size(); i++)
    if (!(std::isfinite(scales[i]) && scales[i] >= 0))
      throw Error(ErrorCode::ModelFormat, "tensor \"" + name + "\" has values in row " + std::to_string(i) +
                                              " that are not finite numbers, which a byte cannot hold");
}

LinearWeights WeightsBuilder::linear(const std::string& name, int64_t outputs, int64_t inputs) {
  LinearWeights weights{matrix(name + ".weight", outputs, inputs), vector(name + ".bias", outputs)};
  add_plain_copy(name + ".weight", weights.matrix);
  return weights;
}

NormWeights WeightsBuilder::norm(const std::string& name, int64_t width) {
  return {vector(name + ".weight", width), vector(name + ".bias", width)};
}

PackedMatrix WeightsBuilder::key_value(const std::string& attention, int64_t width) {
  if (source_.has(attention + "key_value.weight")) return matrix(attention + "key_value.weight", 2 * width, width);
  // One matrix has one type: where a file has two, the one that loses nothing.
  const WeightType key = source_.type(attention + "key.weight"), value = source_.type(attention + "value.weight");
  PackedMatrix matrix = empty(attention + "key.weight", key == value ? key : WeightType::F32, 2 * width, width);
  fill(attention + "key.weight", 0, width, matrix);
  fill(attention + "value.weight", width, width, matrix);
  add_plain_copy(attention + "key.weight", matrix);
  step();
  return matrix;
}

LayerWeights WeightsBuilder::layer(int64_t index, const ModelConfig& c) {
  const std::string prefix = "roberta.encoder.layer." + std::to_string(index) + ".";
  const std::string attention = prefix + "attention.self.";
  const bool pre = c.norm == NormPlacement::Pre;
  const int64_t d = c.hidden;
  LayerWeights layer;
  layer.query = linear(attention + "query", d, d);
  layer.key_value.matrix = key_value(attention, d);
  std::vector<float> biases = source_.read(attention + "key.bias", 0, d);
  const std::vector<float> value_biases = source_.read(attention + "value.bias", 0, d);
  biases.insert(biases.end(), value_biases.begin(), value_biases.end());
  layer.key_value.bias = upload(biases, attention + "key.bias");
  layer.attention_output = linear(prefix + "attention.output.dense", d, d);
  layer.attention_norm = norm(prefix + (pre ? "attention.self_attn_layer_norm" : "attention.output.LayerNorm"), d);
  layer.feed_forward_in = linear(prefix + "intermediate.dense", c.feed_forward, d);
  layer.feed_forward_out = linear(prefix + "output.dense", d, c.feed_forward);
  layer.feed_forward_norm = norm(prefix + (pre ? "LayerNorm" : "output.LayerNorm"), d);
  return layer;
}

std::shared_ptr<const Weights> WeightsBuilder::build(const ModelConfig& config) {
  auto weights = std::make_shared<Weights>();
  weights->config = config;
  weights->budget = context_.budget;
  ModelConfig& c = weights->config;
  const int64_t d = c.hidden;
  const std::string embeddings = "roberta.embeddings.", words = embeddings + "word_embeddings.weight";
  const std::string types = embeddings + "token_type_embeddings.weight", decoder = "lm_head.decoder.weight";
  steps_ = c.layers * 5 + 3;

  weights->words = matrix(words, c.vocabulary, d);
  std::vector<float> positions = source_.read(embeddings + "position_embeddings.weight", c.max_positions, d);
  if (source_.has(types)) {
    const std::vector<float> rows = source_.read(types, c.token_types, d);
    for (size_t i = 0; i < positions.size(); i++) positions[i] += rows[i % static_cast<size_t>(d)];
  }
  weights->positions = upload(positions, embeddings + "position_embeddings.weight");
  weights->outer_norm = norm(c.norm == NormPlacement::Pre ? "roberta.encoder.LayerNorm" : embeddings + "LayerNorm", d);
  for (int64_t i = 0; i < c.layers; i++) weights->layers.push_back(layer(i, c));

  weights->head_dense = linear("lm_head.dense", d, d);
  weights->head_norm = norm("lm_head.layer_norm", d);
  const bool only_decoder_bias = !source_.has("lm_head.bias") && source_.has("lm_head.decoder.bias");
  weights->head_bias = vector(only_decoder_bias ? "lm_head.decoder.bias" : "lm_head.bias", c.vocabulary);
  if (!c.tie_word_embeddings) {
    if (!source_.has(decoder))
      throw Error(ErrorCode::ModelFormat,
                  "config.json says tie_word_embeddings: false, but there is no tensor \"" + decoder + "\"");
    c.tie_word_embeddings = source_.same(decoder, words);
    if (!c.tie_word_embeddings) weights->separate_decoder = matrix(decoder, c.vocabulary, d);
  }
  if (c.lengths > 0) {
    // Small, and a length that is off by one is another answer: not worth a quarter of its bytes.
    const std::string lengths = "embed_length.weight";
    WeightType type = source_.type(lengths);
    if (bytes_of(type) == 1)
      type = context_.device.operations->default_type(context_.device).value_or(source_.stored_type(lengths));
    weights->lengths = matrix(lengths, type, c.lengths, d);
  }
  if (context_.progress) context_.progress(1);
  return weights;
}

}  // namespace mask_predict
