// fairseq's names and Hugging Face's, and how parts of tensor parallelism are joined. Names are looked at without the
// module they are in: "encoder.sentence_encoder." of pretrained models, "decoder.sentence_encoder." of those of 2019 and
// "decoder." of Instruct-XMLR.
#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "model/conversion.h"
#include "model/tensor_table.h"
#include "model/torch_file.h"

namespace mask_predict {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& message) {
  throw Error(ErrorCode::ModelFormat, where + ": " + message);
}

bool begins_with(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

bool ends_with(std::string_view text, std::string_view with) {
  return text.size() >= with.size() && text.substr(text.size() - with.size()) == with;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// Names of no weights: versions, what gave a buffer its type, heads of fine-tuned classifiers.
bool is_dropped(std::string_view name) {
  return contains(name, "version") || contains(name, "_float_tensor") || contains(name, "classification_heads.");
}

// The name without its module, in today's spelling.
std::string core_name(std::string_view name) {
  for (const char* const wrapper : {"module.", "model."})
    if (begins_with(name, wrapper)) name.remove_prefix(std::string_view(wrapper).size());
  for (const char* const side : {"encoder.", "decoder."}) {
    if (!begins_with(name, side)) continue;
    name.remove_prefix(std::string_view(side).size());
    break;
  }
  if (begins_with(name, "sentence_encoder.")) name.remove_prefix(std::string_view("sentence_encoder.").size());
  constexpr std::string_view old_norm = "emb_layer_norm.";
  if (begins_with(name, old_norm)) return "layernorm_embedding." + std::string(name.substr(old_norm.size()));
  return std::string(name);
}

struct Rename {
  const char* fairseq;  // what a name begins with
  const char* ours;
};

constexpr Rename layer_names[] = {
    {"self_attn.q_proj.", "attention.self.query."},
    {"self_attn.k_proj.", "attention.self.key."},
    {"self_attn.v_proj.", "attention.self.value."},
    {"self_attn.out_proj.", "attention.output.dense."},
    {"fc1.", "intermediate.dense."},
    {"fc2.", "output.dense."},
};
constexpr Rename post_norm_names[] = {{"self_attn_layer_norm.", "attention.output.LayerNorm."},
                                      {"final_layer_norm.", "output.LayerNorm."}};
constexpr Rename pre_norm_names[] = {{"self_attn_layer_norm.", "attention.self_attn_layer_norm."},
                                     {"final_layer_norm.", "LayerNorm."}};
constexpr Rename outer_names[] = {
    {"embed_tokens.weight", "roberta.embeddings.word_embeddings.weight"},
    {"embed_positions.weight", "roberta.embeddings.position_embeddings.weight"},
    {"lm_head.dense.", "lm_head.dense."},
    {"lm_head.layer_norm.", "lm_head.layer_norm."},
    {"lm_head.weight", "lm_head.decoder.weight"},
    {"lm_head.bias", "lm_head.bias"},
    {"embed_length.weight", "embed_length.weight"},
};

template <size_t Count>
std::string renamed(const Rename (&renames)[Count], std::string_view name) {
  for (const auto& [fairseq, ours] : renames)
    if (begins_with(name, fairseq)) return ours + std::string(name.substr(std::string_view(fairseq).size()));
  return "";
}

// Hugging Face's name, or empty.
std::string our_name(std::string_view core, NormPlacement norm) {
  const bool pre = norm == NormPlacement::Pre;
  for (const char* const outer : {"layernorm_embedding.", "layer_norm."})
    if (begins_with(core, outer))
      return (pre ? "roberta.encoder.LayerNorm." : "roberta.embeddings.LayerNorm.") +
             std::string(core.substr(std::string_view(outer).size()));
  constexpr std::string_view layers_prefix = "layers.";
  if (!begins_with(core, layers_prefix)) return renamed(outer_names, core);
  core.remove_prefix(layers_prefix.size());
  const size_t dot = core.find('.');
  const std::string_view index = core.substr(0, dot), rest = dot == core.npos ? "" : core.substr(dot + 1);
  if (index.empty() || !std::all_of(index.begin(), index.end(), [](char c) { return c >= '0' && c <= '9'; })) return "";
  std::string name = renamed(layer_names, rest);
  if (name.empty()) name = pre ? renamed(pre_norm_names, rest) : renamed(post_norm_names, rest);
  return name.empty() ? "" : "roberta.encoder.layer." + std::string(index) + "." + name;
}

enum class Joining { Rows, Columns, First };

// How the parts of a tensor make the whole. A bias that is added to a sum over all parts is whole in each of them, and so
// is lm_head.bias.
Joining joining_of(std::string_view core) {
  for (const char* const name :
       {"embed_tokens.weight", "q_proj.weight", "q_proj.bias", "k_proj.weight", "k_proj.bias", "v_proj.weight",
        "v_proj.bias", "in_proj_weight", "in_proj_bias", "fc1.weight", "fc1.bias", "lm_head.weight",
        "lm_head.dense.weight", "lm_head.dense.bias", "embed_length.weight"})
    if (ends_with(core, name)) return Joining::Rows;
  for (const char* const name : {"out_proj.weight", "fc2.weight"})
    if (ends_with(core, name)) return Joining::Columns;
  return Joining::First;
}

// A dictionary's entries or an object's attributes; of OmegaConf's objects the content. Nothing is called for it.
const PickleValue* attribute(const PickleValue* object, std::string_view name) {
  if (object == nullptr) return nullptr;
  if (object->is(PickleKind::Made)) object = object->state;
  if (object == nullptr) return nullptr;
  if (const PickleValue* const content = object->find("_content")) object = content;
  const PickleValue* value = object->find(name);
  if (value != nullptr && value->is(PickleKind::Made) && value->state != nullptr)
    if (const PickleValue* const plain = value->state->find("_val")) value = plain;
  return value;
}

class FairseqReader {
 public:
  explicit FairseqReader(const std::vector<std::string>& paths) : paths_(paths) {}

  Conversion read() {
    for (const std::string& path : paths_) add_file(path);
    settle_norm();
    for (const auto& [core, pieces] : pieces_) add_tensor(core, pieces);
    settle_head();
    settle_sizes();
    check_table();
    return std::move(conversion_);
  }

 private:
  void add_file(const std::string& path) {
    const auto file = std::make_shared<MappedFile>(path);
    conversion_.files.push_back(file);
    const TorchFile torch_file(file->data(), file->size(), path);
    const PickleValue* const model = torch_file.root().find("model");
    const size_t before = conversion_.stored.size();
    for (Tensor& tensor : torch_file.tensors(model == nullptr ? torch_file.root() : *model)) {
      if (is_dropped(tensor.name)) continue;
      tensor.file = file.get();
      conversion_.stored.push_back(std::move(tensor));
    }
    const size_t part = conversion_.files.size() - 1;
    for (size_t i = before; i < conversion_.stored.size(); i++) add_piece(conversion_.stored[i], part);
    if (part == 0) read_settings(torch_file.root());
  }

  void add_piece(const Tensor& tensor, size_t part) {
    std::vector<const Tensor*>& pieces = pieces_[core_name(tensor.name)];
    if (pieces.size() > part)
      fail(tensor.file->path(),
           "tensors " + quote(pieces.back()->name) + " and " + quote(tensor.name) + " are two spellings of one name");
    if (pieces.size() != part)
      fail(tensor.file->path(), "has the tensor " + quote(tensor.name) + ", which the part before it has not");
    pieces.push_back(&tensor);
  }

  void read_settings(const PickleValue& root) {
    const PickleValue* const places[] = {root.find("args"), attribute(root.find("cfg"), "model")};
    for (const PickleValue* const place : places) {
      if (const PickleValue* const heads = attribute(place, "encoder_attention_heads"))
        if (heads->is(PickleKind::Integer) && heads->integer > 0) conversion_.config.heads = heads->integer;
      if (const PickleValue* const before = attribute(place, "encoder_normalize_before"))
        if (before->is(PickleKind::Boolean)) normalize_before_ = before->integer != 0;
      const PickleValue* const activation = attribute(place, "activation_fn");
      if (activation != nullptr && activation->is(PickleKind::Text) && activation->text != "gelu")
        fail(paths_.front(), "its activation_fn is " + quote(activation->text) + ", must be \"gelu\"");
    }
  }

  // A norm on the embeddings: after every block; one behind the layers: before. Instruct-XMLR's has the latter name for
  // both, and its settings say which.
  void settle_norm() {
    const bool first = pieces_.count("layernorm_embedding.weight") != 0, last = pieces_.count("layer_norm.weight") != 0;
    if (first && last)
      fail(paths_.front(), "has layernorm_embedding and layer_norm, a norm before and behind the layers, as no XLM-R");
    const bool pre = !first && normalize_before_.value_or(true);
    conversion_.config.norm = pre ? NormPlacement::Pre : NormPlacement::Post;
    conversion_.config.model_type = pre ? "xlm-roberta-xl" : "xlm-roberta";
  }

  void add_tensor(const std::string& core, const std::vector<const Tensor*>& pieces) {
    constexpr std::string_view joined_prefix = "self_attn.in_proj_";
    const size_t at = core.find(joined_prefix);
    const auto one_of = [&](char letter) {
      return core.substr(0, at) + "self_attn." + letter + "_proj." + core.substr(at + joined_prefix.size());
    };
    const Tensor& first = *pieces.front();
    const std::string name = our_name(at == std::string::npos ? core : one_of('q'), conversion_.config.norm);
    if (name.empty() || first.shape.empty() || first.shape.size() > 2)
      return conversion_.left_out.push_back(first.name);
    if (pieces.size() != paths_.size())
      fail(paths_[pieces.size()], "has no tensor " + quote(first.name) + ", which the part before it has");
    for (const Tensor* const piece : pieces) check_piece(*piece, first);
    if (at == std::string::npos) return add_rows(core, pieces, 0, 1);
    // Before 0.9 query, key and value were one matrix.
    for (int64_t third = 0; third < 3; third++) add_rows(one_of("qkv"[third]), pieces, third, 3);
  }

  void check_piece(const Tensor& piece, const Tensor& first) const {
    const std::string where = piece.file->path() + ": tensor " + quote(piece.name);
    const bool known = piece.type == TensorType::F32 || piece.type == TensorType::F16 || piece.type == TensorType::BF16;
    if (!known) fail(where, "is " + piece.type_name + "; weights must be F32, F16 or BF16");
    if (piece.type != first.type || piece.shape != first.shape)
      fail(where, "has another type or shape than in " + first.file->path());
  }

  // Part number `which` of `of` equal parts of the rows of each piece.
  void add_rows(const std::string& core, const std::vector<const Tensor*>& pieces, int64_t which, int64_t of) {
    const Tensor& first = *pieces.front();
    ConvertedTensor tensor;
    tensor.name = our_name(core, conversion_.config.norm);
    const int64_t rows = first.shape[0] / of;
    const Joining joining = joining_of(core);
    tensor.type = first.type;
    tensor.shape = first.shape;
    tensor.shape[0] = rows;
    tensor.side_by_side = joining == Joining::Columns && pieces.size() > 1;
    const size_t count = joining == Joining::First ? 1 : pieces.size();
    for (size_t i = 0; i < count; i++) tensor.parts.push_back({pieces[i], which * rows, rows});
    if (tensor.side_by_side && tensor.shape.size() != 2)
      fail(first.file->path() + ": tensor " + quote(first.name), "is no matrix");
    tensor.shape[tensor.side_by_side ? 1 : 0] *= static_cast<int64_t>(count);
    conversion_.tensors.push_back(std::move(tensor));
  }

  // A head that is the embeddings once more is not written twice.
  void settle_head() {
    const ConvertedTensor *const words = conversion_.find(xlm_roberta_names().words), *const decoder = conversion_.find(
                                                                                          xlm_roberta_names().decoder);
    if (words == nullptr || decoder == nullptr) return;
    conversion_.config.tie_word_embeddings = same_values(*words, *decoder);
    if (conversion_.config.tie_word_embeddings)
      conversion_.tensors.erase(conversion_.tensors.begin() + (decoder - conversion_.tensors.data()));
  }

  int64_t extent(const std::string& name, size_t which) const {
    const ConvertedTensor* const tensor = conversion_.find(name);
    if (tensor == nullptr || tensor->shape.size() != 2) {
      std::string names;
      for (const auto& [core, pieces] : pieces_)
        if (names.size() < 300) names += (names.empty() ? "" : ", ") + quote(pieces.front()->name);
      fail(paths_.front(), "there is no tensor for " + quote(name) + " among " + names);
    }
    return tensor->shape[which];
  }

  void settle_sizes() {
    ModelConfig& c = conversion_.config;
    c.vocabulary = extent(xlm_roberta_names().words, 0);
    c.hidden = extent(xlm_roberta_names().words, 1);
    c.max_positions = extent("roberta.embeddings.position_embeddings.weight", 0);
    c.feed_forward = extent("roberta.encoder.layer.0.intermediate.dense.weight", 0);
    while (conversion_.find(tensor_of_layer(c, c.layers)) != nullptr) c.layers++;
    if (const ConvertedTensor* const lengths = conversion_.find(xlm_roberta_names().lengths))
      c.lengths = lengths->shape.front();
    ConvertedTensor types;
    types.name = "roberta.embeddings.token_type_embeddings.weight";
    types.type = conversion_.find(xlm_roberta_names().words)->type;
    types.shape = {1, c.hidden};
    conversion_.tensors.push_back(std::move(types));
  }

  // Every tensor of the architecture is there in the shape that the others ask for.
  void check_table() {
    for (const TensorEntry& entry : tensors_of(conversion_.config)) {
      const int64_t rows = entry.outputs / static_cast<int64_t>(entry.names.size());
      for (const std::string& name : entry.names) {
        const ConvertedTensor* const tensor = conversion_.find(name);
        if (tensor == nullptr) fail(paths_.front(), "there is no tensor for " + quote(name));
        const std::vector<int64_t> expected =
            entry.is_vector() ? std::vector<int64_t>{rows} : std::vector<int64_t>{rows, entry.inputs};
        if (tensor->shape != expected)
          fail(paths_.front(), "the tensor for " + quote(name) + " has " + std::to_string(tensor->shape.front()) +
                                   " rows or columns that do not fit the others; it should have " +
                                   std::to_string(rows) + " rows" +
                                   (entry.is_vector() ? "" : " of " + std::to_string(entry.inputs)));
      }
    }
  }

  const std::vector<std::string>& paths_;
  Conversion conversion_;
  std::map<std::string, std::vector<const Tensor*>> pieces_;  // by core name, a piece for each file
  std::optional<bool> normalize_before_;
};

}  // namespace

Conversion read_fairseq(const std::vector<std::string>& paths) { return FairseqReader(paths).read(); }

}  // namespace mask_predict
