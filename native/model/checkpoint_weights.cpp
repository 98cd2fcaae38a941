// Weights from a checkpoint: every tensor's shape and type is checked against the config before it is read, and
// its pages are given back once packed.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/checkpoint.h"
#include "model/config_reader.h"
#include "model/saved_weights.h"
#include "model/tensor_source.h"
#include "model/tensor_table.h"
#include "model/weights.h"

namespace mask_predict {
namespace {

constexpr int64_t part_bytes = 32 << 20;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

class CheckpointSource : public TensorSource {
 public:
  CheckpointSource(const Checkpoint& checkpoint, const Context& context, std::optional<WeightType> type,
                   const ModelConfig& config)
      : checkpoint_(checkpoint),
        context_(context),
        type_(type),
        model_name_(config.is_modern_bert() ? "ModernBERT" : "XLM-RoBERTa or XLM-RoBERTa-XL"),
        saved_(is_saved(checkpoint)) {}

  // True if the file holds matrices that were packed before they were saved.
  bool saved() const { return saved_; }

  bool has(const std::string& name) const override { return checkpoint_.find(name) != nullptr; }

  bool same(const std::string& name, const std::string& other) const override {
    return find(name).data == find(other).data && find(name).strides == find(other).strides;
  }

  WeightType stored_type(const std::string& name) const override {
    return is_packed(name) ? WeightType::I8 : type_of(find(name));
  }
  // Bytes stay bytes on any device.
  WeightType type(const std::string& name) const override {
    const WeightType stored = stored_type(name);
    return type_ && stored != WeightType::I8 ? *type_ : stored;
  }

  std::optional<PackedMatrix> packed(const std::string& name, int64_t outputs, int64_t inputs,
                                     std::shared_ptr<MemoryBudget> budget) const override {
    if (!context_.operations->reads_saved_layout || !is_packed(name)) return std::nullopt;
    return saved_matrix(name, outputs, inputs, std::move(budget));
  }

  // A matrix of a saved file, in the CPU's layout, where it is mapped.
  PackedMatrix saved_matrix(const std::string& name, int64_t outputs, int64_t inputs,
                            std::shared_ptr<MemoryBudget> budget) const {
    const Tensor* const tensor = &find(name);
    const int64_t bytes = cpu::packed_bytes(WeightType::I8, outputs, inputs);
    if (tensor->shape != std::vector<int64_t>{bytes})
      throw Error(ErrorCode::ModelFormat, "tensor \"" + name + "\" has shape " + shape_text(tensor->shape) +
                                              ", but a packed " + shape_text({outputs, inputs}) + " has [" +
                                              std::to_string(bytes) + "]");
    if (reinterpret_cast<uintptr_t>(tensor->data) % saved_alignment != 0)
      throw Error(ErrorCode::ModelFormat, "tensor \"" + name + "\" does not begin at a multiple of " +
                                              std::to_string(saved_alignment) + " bytes");
    const std::shared_ptr<const MappedFile> file = checkpoint_.mapping(*tensor);
    file->fetch(static_cast<uint64_t>(tensor->data - file->data()), tensor->bytes);
    return PackedMatrix{WeightType::I8, outputs, inputs,
                        Buffer::view(tensor->data, tensor->bytes, file, std::move(budget), name)};
  }

  void check_shape(const std::string& name, const std::vector<int64_t>& shape) const { find(name, shape); }

  // Rows of a classifier's last layer [classes, hidden], 0 if there is none.
  int64_t classes(const std::string& name, int64_t hidden) const {
    const Tensor* tensor = name.empty() ? nullptr : checkpoint_.find(name + ".weight");
    if (tensor == nullptr) return 0;
    if (tensor->shape.size() != 2 || tensor->shape[1] != hidden || tensor->shape[0] < 1 || tensor->shape[0] > (1 << 20))
      throw Error(ErrorCode::ModelFormat, "tensor \"" + tensor->name + "\" has shape " + shape_text(tensor->shape) +
                                              "; a classifier has 1 to 2^20 rows of " + std::to_string(hidden));
    return tensor->shape[0];
  }

  // Rows of the length predictor [classes, hidden], 0 if there is none.
  int64_t length_classes(const std::string& name, int64_t hidden) const {
    const Tensor* tensor = checkpoint_.find(name);
    if (tensor == nullptr) return 0;
    if (tensor->shape.size() != 2 || tensor->shape[1] != hidden || tensor->shape[0] < 4 || tensor->shape[0] > (1 << 20))
      throw Error(ErrorCode::ModelFormat, "tensor \"" + name + "\" has shape " + shape_text(tensor->shape) +
                                              "; a length predictor has 4 to 2^20 rows of " + std::to_string(hidden));
    return tensor->shape[0];
  }

