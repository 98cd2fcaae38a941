#include "model/conversion.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/numbers.h"
#include "base/paths.h"
#include "base/text.h"
#include "model/safetensors_output.h"
#include "model/saved_weights.h"
#include "model/tensor_table.h"

namespace mask_predict {
namespace {

constexpr int64_t part_values = 4 << 20;  // in memory at a time

WeightType weight_type(TensorType type) {
  return type == TensorType::F32 ? WeightType::F32 : type == TensorType::F16 ? WeightType::F16 : WeightType::BF16;
}

const char* name_of(WeightType type) {
  return type == WeightType::F32 ? "F32" : type == WeightType::F16 ? "F16" : "BF16";
}

int64_t columns_of(const Tensor& tensor) { return tensor.shape.size() < 2 ? 1 : tensor.shape[1]; }

// Calls `use` with the tensor's bytes, row by row or many rows at a time, in row-major order.
void each_piece(const ConvertedTensor& tensor, const std::function<void(const uint8_t*, uint64_t)>& use) {
  const auto width = static_cast<uint64_t>(bytes_of(weight_type(tensor.type)));
  std::vector<uint8_t> buffer;
  if (tensor.parts.empty()) {
    buffer.resize(tensor.values() * width);
    use(buffer.data(), buffer.size());
    return;
  }
  if (tensor.side_by_side) {
    for (int64_t row = 0; row < tensor.shape.front(); row++)
      for (const TensorPart& part : tensor.parts)
        use(rows_of(*part.tensor, row, 1, buffer), static_cast<uint64_t>(columns_of(*part.tensor)) * width);
    return;
  }
  for (const TensorPart& part : tensor.parts) {
    const int64_t columns = columns_of(*part.tensor);
    const int64_t most = std::max<int64_t>(1, part_values / std::max<int64_t>(1, columns));
    for (int64_t row = part.first; row < part.first + part.rows; row += most) {
      const int64_t rows = std::min(most, part.first + part.rows - row);
      use(rows_of(*part.tensor, row, rows, buffer), static_cast<uint64_t>(rows * columns) * width);
    }
  }
}

// Its pages, which nobody needs any more.
void release(const ConvertedTensor& tensor) {
  const Tensor* released = nullptr;
  for (const TensorPart& part : tensor.parts) {
    if (part.tensor == released) continue;
    released = part.tensor;
    released->file->release(static_cast<uint64_t>(released->data - released->file->data()), released->bytes);
  }
}

// Those rows of a tensor whose parts are joined along the rows; neighbours stay together.
std::vector<TensorPart> parts_of_rows(const ConvertedTensor& tensor, const std::vector<int32_t>& rows) {
  std::vector<TensorPart> kept;
  auto from = tensor.parts.begin();
  int64_t before = 0;  // rows of the parts before `from`
  for (const int32_t row : rows) {
    for (; row - before >= from->rows; ++from) before += from->rows;
    const int64_t place = from->first + row - before;
    if (!kept.empty() && kept.back().tensor == from->tensor && kept.back().first + kept.back().rows == place)
      kept.back().rows++;
    else
      kept.push_back({from->tensor, place, 1});
  }
  return kept;
}

bool is_weight(const Tensor& tensor) {
  return tensor.type == TensorType::F32 || tensor.type == TensorType::F16 || tensor.type == TensorType::BF16;
}

// The whole of a tensor.
ConvertedTensor whole(const std::string& name, const Tensor& tensor) {
  return {name, tensor.type, tensor.shape, {{&tensor, 0, tensor.shape.front()}}, false};
}

// As masked-LM checkpoints write a name that was stripped of "roberta.".
std::string full_name(const std::string& name) {
  for (const char* const part : {"embeddings.", "encoder.", "pooler."})
    if (name.compare(0, std::strlen(part), part) == 0) return "roberta." + name;
  return name;
}

}  // namespace

uint64_t ConvertedTensor::values() const {
  uint64_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<uint64_t>(extent);
  return count;
}

const ConvertedTensor* Conversion::find(const std::string& name) const {
  for (const ConvertedTensor& tensor : tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

uint64_t Conversion::file_bytes() const {
  uint64_t bytes = checkpoint ? checkpoint->file_bytes() : 0;
  for (const auto& file : files) bytes += file->size();
  return bytes;
}

void keep_rows(Conversion& conversion, const std::vector<int32_t>& rows) {
  int64_t& vocabulary = conversion.config.vocabulary;
  for (size_t i = 0; i < rows.size(); i++)
    if (rows[i] < 0 || rows[i] >= vocabulary || (i > 0 && rows[i] <= rows[i - 1]))
      throw Error(ErrorCode::InvalidArgument, "the rows to keep must rise from 0 to " + std::to_string(vocabulary - 1) +
                                                  ", but number " + std::to_string(i) + " is " +
                                                  std::to_string(rows[i]));
  for (const std::string& name : {xlm_roberta_names().words, xlm_roberta_names().decoder, std::string("lm_head.bias"),
                                  std::string("lm_head.decoder.bias")})
    for (ConvertedTensor& tensor : conversion.tensors) {
      if (tensor.name != name) continue;
      if (tensor.shape.front() != vocabulary)
        throw Error(ErrorCode::ModelFormat, quote(name) + " has " + std::to_string(tensor.shape.front()) +
                                                " rows, the embeddings have " + std::to_string(vocabulary));
      if (!tensor.parts.empty()) tensor.parts = parts_of_rows(tensor, rows);
      tensor.shape.front() = static_cast<int64_t>(rows.size());
    }
  vocabulary = static_cast<int64_t>(rows.size());
}

int64_t last_row_in_use(const ConvertedTensor& matrix) {
  const auto width = static_cast<int64_t>(bytes_of(weight_type(matrix.type)));
  int64_t end = matrix.shape.front();
  std::vector<uint8_t> buffer;
  const auto is_zero = [](uint8_t byte) { return byte == 0; };
  for (auto part = matrix.parts.rbegin(); part != matrix.parts.rend(); ++part)
    for (int64_t row = part->rows; row-- > 0; end--) {
      const uint8_t* const values = rows_of(*part->tensor, part->first + row, 1, buffer);
      if (!std::all_of(values, values + columns_of(*part->tensor) * width, is_zero)) return end - 1;
    }
  return -1;
}

bool same_values(const ConvertedTensor& a, const ConvertedTensor& b) {
  if (a.type != b.type || a.shape != b.shape || a.parts.size() != b.parts.size()) return false;
  const auto width = static_cast<uint64_t>(bytes_of(weight_type(a.type)));
  std::vector<uint8_t> buffer_a, buffer_b;
  for (size_t i = 0; i < a.parts.size(); i++) {
    const TensorPart &x = a.parts[i], &y = b.parts[i];
    if (x.tensor->shape != y.tensor->shape || x.rows != y.rows || x.first != y.first) return false;
    if (x.tensor->data == y.tensor->data && x.tensor->strides == y.tensor->strides) continue;
    const auto bytes = static_cast<size_t>(static_cast<uint64_t>(columns_of(*x.tensor)) * width);
    for (int64_t row = x.first; row < x.first + x.rows; row++)
      if (std::memcmp(rows_of(*x.tensor, row, 1, buffer_a), rows_of(*y.tensor, row, 1, buffer_b), bytes) != 0)
        return false;
  }
  return true;
}

Conversion read_checkpoint(const std::string& path) {
  std::error_code ignored;
  const bool directory = std::filesystem::is_directory(path_of(path), ignored);
  Conversion conversion;
  conversion.checkpoint =
      std::make_shared<const Checkpoint>(directory ? Checkpoint::open(path) : Checkpoint::open_file(path));
  const Checkpoint& checkpoint = *conversion.checkpoint;
  if (checkpoint.metadata(saved_layout_key) != nullptr)
    throw Error(ErrorCode::ModelFormat,
                checkpoint.files().front() +
                    ": weights that were rounded to int8, which cannot be converted or trimmed; do "
                    "that with the model they were made from, then quantize");
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (!is_weight(tensor) || tensor.shape.empty() || tensor.shape.size() > 2)
      conversion.left_out.push_back(tensor.name);
    else
      conversion.tensors.push_back(whole(full_name(name), tensor));
  }
  const TensorNames& names = xlm_roberta_names();
  const auto tie = [&](const std::string& kept, const std::string& other) {
    const auto is_other = [&](const ConvertedTensor& tensor) { return tensor.name == other; };
    const auto found = std::find_if(conversion.tensors.begin(), conversion.tensors.end(), is_other);
    if (found == conversion.tensors.end()) return;
    const ConvertedTensor* const there = conversion.find(kept);
    if (there == nullptr)
      found->name = kept;
    else if (same_values(*there, *found))
      conversion.tensors.erase(found);
  };
  tie(names.words, names.decoder);
  tie("lm_head.bias", "lm_head.decoder.bias");
  const ConvertedTensor* const words = conversion.find(names.words);
  if (words == nullptr || words->shape.size() != 2)
    throw Error(ErrorCode::ModelFormat, checkpoint.files().front() + ": there is no matrix \"" + names.words +
                                            "\"; it has " + checkpoint.describe());
  conversion.config.vocabulary = words->shape[0];
  conversion.config.hidden = words->shape[1];
  return conversion;
}

void write_conversion(const Conversion& conversion, const std::string& path, bool as_bf16,
                      const std::function<void(double)>& progress, const std::atomic<bool>& cancelled) {
  const auto type_of = [&](const ConvertedTensor& tensor) {
    return as_bf16 ? WeightType::BF16 : weight_type(tensor.type);
  };
  std::vector<TensorOutline> outlines;
  uint64_t all = 0, done = 0;
  for (const ConvertedTensor& tensor : conversion.tensors) {
    const WeightType type = type_of(tensor);
    const uint64_t bytes = tensor.values() * static_cast<uint64_t>(bytes_of(type));
    outlines.push_back({tensor.name, name_of(type), tensor.shape, bytes});
    all += bytes;
  }
  SafetensorsOutput output(path, outlines, {{"format", "pt"}}, cancelled);
  std::vector<uint16_t> narrowed;
  for (const ConvertedTensor& tensor : conversion.tensors) {
    const WeightType from = weight_type(tensor.type), to = type_of(tensor);
    each_piece(tensor, [&](const uint8_t* bytes, uint64_t count) {
      if (from == to) return output.put(bytes, count);
      narrowed.resize(static_cast<size_t>(count / static_cast<uint64_t>(bytes_of(from))));
      for (size_t i = 0; i < narrowed.size(); i++)
        narrowed[i] = float_to_bf16(read_weight(bytes, from, static_cast<int64_t>(i)));
      output.put(narrowed.data(), narrowed.size() * sizeof(uint16_t));
    });
    release(tensor);
    done += tensor.values() * static_cast<uint64_t>(bytes_of(to));
    if (progress && all > 0) progress(static_cast<double>(done) / static_cast<double>(all));
  }
  output.finish();
}

}  // namespace mask_predict
