#include "training/model_files.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/saved_weights.h"
#include "model/tensor_table.h"

namespace mask_predict::training {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

WeightType type_of(const Tensor& tensor) {
  switch (tensor.type) {
    case TensorType::F32: return WeightType::F32;
    case TensorType::F16: return WeightType::F16;
    case TensorType::BF16: return WeightType::BF16;
    default:
      throw Error(ErrorCode::ModelFormat,
                  "tensor \"" + tensor.name + "\" is " + tensor.type_name + "; weights must be F32, F16 or BF16");
  }
}

void settle_mask_token(ModelConfig& config, const std::string& directory, int64_t given) {
  if (config.mask_token_id < 0) {
    if (given < 0)
      throw Error(ErrorCode::ModelFormat,
                  directory +
                      "/config.json has no mask_token_id; name it in the option maskTokenId (the SentencePiece "
                      "model's size + 1)");
    if (given < 4 || given >= config.vocabulary)
      throw Error(ErrorCode::InvalidArgument, "maskTokenId is " + std::to_string(given) +
                                                  ", but the model has ids 4 ... " +
                                                  std::to_string(config.vocabulary - 1) + " for it");
    config.mask_token_id = given;
  } else if (given >= 0 && given != config.mask_token_id) {
    throw Error(ErrorCode::InvalidArgument,
                "maskTokenId is " + std::to_string(given) +
                    ", but config.json says mask_token_id: " + std::to_string(config.mask_token_id));
  }
}

const Tensor* find(const Checkpoint& checkpoint, const ParameterTensor& wanted) {
  const Tensor* tensor = checkpoint.find(wanted.name);
  return tensor == nullptr && !wanted.another.empty() ? checkpoint.find(wanted.another) : tensor;
}

bool is_of_head(const ParameterTensor& tensor) {
  const std::vector<std::string>& head = xlm_roberta_names().head;
  return std::find(head.begin(), head.end(), tensor.name) != head.end();
}

}  // namespace

ModelFiles open_model(const std::string& directory, int64_t mask_token_id, bool new_head) {
  ModelConfig config = read_config(directory);
  if (config.is_modern_bert())
    throw Error(ErrorCode::InvalidArgument,
                directory +
                    ": models of the architecture ModernBERT cannot be trained here; the trainer is for "
                    "XLM-RoBERTa and XLM-RoBERTa-XL");
  ModelFiles files{std::move(config), false, false, Checkpoint::open(directory)};
  if (files.checkpoint.metadata(saved_layout_key) != nullptr)
    throw Error(ErrorCode::InvalidArgument,
                directory +
                    ": its weights are int8, which cannot be trained: a step is smaller than the rounding. Train the "
                    "directory they were quantized from, and quantize the result");
  ModelConfig& c = files.config;
  settle_mask_token(c, directory, mask_token_id);
  const std::string beyond = tensor_of_layer(c, c.layers), &lengths_name = xlm_roberta_names().lengths;
  if (files.checkpoint.find(beyond) != nullptr)
    throw Error(ErrorCode::ModelFormat, "config.json says num_hidden_layers: " + std::to_string(c.layers) +
                                            ", but there is a tensor \"" + beyond + "\"");
  files.token_types = files.checkpoint.find("roberta.embeddings.token_type_embeddings.weight") != nullptr;
  const std::vector<std::string>& head = xlm_roberta_names().head;
  files.head = std::any_of(head.begin(), head.end(),
                           [&](const std::string& name) { return files.checkpoint.find(name) != nullptr; });
  if (!files.head && !new_head)
    throw Error(
        ErrorCode::ModelFormat,
        directory + ": an encoder without a language-model head (there is no tensor \"" + head.front() +
            "\"); the option head: 'new' (--new-head) gives it one, drawn from the seed, that training teaches");
  if (files.head && new_head)
    throw Error(ErrorCode::InvalidArgument, directory +
                                                " has a language-model head (tensors lm_head.*), which training goes "
                                                "on with; leave the option head: 'new' (--new-head) out");
  if (!files.head) c.tie_word_embeddings = true;
  if (!c.tie_word_embeddings) {
    const Tensor *decoder = files.checkpoint.find(xlm_roberta_names().decoder),
                 *words = files.checkpoint.find(xlm_roberta_names().words);
    if (decoder == nullptr)
      throw Error(ErrorCode::ModelFormat, std::string("config.json says tie_word_embeddings: false, but there is no "
                                                      "tensor \"") +
                                              xlm_roberta_names().decoder + "\"");
    c.tie_word_embeddings = words != nullptr && decoder->data == words->data;
  }
  const Tensor* lengths = files.checkpoint.find(lengths_name);
  const int64_t rows = lengths != nullptr && lengths->shape.size() == 2 ? lengths->shape[0] : 0;
  if (c.lengths > 0 && c.lengths != rows)
    throw Error(ErrorCode::ModelFormat, "config.json says length_vocab_size: " + std::to_string(c.lengths) +
                                            ", but tensor \"" + lengths_name + "\" has " + std::to_string(rows) +
                                            " rows");
  if (lengths != nullptr && (rows < 4 || rows > (1 << 20)))
    throw Error(ErrorCode::ModelFormat, std::string("tensor \"") + lengths_name + "\" has shape " +
                                            shape_text(lengths->shape) + "; a length predictor has 4 to 2^20 rows");
  c.lengths = rows;
  return files;
}

void read_weights(const ModelFiles& files, const ParameterTable& table, float* weights,
                  const std::function<void(const ParameterTensor&)>& missing,
                  const std::function<void(double)>& progress, const std::atomic<bool>& cancelled) {
  int64_t done = 0;
  for (const ParameterTensor& wanted : table.tensors()) {
    if (cancelled.load()) throw Cancelled();
    const Tensor* tensor = find(files.checkpoint, wanted);
    if (tensor == nullptr) {
      if (wanted.name != xlm_roberta_names().lengths && !(is_of_head(wanted) && !files.head))
        throw Error(ErrorCode::ModelFormat,
                    files.checkpoint.files().front() + ": there is no tensor \"" + wanted.name +
                        "\"; a masked-LM checkpoint (XLMRobertaForMaskedLM or XLMRobertaXLForMaskedLM) has it");
      missing(wanted);
    } else {
      if (tensor->shape != wanted.shape)
        throw Error(ErrorCode::ModelFormat, "tensor \"" + wanted.name + "\" has shape " + shape_text(tensor->shape) +
                                                ", but config.json asks for " + shape_text(wanted.shape));
      const WeightType type = type_of(*tensor);
      for (int64_t i = 0; i < wanted.count; i++) weights[wanted.offset + i] = read_weight(tensor->data, type, i);
      files.checkpoint.release(*tensor);
    }
    done += wanted.count;
    progress(static_cast<double>(done) / static_cast<double>(table.count()));
  }
  progress(1);
}

}  // namespace mask_predict::training
