// Packs a model's tensors as the table of its architecture names them. Checkpoints and generators differ only in
// TensorSource.
#include "model/weights.h"

#include <cmath>

#include "base/error.h"
#include "model/tensor_source.h"
#include "model/tensor_table.h"

namespace mask_predict {
namespace {

using Role = TensorEntry::Role;

// Values of a buffer are padded to whole panels: kernels read biases panel by panel.
int64_t padded(int64_t values) { return round_up(values, cpu::panel_columns); }

bool has_row_major_copy(Role role, WeightType type, const Context& device) {
  return device.row_major_copies && role == Role::Product && type == WeightType::BF16;
}

WeightType type_for(const TensorEntry& entry, WeightType type, WeightType instead_of_bytes) {
  return entry.is_never_bytes() && bytes_of(type) == 1 ? instead_of_bytes : type;
}

uint64_t angle_bytes(const ModelConfig& config) {
  return static_cast<uint64_t>(config.max_positions * config.head_size()) * sizeof(float);
}

}  // namespace

uint64_t packed_bytes(const ModelConfig& config, WeightType type, std::optional<WeightType> head_type,
                      const Context& device) {
  int64_t bytes = 0;
  for (const TensorEntry& entry : tensors_of(config)) {
    if (entry.is_matrix()) {
      const WeightType head = head_type.value_or(type);
      const WeightType packed = entry.role == Role::Decoder ? head : type_for(entry, type, WeightType::F32);
      bytes += device.operations->packed_bytes(packed, entry.outputs, entry.inputs);
      if (entry.role == Role::Words && config.head && config.tie_word_embeddings && head != type)
        bytes += device.operations->packed_bytes(head, entry.outputs, entry.inputs);
      if (has_row_major_copy(entry.role, packed, device)) bytes += entry.values() * bytes_of(packed);
    } else {
      bytes += padded(entry.values()) * static_cast<int64_t>(sizeof(float));
    }
  }
  return static_cast<uint64_t>(bytes) + (config.is_modern_bert() ? 2 * angle_bytes(config) : 0);
}

WeightsBuilder::WeightsBuilder(const TensorSource& source, const LoadContext& context)
    : source_(source), context_(context) {}

void WeightsBuilder::step() {
  if (context_.cancelled != nullptr && context_.cancelled->load()) throw Cancelled();
  done_++;
  if (context_.progress) context_.progress(static_cast<double>(done_) / static_cast<double>(steps_));
}

// A tied tensor may have either of two names, and parts of a matrix may have been saved as one: returns the names that
// the source has.
std::vector<std::string> WeightsBuilder::names_in_source(const TensorEntry& entry) const {
  for (const std::string& other : {entry.another, entry.joined})
    if (!other.empty() && !source_.has(entry.names.front()) && source_.has(other)) return {other};
  return entry.names;
}

Buffer WeightsBuilder::values(const TensorEntry& entry) {
  const Operations& operations = *context_.device.operations;
  const int64_t part = entry.outputs / static_cast<int64_t>(entry.names.size());
  std::vector<float> values;
  for (const std::string& name : names_in_source(entry)) {
    const std::vector<float> read =
        entry.is_vector() ? source_.read(name, 0, part) : source_.read(name, part, entry.inputs);
    values.insert(values.end(), read.begin(), read.end());
  }
  if (!entry.added.empty() && source_.has(entry.added)) {
    const std::vector<float> rows = source_.read(entry.added, entry.added_rows, entry.inputs);
    for (size_t i = 0; i < values.size(); i++) values[i] += rows[i % static_cast<size_t>(entry.inputs)];
  }
  const uint64_t bytes = static_cast<uint64_t>(padded(static_cast<int64_t>(values.size()))) * sizeof(float);
  Buffer buffer = device_buffer(context_.device, bytes, context_.budget, entry.name());
  operations.upload(context_.device, buffer.as<void>(), values.data(), values.size() * sizeof(float));
  freeze(context_.device, buffer);
  return buffer;
}

// One matrix has one type: where a file has parts of two, the one that loses nothing.
WeightType WeightsBuilder::type_of(const TensorEntry& entry) const {
  const std::vector<std::string> names = names_in_source(entry);
  WeightType type = source_.type(names.front());
  for (const std::string& name : names)
    if (source_.type(name) != type) type = WeightType::F32;
  if (entry.role == Role::Decoder && context_.head_type) return *context_.head_type;
  const std::optional<WeightType> default_type = context_.device.operations->default_type(context_.device);
  return type_for(entry, type, default_type ? *default_type : source_.stored_type(names.front()));
}

PackedMatrix WeightsBuilder::matrix(const TensorEntry& entry) {
  const Operations& operations = *context_.device.operations;
  if (std::optional<PackedMatrix> there = source_.packed(entry.name(), entry.outputs, entry.inputs, context_.budget)) {
    check_scales(entry.name(), 0, entry.outputs, *there);
    step();
    return std::move(*there);
  }
  const WeightType type = type_of(entry);
  const auto bytes = static_cast<uint64_t>(operations.packed_bytes(type, entry.outputs, entry.inputs));
  const std::vector<std::string> names = names_in_source(entry);
  PackedMatrix matrix{type, entry.outputs, entry.inputs,
                      device_buffer(context_.device, bytes, context_.budget, names.front())};
  const int64_t part = entry.outputs / static_cast<int64_t>(names.size());
  for (size_t i = 0; i < names.size(); i++) {
    const int64_t begin = static_cast<int64_t>(i) * part;
    source_.pack(names[i], entry.rows, begin, part, matrix);
    check_scales(names[i], begin, part, matrix);
  }
  if (has_row_major_copy(entry.role, type, context_.device)) add_row_major_copy(names.front(), matrix);
  freeze(context_.device, matrix);
  step();
  return matrix;
}

// The same in row-major order, for products of many rows by another's library.
void WeightsBuilder::add_row_major_copy(const std::string& name, PackedMatrix& matrix) const {
  const Operations& operations = *context_.device.operations;
  const auto bytes = static_cast<uint64_t>(matrix.outputs * matrix.inputs * bytes_of(matrix.type));
  matrix.row_major = device_buffer(context_.device, bytes, context_.budget, name);
  operations.copy_row_major(context_.device, matrix);
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
  return {matrix({Role::Product, {name + ".weight"}, outputs, inputs}),
          values({Role::Vector, {name + ".bias"}, outputs, 0})};
}

NormWeights WeightsBuilder::norm(const std::string& name, int64_t width) {
  return {values({Role::Vector, {name + ".weight"}, width, 0}), values({Role::Vector, {name + ".bias"}, width, 0})};
}

LayerWeights WeightsBuilder::layer(int64_t index, const ModelConfig& config) {
  LayerWeights layer;
  each_tensor_of_layer(config, index, layer,
                       {[&](const TensorEntry& entry, PackedMatrix& place) { place = matrix(entry); },
                        [&](const TensorEntry& entry, Buffer& place) { place = values(entry); }});
  return layer;
}

// Tied to the word embeddings, whose values it takes from the source once more.
void WeightsBuilder::add_head_of_its_own(const ModelConfig& c, Weights& weights) {
  if (!context_.head_type || !c.head || !c.tie_word_embeddings || *context_.head_type == weights.words.type) return;
  for (TensorEntry entry : tensors_of(c)) {
    if (entry.role != Role::Words) continue;
    entry.role = Role::Decoder;
    weights.separate_decoder = matrix(entry);
  }
}

void WeightsBuilder::add_angles(Weights& weights) const {
  const ModelConfig& c = weights.config;
  const auto table = [&](double theta) {
    Buffer angles = device_buffer(context_.device, angle_bytes(c), context_.budget, "the angles of positions");
    fill_rotary_table(angles.as<float>(), c.max_positions, c.head_size(), theta);
    return angles;
  };
  weights.global_angles = table(c.rotary.global_theta);
  weights.local_angles = table(c.rotary.local_theta);
}

std::shared_ptr<const Weights> WeightsBuilder::build(const ModelConfig& config) {
  auto weights = std::make_shared<Weights>();
  weights->config = config;
  weights->budget = context_.budget;
  ModelConfig& c = weights->config;
  const TensorNames names = tensor_names(c);
  if (c.head && !c.tie_word_embeddings) {
    if (!source_.has(names.decoder))
      throw Error(ErrorCode::ModelFormat,
                  "config.json says tie_word_embeddings: false, but there is no tensor \"" + names.decoder + "\"");
    c.tie_word_embeddings = source_.same(names.decoder, names.words);
  }
  weights->layers.resize(static_cast<size_t>(c.layers));
  steps_ = 0;
  for (const TensorEntry& entry : tensors_of(c)) steps_ += entry.is_matrix();
  each_tensor(c, *weights,
              {[&](const TensorEntry& entry, PackedMatrix& place) { place = matrix(entry); },
               [&](const TensorEntry& entry, Buffer& place) { place = values(entry); }});
  add_head_of_its_own(c, *weights);
  if (c.is_modern_bert()) add_angles(*weights);
  if (context_.progress) context_.progress(1);
  return weights;
}

}  // namespace mask_predict
