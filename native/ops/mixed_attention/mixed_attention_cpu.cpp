// Dynamic mixed attention, eq. (7), on the CPU. One work item is one head of one sequence and at most 64 of its query
// rows. Keys are turned into columns and values laid side by side once per item, and both products run on the same
// tiles as the dense layers; a row's additions go over the head size, then over source keys and own keys in their
// order, whatever else is computed.
//
// With a window an item has queries that stand among 64 keys, and only keys within a window of these: the cost of a
// sequence is linear in its length. Each row's softmax goes over its own window; the item's other keys get weight 0, and
// adding 0 to a sum changes no bit.
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
  int64_t sequence, head, first_query, queries;
};

// The most keys of an item.
int64_t most_keys_of(const MixedAttentionArguments& a) {
  return a.window < 0 ? a.most_keys : std::min(a.most_keys, query_block + 2 * a.window);
}

// How many of a sequence's queries from `first` on go together.
int64_t queries_together(const MixedAttentionArguments& a, const AttentionSequence& sequence, int64_t first) {
  const int64_t most = std::min(query_block, sequence.queries - first);
  if (a.window < 0) return most;
  const int32_t* keys = a.query_keys + sequence.first_query + first;
  return std::lower_bound(keys, keys + most, keys[0] + query_block) - keys;
}

struct KeyRange {
  int64_t first, end;
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

// The attention of one item, eq. (7), in a thread's scratch memory: keys as columns, values side by side, scores, sums.
class ItemAttention {
 public:
  static int64_t scratch_floats(const MixedAttentionArguments& a) {
    const int64_t most_keys = most_keys_of(a), key_columns = round_up(most_keys, panel_columns),
                  head_columns = round_up(a.head_size, panel_columns);
    return key_columns * a.head_size + most_keys * head_columns + query_block * key_columns +
           query_block * head_columns;
  }

  ItemAttention(const Context& context, const MixedAttentionArguments& a, const Item& item, float* scratch)
      : kernels_(*context.kernels),
        a_(a),
        sequence_(a.sequences[item.sequence]),
        width_(a.heads * a.head_size),
        first_column_(item.head * a.head_size),
        head_columns_(round_up(a.head_size, panel_columns)),
        queries_(item.queries),
        first_row_(sequence_.first_query + item.first_query),
        range_{keys_of(0).first, keys_of(queries_ - 1).end},
        key_count_(range_.end - range_.first),
        key_columns_(round_up(key_count_, panel_columns)),
        keys_(scratch),
        values_(keys_ + key_columns_ * a.head_size),
        scores_(values_ + key_count_ * head_columns_),
        sums_(scores_ + query_block * key_columns_) {}

  void run(float scale) {
    transpose_keys();
    copy_values();
    score_keys();
    softmax_scores(scale);
    sum_values();
  }

 private:
  // The range of the sequence's keys that the item's query attends to.
  KeyRange keys_of(int64_t query) const {
    const int64_t all = sequence_.source_rows + sequence_.own_rows;
    if (a_.window < 0) return {0, all};
    const int64_t key = a_.query_keys[first_row_ + query];
    return {std::max<int64_t>(key - a_.window, 0), std::min(key + a_.window + 1, all)};
  }

  // Calls body(rows, first, count) on the item's keys first ... first + count - 1 as far as they lie one behind the other.
  template <class Body>
  void each_run(int64_t first, int64_t count, const Body& body) const {
    const int64_t key = range_.first + first;  // of the sequence
    const int64_t from_source = std::clamp<int64_t>(sequence_.source_rows - key, 0, count);
    if (from_source > 0) {
      const int64_t row = a_.layer * sequence_.source_rows + key;
      body(static_cast<const float*>(sequence_.source) + row * 2 * width_ + first_column_, first, from_source);
    }
    if (from_source < count) {
      const int64_t row = sequence_.first_own + key + from_source - sequence_.source_rows;
      body(static_cast<const float*>(a_.own) + row * 2 * width_ + first_column_, first + from_source,
           count - from_source);
    }
  }

  // Keys become the columns of a matrix [head size, keys], padded with zeros.
  void transpose_keys() {
    for (int64_t first = 0; first < key_count_; first += group_columns) {
      const Group group = group_of(first, key_count_, a_.head_size);
      float* block = keys_ + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, key_count_ - first);
      each_run(first, used, [&](const float* rows, int64_t key, int64_t count) {
        kernels_.transpose(rows, count, 2 * width_, a_.head_size, block + key - first, group.columns);
      });
      clear_columns(block, a_.head_size, used, group.columns);
    }
  }

