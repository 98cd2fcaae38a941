// One work item is one head of one sequence and at most 64 of its query rows. Keys are turned into columns and
// values laid side by side once per item, and both products run on the same tiles as the dense layers; a row's
// additions go over the head size, then over source keys and own keys in their order, whatever else is computed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/grain.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"
#include "ops/mixed_attention/mixed_attention.h"

namespace mask_predict::cpu {
namespace {

constexpr int64_t query_block = 64;

struct Item {
  int64_t sequence, head, first_query;
};

// Where a group of columns begins in a matrix [inner][columns] cut into groups of 48, and how wide it is.
struct Group {
  int64_t offset;
  int columns;
};
Group group_of(int64_t column, int64_t all_columns, int64_t inner) {
  const int64_t left = all_columns - column;
  return {column * inner, left >= group_columns ? group_columns : static_cast<int>(round_up(left, panel_columns))};
}

}  // namespace

void mixed_attention(const Context& context, const MixedAttentionArguments& a) {
  const int64_t width = a.heads * a.head_size, head_columns = round_up(a.head_size, panel_columns);
  std::vector<Item> items;
  int64_t work = 0;
  for (int64_t s = 0; s < a.sequence_count; s++) {
    const AttentionSequence& sequence = a.sequences[s];
    for (int64_t head = 0; head < a.heads; head++)
      for (int64_t q = 0; q < sequence.queries; q += query_block) items.push_back({s, head, q});
    work += 2 * sequence.queries * (sequence.source_rows + sequence.own_rows) * width;
  }
  if (items.empty()) return;

  const int64_t key_columns = round_up(a.most_keys, panel_columns);
  const int64_t scratch_floats =
      key_columns * a.head_size + a.most_keys * head_columns + query_block * key_columns + query_block * head_columns;
  context.pool->reserve_scratch(static_cast<uint64_t>(scratch_floats) * sizeof(float));
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_size)));

  const auto attend = [&](const Item& item, float* keys) {
    const AttentionSequence& sequence = a.sequences[item.sequence];
    const int64_t all_keys = sequence.source_rows + sequence.own_rows;
    const int64_t columns = round_up(all_keys, panel_columns);
    float* values = keys + columns * a.head_size;
    float* scores = values + all_keys * head_columns;
    float* sums = scores + query_block * columns;

    // Calls body(rows, first, count) on the keys first ... first + count - 1 as far as they lie one behind the other.
    const auto each_run = [&](int64_t first, int64_t count, const auto& body) {
      const int64_t head = item.head * a.head_size;
      const int64_t from_source = std::clamp<int64_t>(sequence.source_rows - first, 0, count);
      if (from_source > 0) {
        const int64_t row = a.layer * sequence.source_rows + first;
        body(static_cast<const float*>(sequence.source) + row * 2 * width + head, first, from_source);
      }
      if (from_source < count) {
        const int64_t row = sequence.first_own + first + from_source - sequence.source_rows;
        body(static_cast<const float*>(a.own) + row * 2 * width + head, first + from_source, count - from_source);
      }
    };
    for (int64_t first = 0; first < all_keys; first += group_columns) {
      const Group group = group_of(first, all_keys, a.head_size);
      float* block = keys + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, all_keys - first);
      each_run(first, used, [&](const float* rows, int64_t key, int64_t count) {
        context.kernels->transpose(rows, count, 2 * width, a.head_size, block + key - first, group.columns);
      });
      for (int64_t i = 0; used < group.columns && i < a.head_size; i++)
        std::fill(block + i * group.columns + used, block + (i + 1) * group.columns, 0.0f);
    }
    for (int64_t first = 0; first < a.head_size; first += group_columns) {
      const Group group = group_of(first, a.head_size, all_keys);
      float* block = values + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, a.head_size - first);
      each_run(0, all_keys, [&](const float* rows, int64_t key, int64_t count) {
        context.kernels->copy_rows(rows + width + first, count, 2 * width, used, block + key * group.columns,
                                   group.columns);
      });
      for (int64_t key = 0; used < group.columns && key < all_keys; key++)
        std::fill(block + key * group.columns + used, block + (key + 1) * group.columns, 0.0f);
    }

    const int64_t queries = std::min(query_block, sequence.queries - item.first_query);
    const int64_t first_row = sequence.first_query + item.first_query;
    const float* query = static_cast<const float*>(a.query) + first_row * width + item.head * a.head_size;
    for (int64_t first = 0; first < all_keys; first += group_columns) {
      const Group group = group_of(first, all_keys, a.head_size);
      context.kernels->multiply({query, width, queries, keys + group.offset, WeightType::F32, a.head_size,
                                 group.columns, scores + first, columns, false, nullptr, 0});
    }
    context.kernels->softmax(scores, queries, columns, all_keys, scale);
    float* output = static_cast<float*>(a.output) + first_row * width + item.head * a.head_size;
    // A product writes whole panels: into the output where the next head does not begin inside one.
    const bool direct = head_columns == a.head_size;
    float* results = direct ? output : sums;
    const int64_t results_stride = direct ? width : head_columns;
    for (int64_t first = 0; first < a.head_size; first += group_columns) {
      const Group group = group_of(first, a.head_size, all_keys);
      context.kernels->multiply({scores, columns, queries, values + group.offset, WeightType::F32, all_keys,
                                 group.columns, results + first, results_stride, false, nullptr, 0});
    }
    for (int64_t q = 0; !direct && q < queries; q++)
      std::memcpy(output + q * width, sums + q * head_columns, static_cast<size_t>(a.head_size) * sizeof(float));
  };

  const int64_t count = static_cast<int64_t>(items.size());
  context.pool->parallel_for(count, grain_for(count, work / count, context.pool->size()),
                             [&](int64_t begin, int64_t end, int thread) {
                               float* scratch = context.pool->scratch<float>(thread);
                               for (int64_t i = begin; i < end; i++) attend(items[static_cast<size_t>(i)], scratch);
                             });
}

}  // namespace mask_predict::cpu
