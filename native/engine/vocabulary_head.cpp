#include "engine/vocabulary_head.h"

#include <algorithm>

#include "base/error.h"

namespace mask_predict {
namespace {

// "3 to 400", or of which vocabulary and without which.
std::string answerable(const HeadIds& ids) {
  if (ids.never[0] == begin_id && ids.never[1] == pad_id && ids.never[2] == end_id && ids.never[3] == ids.real - 1)
    return std::to_string(unknown_id) + " to " + std::to_string(ids.real - 2);
  std::string text = "0 to " + std::to_string(ids.real - 1) + " without";
  for (const int32_t id : ids.never)
    if (id < ids.real) text += " " + std::to_string(id);
  return text;
}

}  // namespace

VocabularyHead::VocabularyHead(const Weights& weights, const std::vector<int32_t>& allowed, const Context& context,
                               const std::shared_ptr<MemoryBudget>& budget)
    : weights_(weights), head_rows_(weights.config.head_ids()) {
  if (allowed.empty()) return;
  if (!weights.config.head)
    throw Error(
        ErrorCode::InvalidArgument,
        "this model has no language-model head (tensors lm_head.*), so a vocabulary to answer from is of no use");
  const HeadIds all_ids = head_rows_;
  std::vector<int32_t> ids = {-1};
  for (const int32_t id : allowed) {
    if (id < 0 || id >= all_ids.real || has_never(all_ids, id, 1))
      throw Error(ErrorCode::InvalidArgument, "the vocabulary's allowed ids contain " + std::to_string(id) +
                                                  "; ids that can be answered are " + answerable(all_ids));
    ids.push_back(id);
  }
  for (const int32_t id : all_ids.never)
    if (id < all_ids.real) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  const auto count = static_cast<int64_t>(ids.size()) - 1;
  head_rows_.real = static_cast<int32_t>(count);
  for (int32_t& id : head_rows_.never)
    id = static_cast<int32_t>(std::lower_bound(ids.begin() + 1, ids.end(), id) - ids.begin()) - 1;
  rows_.assign(static_cast<size_t>(all_ids.real), -1);
  for (int64_t row = 0; row < count; row++)
    rows_[static_cast<size_t>(ids[static_cast<size_t>(row) + 1])] = static_cast<int32_t>(row);

  const Operations& operations = *context.operations;
  const PackedMatrix& all = weights.decoder();
  const std::string purpose = "the head of a vocabulary of " + std::to_string(allowed.size()) + " ids";
  const auto buffer = [&](int64_t bytes) {
    return device_buffer(context, static_cast<uint64_t>(bytes), budget, purpose);
  };
  ids_ = buffer((count + 1) * static_cast<int64_t>(sizeof(int32_t)));
  operations.upload(context, ids_.as<void>(), ids.data(), ids.size() * sizeof(int32_t));
  const int32_t* outputs = ids_.as<int32_t>() + 1;
  subset_ = {all.type, count, all.inputs, buffer(operations.packed_bytes(all.type, count, all.inputs))};
  operations.select_outputs(context, all, outputs, subset_);
  bias_ = buffer((count + 15) / 16 * 16 * static_cast<int64_t>(sizeof(float)));
  operations.gather_rows(context,
                         {weights.head_bias.as<float>(), ValueType::F32, outputs, count, 1, bias_.as<float>()});
  freeze(context, ids_);
  freeze(context, subset_);
  freeze(context, bias_);
}

int32_t* VocabularyHead::ids_of(const Context& context, int32_t* rows, int64_t count, int32_t* ids) const {
  if (!subset_) return rows;
  // A gather of four-byte rows, whatever they stand for.
  context.operations->gather_rows(context, {ids_.as<int32_t>() + 1, ValueType::F32, rows, count, 1, ids});
  return ids;
}

}  // namespace mask_predict
