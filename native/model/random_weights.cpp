// Weights from a seed: every value is a hash of (seed, tensor, index), so tensors can be drawn in any order and by
// any number of threads.
#include <cmath>

#include "base/error.h"
#include "model/tensor_source.h"
#include "model/tensor_table.h"
#include "model/weights.h"

namespace mask_predict {
namespace {

// SplitMix64's output function (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

class RandomSource : public TensorSource {
 public:
  RandomSource(uint64_t seed, WeightType type, const Context& context, const ModelConfig& config)
      : seed_(seed), type_(type), context_(context), config_(config) {}

  bool has(const std::string& name) const override {
    return name != "roberta.embeddings.token_type_embeddings.weight" &&
           (name != xlm_roberta_names().decoder || !config_.tie_word_embeddings);
  }
  bool same(const std::string&, const std::string&) const override { return false; }
  std::optional<PackedMatrix> packed(const std::string&, int64_t, int64_t,
                                     std::shared_ptr<MemoryBudget>) const override {
    return std::nullopt;
  }
  WeightType stored_type(const std::string&) const override { return WeightType::F32; }
  WeightType type(const std::string&) const override { return type_; }

  void pack(const std::string& name, const StoredRows&, int64_t first, int64_t count,
            PackedMatrix& matrix) const override {
    const Values values{stream_of(name), matrix.inputs, range_of(matrix.inputs)};
    const auto value = [](const void* state, int64_t output, int64_t input) {
      const Values& v = *static_cast<const Values*>(state);
      return uniform(v.stream, static_cast<uint64_t>(output * v.inputs + input)) * v.range;
    };
    context_.operations->pack(context_, {nullptr, WeightType::F32, value, &values}, first, count, matrix);
  }

  std::vector<float> read(const std::string& name, int64_t rows, int64_t columns) const override {
    const bool norm = name.find("LayerNorm") != std::string::npos || name.find("layer_norm") != std::string::npos;
    std::vector<float> values(static_cast<size_t>(rows == 0 ? columns : rows * columns));
    const uint64_t stream = stream_of(name);
    for (size_t i = 0; i < values.size(); i++) {
      if (norm)
        values[i] = ends_with(name, ".weight") ? 1.0f : 0.0f;
      else
        values[i] = uniform(stream, i) * (rows == 0 ? 0.02f : range_of(columns));
    }
    return values;
  }

 private:
  struct Values {
    uint64_t stream;
    int64_t inputs;
    float range;
  };

  uint64_t stream_of(const std::string& name) const {
    uint64_t stream = mix(seed_);
    for (const char c : name) stream = mix(stream ^ static_cast<uint8_t>(c));
    return stream;
  }
  // In [-1, 1).
  static float uniform(uint64_t stream, uint64_t index) {
    const int32_t bits = static_cast<int32_t>(mix(stream + index) >> 40) - (1 << 23);
    return static_cast<float>(bits) * 0x1p-23f;
  }
  static float range_of(int64_t inputs) { return static_cast<float>(std::sqrt(3.0 / static_cast<double>(inputs))); }

  const uint64_t seed_;
  const WeightType type_;
  const Context& context_;
  const ModelConfig& config_;
};

}  // namespace

std::unique_ptr<const TensorSource> random_tensors(const ModelConfig& config, WeightType type, uint64_t seed,
                                                   const Context& context) {
  return std::make_unique<RandomSource>(seed, type, context, config);
}

std::shared_ptr<const Weights> random_weights(const ModelConfig& config, WeightType type, uint64_t seed,
                                              const LoadContext& context) {
  const uint64_t bytes = packed_bytes(config, type, context.head_type, context.device);
  context.budget->reserve(bytes, "a random " + config.model_type + " model of " +
                                     std::to_string(config.parameters() / 1000000) + " million parameters");
  context.budget->release(bytes);
  return WeightsBuilder(*random_tensors(config, type, seed, context.device), context).build(config);
}

}  // namespace mask_predict