  void pack(const std::string& name, const StoredRows& taken, int64_t first, int64_t count,
            PackedMatrix& matrix) const override {
    if (is_packed(name)) return pack_saved(name, first, count, matrix);
    const Tensor& tensor = find(name, {taken.all == 0 ? count : taken.all, matrix.inputs});
    // A part after the other, so that a large matrix is not in memory twice.
    const int64_t row_bytes = matrix.inputs * bytes_of(type_of(tensor));
    const int64_t part = std::max<int64_t>(1, part_bytes / (row_bytes * cpu::group_columns)) * cpu::group_columns;
    std::vector<uint8_t> buffer;
    for (int64_t row = 0; row < count; row += part) {
      const int64_t rows = std::min(part, count - row);
      const uint8_t* const values = taken.gate ? gated_rows(tensor, row, rows, count, row_bytes, buffer)
                                               : rows_of(tensor, taken.first + row, rows, buffer);
      context_.operations->pack(context_, {values, type_of(tensor), nullptr, nullptr}, first + row, rows, matrix);
      if (!taken.gate)
        checkpoint_.release(tensor, static_cast<uint64_t>((taken.first + row) * row_bytes),
                            static_cast<uint64_t>(rows * row_bytes));
    }
    if (taken.gate) checkpoint_.release(tensor);
  }

  std::vector<float> read(const std::string& name, int64_t rows, int64_t columns) const override {
    const Tensor& tensor = rows == 0 ? find(name, {columns}) : find(name, {rows, columns});
    const WeightType type = type_of(tensor);
    std::vector<float> values(static_cast<size_t>(rows == 0 ? columns : rows * columns));
    std::vector<uint8_t> buffer;
    const uint8_t* const stored = rows_of(tensor, 0, tensor.shape.front(), buffer);
    for (size_t i = 0; i < values.size(); i++) values[i] = read_weight(stored, type, static_cast<int64_t>(i));
    checkpoint_.release(tensor);
    return values;
  }

 private:
  bool is_packed(const std::string& name) const {
    const Tensor* const tensor = saved_ ? checkpoint_.find(name) : nullptr;
    return tensor != nullptr && tensor->type == TensorType::U8;
  }

  // Packs a matrix of a saved file for a device that reads another layout. Each row has a byte of 127 or -127, so its
  // bytes come out as they were; its scale may differ in the last bit.
  void pack_saved(const std::string& name, int64_t first, int64_t count, PackedMatrix& matrix) const {
    const PackedMatrix saved = saved_matrix(name, count, matrix.inputs, nullptr);
    const int64_t part = std::max<int64_t>(1, part_bytes / (matrix.inputs * static_cast<int64_t>(sizeof(float))));
    std::vector<float> rows(static_cast<size_t>(std::min(part, count) * matrix.inputs));
    for (int64_t row = 0; row < count; row += part) {
      const int64_t here = std::min(part, count - row);
      for (int64_t i = 0; i < here; i++) cpu::unpack_row(saved, row + i, rows.data() + i * matrix.inputs);
      context_.operations->pack(context_, {rows.data(), WeightType::F32, nullptr, nullptr}, first + row, here, matrix);
    }
    checkpoint_.release(find(name));
  }

  // Rows first ... first + rows - 1 in the order of a gated feed-forward of `outputs` rows, in `buffer`.
  static const uint8_t* gated_rows(const Tensor& tensor, int64_t first, int64_t rows, int64_t outputs,
                                   int64_t row_bytes, std::vector<uint8_t>& buffer) {
    buffer.resize(static_cast<size_t>(rows * row_bytes));
    std::vector<uint8_t> row_buffer;
    for (int64_t i = 0; i < rows; i++)
      std::memcpy(buffer.data() + i * row_bytes, rows_of(tensor, gated_row(first + i, outputs), 1, row_buffer),
                  static_cast<size_t>(row_bytes));
    return buffer.data();
  }

  static bool is_saved(const Checkpoint& checkpoint) {
    const std::string* layout = checkpoint.metadata(saved_layout_key);
    if (layout != nullptr && *layout != saved_layout)
      throw Error(ErrorCode::ModelFormat, checkpoint.files().front() + ": its weights are in the layout \"" + *layout +
                                              "\", but this version reads \"" + saved_layout +
                                              "\"; quantize the model again");
    return layout != nullptr;
  }

  const Tensor& find(const std::string& name) const {
    const Tensor* tensor = checkpoint_.find(name);
    if (tensor == nullptr)
      throw Error(ErrorCode::ModelFormat, checkpoint_.files().front() + ": there is no tensor \"" + name +
                                              "\", which a checkpoint of " + model_name_ + " has; there are " +
                                              checkpoint_.describe());
    return *tensor;
  }

  const Tensor& find(const std::string& name, const std::vector<int64_t>& shape) const {
    const Tensor& tensor = find(name);
    if (tensor.shape != shape)
      throw Error(ErrorCode::ModelFormat, "tensor \"" + name + "\" has shape " + shape_text(tensor.shape) +
                                              ", but config.json asks for " + shape_text(shape));
    return tensor;
  }