  // Values become a matrix [keys, head size], padded with zeros.
  void copy_values() {
    for (int64_t first = 0; first < a_.head_size; first += group_columns) {
      const Group group = group_of(first, a_.head_size, key_count_);
      float* block = values_ + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, a_.head_size - first);
      each_run(0, key_count_, [&](const float* rows, int64_t key, int64_t count) {
        kernels_.copy_rows(rows + width_ + first, count, 2 * width_, used, block + key * group.columns, group.columns);
      });
      clear_columns(block, key_count_, used, group.columns);
    }
  }

  static void clear_columns(float* block, int64_t rows, int64_t used, int64_t columns) {
    for (int64_t row = 0; used < columns && row < rows; row++)
      std::fill(block + row * columns + used, block + (row + 1) * columns, 0.0f);
  }

  void score_keys() {
    const float* query = static_cast<const float*>(a_.query) + first_row_ * width_ + first_column_;
    for (int64_t first = 0; first < key_count_; first += group_columns) {
      const Group group = group_of(first, key_count_, a_.head_size);
      kernels_.multiply({query, width_, queries_, keys_ + group.offset, WeightType::F32, a_.head_size, group.columns,
                         scores_ + first, key_columns_, false, nullptr, 0});
    }
  }

  // Scores become weights, each row's over the keys that it sees.
  void softmax_scores(float scale) {
    if (a_.window < 0) return kernels_.softmax(scores_, queries_, key_columns_, key_count_, scale);
    for (int64_t q = 0; q < queries_; q++) {
      float* row = scores_ + q * key_columns_;
      const KeyRange seen = keys_of(q);
      const int64_t first = seen.first - range_.first, end = seen.end - range_.first;
      kernels_.softmax(row + first, 1, key_columns_, end - first, scale);
      std::fill(row, row + first, 0.0f);
      std::fill(row + end, row + key_count_, 0.0f);
    }
  }

  // A product writes whole panels: into the output where the next head does not begin inside one.
  void sum_values() {
    float* output = static_cast<float*>(a_.output) + first_row_ * width_ + first_column_;
    const bool direct = head_columns_ == a_.head_size;
    float* results = direct ? output : sums_;
    const int64_t stride = direct ? width_ : head_columns_;
    for (int64_t first = 0; first < a_.head_size; first += group_columns) {
      const Group group = group_of(first, a_.head_size, key_count_);
      kernels_.multiply({scores_, key_columns_, queries_, values_ + group.offset, WeightType::F32, key_count_,
                         group.columns, results + first, stride, false, nullptr, 0});
    }
    for (int64_t q = 0; !direct && q < queries_; q++)
      std::memcpy(output + q * width_, sums_ + q * head_columns_, static_cast<size_t>(a_.head_size) * sizeof(float));
  }

  const Kernels& kernels_;
  const MixedAttentionArguments& a_;
  const AttentionSequence& sequence_;
  const int64_t width_, first_column_, head_columns_, queries_, first_row_;
  const KeyRange range_;  // the keys that one of the queries sees
  const int64_t key_count_, key_columns_;
  float *const keys_, *const values_, *const scores_, *const sums_;
};

}  // namespace

void mixed_attention(const Context& context, const MixedAttentionArguments& a) {
  std::vector<Item> items;
  int64_t work = 0;
  for (int64_t s = 0; s < a.sequence_count; s++) {
    const AttentionSequence& sequence = a.sequences[s];
    for (int64_t head = 0; head < a.heads; head++)
      for (int64_t q = 0; q < sequence.queries;) {
        items.push_back({s, head, q, queries_together(a, sequence, q)});
        q += items.back().queries;
      }
    const int64_t keys = std::min(sequence.source_rows + sequence.own_rows, most_keys_of(a));
    work += 2 * sequence.queries * keys * a.heads * a.head_size;
  }
  if (items.empty()) return;

  const int64_t scratch_floats = ItemAttention::scratch_floats(a);
  context.pool->reserve_scratch(static_cast<uint64_t>(scratch_floats) * sizeof(float));
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_size)));
  const int64_t count = static_cast<int64_t>(items.size());
  context.pool->parallel_for(count, grain_for(count, work / count, context.pool->size()),
                             [&](int64_t begin, int64_t end, int thread) {
                               float* scratch = context.pool->scratch<float>(thread);
                               for (int64_t i = begin; i < end; i++)
                                 ItemAttention(context, a, items[static_cast<size_t>(i)], scratch).run(scale);
                             });
}

}  // namespace mask_predict::cpu
