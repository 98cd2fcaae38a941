#include "engine/vocabulary_head.h"

#include "base/error.h"

namespace mask_predict {

VocabularyHead::VocabularyHead(const Weights& weights, const std::vector<int32_t>& allowed, const Context& context,
                               const std::shared_ptr<MemoryBudget>& budget)
    : weights_(weights), mask_row_(static_cast<int32_t>(weights.config.mask_token_id)) {
  if (allowed.empty()) return;
  if (!weights.config.head)
    throw Error(
        ErrorCode::InvalidArgument,
        "this model has no language-model head (tensors lm_head.*), so a vocabulary to answer from is of no use");
  const int32_t mask = mask_row_;
  std::vector<int32_t> ids = {-1, 0, 1, 2};
  for (const int32_t id : allowed) {
    if (id < 3 || id >= mask)
      throw Error(ErrorCode::InvalidArgument, "the vocabulary's allowed ids contain " + std::to_string(id) +
                                                  "; ids that can be answered are 3 to " + std::to_string(mask - 1));
    ids.push_back(id);
  }
  ids.push_back(mask);
  const auto count = static_cast<int64_t>(ids.size()) - 1;
  mask_row_ = static_cast<int32_t>(count) - 1;
  rows_.assign(static_cast<size_t>(mask) + 1, -1);
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
}

int32_t* VocabularyHead::ids_of(const Context& context, int32_t* rows, int64_t count, DeviceArena& arena) const {
  if (!subset_) return rows;
  int32_t* ids = arena.take<int32_t>(count);
  // A gather of four-byte rows, whatever they stand for.
  context.operations->gather_rows(context, {ids_.as<int32_t>() + 1, ValueType::F32, rows, count, 1, ids});
  return ids;
}

}  // namespace mask_predict