  static WeightType type_of(const Tensor& tensor) {
    switch (tensor.type) {
      case TensorType::F32: return WeightType::F32;
      case TensorType::F16: return WeightType::F16;
      case TensorType::BF16: return WeightType::BF16;
      default:
        throw Error(ErrorCode::ModelFormat,
                    "tensor \"" + tensor.name + "\" is " + tensor.type_name + "; weights must be F32, F16 or BF16");
    }
  }

  const Checkpoint& checkpoint_;
  const Context& context_;
  const std::optional<WeightType> type_;  // of every matrix; none: as stored
  const std::string model_name_;          // for messages
  const bool saved_;
};

}  // namespace

std::shared_ptr<const Weights> load_weights(const std::string& directory, std::optional<WeightType> type,
                                            int64_t mask_token_id, const LoadContext& context) {
  ModelConfig config = read_config(directory);
  if (config.mask_token_id < 0 && mask_token_id < 0 && config.is_modern_bert())
    mask_token_id = mask_in_tokenizer(directory);
  if (config.mask_token_id < 0) {
    if (mask_token_id < 0)
      throw Error(ErrorCode::ModelFormat,
                  directory + "/config.json has no mask_token_id; name it in the option maskTokenId (" +
                      (config.is_modern_bert() ? "that of [MASK] in tokenizer.json, which is not there either)"
                                               : "the SentencePiece model's size + 1)"));
    if (mask_token_id < 4 || mask_token_id >= config.vocabulary)
      throw Error(ErrorCode::InvalidArgument, "maskTokenId is " + std::to_string(mask_token_id) +
                                                  ", but the model has ids 4 ... " +
                                                  std::to_string(config.vocabulary - 1) + " for it");
    config.mask_token_id = mask_token_id;
  } else if (mask_token_id >= 0 && mask_token_id != config.mask_token_id) {
    throw Error(ErrorCode::InvalidArgument,
                "maskTokenId is " + std::to_string(mask_token_id) +
                    ", but config.json says mask_token_id: " + std::to_string(config.mask_token_id));
  }

  const Checkpoint checkpoint = Checkpoint::open(directory, context.files);
  const CheckpointSource source(checkpoint, context.device, type, config);
  if (config.is_modern_bert() &&
      (source.has("model.embeddings.tok_embeddings.weight") || source.has("model.final_norm.weight")))
    config.tensor_prefix = "model.";
  if (source.saved() && context.head_type.value_or(WeightType::I8) != WeightType::I8)
    throw Error(ErrorCode::InvalidArgument, "the weights in " + directory +
                                                " are saved as int8, the head's too; headPrecision must be 'auto' or "
                                                "'int8'");
  const TensorNames names = tensor_names(config);
  // A file may have a tied tensor under either of its two names.
  const bool decoder_alone = config.tie_word_embeddings && !source.has(names.words) && source.has(names.decoder);
  const std::string& words = decoder_alone ? names.decoder : names.words;
  const std::string beyond = tensor_of_layer(config, config.layers);
  if (source.has(beyond))
    throw Error(ErrorCode::ModelFormat, "config.json says num_hidden_layers: " + std::to_string(config.layers) +
                                            ", but there is a tensor \"" + beyond + "\"");
  if (!source.saved()) source.check_shape(words, {config.vocabulary, config.hidden});
  const int64_t length_rows = source.length_classes(names.lengths, config.hidden);
  if (config.lengths > 0 && config.lengths != length_rows)
    throw Error(ErrorCode::ModelFormat, "config.json says length_vocab_size: " + std::to_string(config.lengths) +
                                            ", but tensor \"" + names.lengths + "\" has " +
                                            std::to_string(length_rows) + " rows");
  config.lengths = length_rows;
  config.head =
      std::any_of(names.head.begin(), names.head.end(), [&](const std::string& name) { return source.has(name); });
  config.classes = source.classes(names.classifier, config.hidden);
  config.token_classes = source.classes(names.token_classifier, config.hidden);

  // Everything at once, so that a model that does not fit is refused before any of it is read.
  const WeightType packed_type = source.saved() ? WeightType::I8 : source.type(words);
  const uint64_t bytes = packed_bytes(config, packed_type, context.head_type, context.device);
  // Files that were read are in memory beside what is packed from them, until that is done.
  const bool in_place = source.saved() && context.device.operations->reads_saved_layout;
  const uint64_t beside = in_place ? 0 : checkpoint.bytes_read();
  context.budget->reserve(bytes + beside, "the model in " + directory);
  context.budget->release(bytes);
  const std::shared_ptr<void> until_packed(nullptr, [&](void*) { context.budget->release(beside); });
  return WeightsBuilder(source, context).build(config);
}

}  // namespace mask_predict
