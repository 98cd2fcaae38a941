#include "training/parameters.h"

#include <map>
#include <utility>

#include "base/numbers.h"

namespace mask_predict::training {
namespace {

constexpr int64_t alignment = 16;  // floats: a line of the cache

}  // namespace

// The entries of the model's table by where they lie in `weights`, which is empty.
class ParameterTable::Places {
 public:
  explicit Places(const ModelConfig& config) {
    weights.layers.resize(static_cast<size_t>(config.layers));
    each_tensor(config, weights,
                {[this](const TensorEntry& entry, PackedMatrix& place) { entries_.emplace(&place, entry); },
                 [this](const TensorEntry& entry, Buffer& place) { entries_.emplace(&place, entry); }});
  }
  template <class Place>
  const TensorEntry& operator[](const Place& place) const {
    return entries_.at(&place);
  }
  template <class Place>
  bool has(const Place& place) const {
    return entries_.count(&place) > 0;
  }

  Weights weights;

 private:
  std::map<const void*, TensorEntry> entries_;
};

ParameterTable::ParameterTable(const ModelConfig& c, const ParameterChoices& choices) : choices_(choices) {
  const Places places(c);
  const Weights& w = places.weights;
  const bool pre = c.norm == NormPlacement::Pre;
  for (const LayerWeights& l : w.layers) layers.push_back(layer(places, l));
  if (pre) outer_norm = norm(places, w.outer_norm);
  head_dense = linear(places, w.head_dense);
  head_norm = norm(places, w.head_norm);
  align();
  head_bias = add(places[w.head_bias], Kind::Bias);
  decoder = places.has(w.separate_decoder) ? add(places[w.separate_decoder], Kind::Embedding) : -1;
  lengths = places.has(w.lengths) ? add(places[w.lengths], Kind::Embedding) : -1;

  if (choices.freeze_embeddings) {
    align();
    trained_ = count_;
    adding_trained_ = false;
  }
  words = add(places[w.words], Kind::Embedding);
  const TensorEntry& table = places[w.positions];
  positions = add(table, Kind::Embedding);
  align();
  token_types = choices.token_types ? add(Kind::Embedding, table.added, "", {table.added_rows, table.inputs}) : -1;
  if (!pre) outer_norm = norm(places, w.outer_norm);
  if (decoder < 0) decoder = words;
  align();
  if (adding_trained_) trained_ = count_;
}

void ParameterTable::align() { count_ = round_up(count_, alignment); }

// The tensors of an entry, one behind the other.
int64_t ParameterTable::add(const TensorEntry& entry, Kind kind) {
  const int64_t outputs = entry.outputs / static_cast<int64_t>(entry.names.size());
  int64_t first = -1;
  for (const std::string& name : entry.names) {
    const int64_t offset =
        add(kind, name, entry.another,
            entry.is_vector() ? std::vector<int64_t>{outputs} : std::vector<int64_t>{outputs, entry.inputs});
    if (first < 0) first = offset;
  }
  return first;
}

int64_t ParameterTable::add(Kind kind, const std::string& name, const std::string& another,
                            std::vector<int64_t> shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  const bool decays = kind == Kind::Matrix || kind == Kind::Embedding || choices_.decay_all;
  tensors_.push_back({kind, name, another, std::move(shape), count_, count, decays, adding_trained_});
  count_ += count;
  return tensors_.back().offset;
}

template <class Linear>
LinearOffsets ParameterTable::linear(const Places& places, const Linear& l) {
  align();
  const int64_t weight = add(places[l.matrix], Kind::Matrix);
  align();
  return {weight, add(places[l.bias], Kind::Bias)};
}

NormOffsets ParameterTable::norm(const Places& places, const NormWeights& n) {
  align();
  const int64_t gain = add(places[n.gain], Kind::Gain);
  align();
  return {gain, add(places[n.shift], Kind::Shift)};
}

LayerOffsets ParameterTable::layer(const Places& places, const LayerWeights& l) {
  LayerOffsets layer{};
  align();
  layer.query_key_value.weight = add(places[l.query.matrix], Kind::Matrix);
  add(places[l.key_value.matrix], Kind::Matrix);
  align();
  layer.query_key_value.bias = add(places[l.query.bias], Kind::Bias);
  add(places[l.key_value.bias], Kind::Bias);
  layer.attention_output = linear(places, l.attention_output);
  layer.attention_norm = norm(places, l.attention_norm);
  layer.feed_forward_in = linear(places, l.feed_forward_in);
  layer.feed_forward_out = linear(places, l.feed_forward_out);
  layer.feed_forward_norm = norm(places, l.feed_forward_norm);
  return layer;
}

std::vector<WeightRange> ParameterTable::trained_ranges() const {
  std::vector<WeightRange> ranges;
  for (const ParameterTensor& tensor : tensors_)
    if (tensor.trained) ranges.push_back({tensor.offset, tensor.count, tensor.decays});
  return ranges;
}

}  // namespace mask_predict::training
