#include "training/batch.h"

#include <algorithm>

#include "base/special_ids.h"

namespace mask_predict::training {
namespace {

RowRange append(Batch& batch, const std::vector<int32_t>& ids) {
  const RowRange range{batch.rows, static_cast<int64_t>(ids.size())};
  batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
  for (size_t i = 0; i < ids.size(); i++) batch.positions.push_back(static_cast<int32_t>(i) + pad_id + 1);
  batch.rows += range.count;
  return range;
}

// One passage of everything, or the sources' and then the targets'.
std::vector<Passage> passages_of(const Batch& batch) {
  if (batch.source_rows == 0) return {{{0, batch.rows}, batch.groups}};
  std::vector<AttentionGroup> sources, targets;
  for (const AttentionGroup& group : batch.groups) {
    sources.push_back({group.source, {}});
    targets.push_back({group.source, group.targets, false});
  }
  return {{{0, batch.source_rows}, std::move(sources)},
          {{batch.source_rows, batch.rows - batch.source_rows}, std::move(targets), true}};
}

}  // namespace

Batch make_batch(const StepPart& part, int32_t mask_token_id, TargetAttention attention) {
  Batch batch;
  std::vector<RowRange> sources;
  if (attention == TargetAttention::Mixed) {
    for (const std::vector<int32_t>& source : part.sources) sources.push_back(append(batch, source));
    batch.source_rows = batch.rows;
  }
  batch.targets = static_cast<int64_t>(part.targets.size());
  std::vector<std::vector<size_t>> targets_of(part.sources.size());
  for (size_t t = 0; t < part.targets.size(); t++) targets_of[static_cast<size_t>(part.source_of[t])].push_back(t);
  for (size_t s = 0; s < part.sources.size(); s++) {
    AttentionGroup group{sources.empty() ? append(batch, part.sources[s]) : sources[s], {}};
    for (const size_t t : targets_of[s]) {
      const std::vector<int32_t>&target = part.targets[t], &gold = part.golds[t];
      group.targets.push_back(append(batch, target));
      const RowRange& range = group.targets.back();
      batch.most_keys = std::max(batch.most_keys, group.source.count + range.count);
      for (size_t i = 0; i < target.size(); i++) {
        if (target[i] == gold[i] && target[i] != mask_token_id) continue;
        batch.masked_rows.push_back(static_cast<int32_t>(range.first) + static_cast<int32_t>(i));
        batch.gold.push_back(gold[i]);
      }
    }
    batch.groups.push_back(std::move(group));
  }
  batch.passages = passages_of(batch);
  return batch;
}

}  // namespace mask_predict::training
