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

// The attention of one item, in a thread's scratch memory: keys as columns, values side by side, scores, sums.
class ItemAttention {
 public:
  static int64_t scratch_floats(const MixedAttentionArguments& a) {
    const int64_t key_columns = round_up(a.most_keys, panel_columns),
                  head_columns = round_up(a.head_size, panel_columns);
    return key_columns * a.head_size + a.most_keys * head_columns + query_block * key_columns +
           query_block * head_columns;
  }

  ItemAttention(const Context& context, const MixedAttentionArguments& a, const Item& item, float* scratch)
      : kernels_(*context.kernels),
        a_(a),
        sequence_(a.sequences[item.sequence]),
        width_(a.heads * a.head_size),
        first_column_(item.head * a.head_size),
        head_columns_(round_up(a.head_size, panel_columns)),
        all_keys_(sequence_.source_rows + sequence_.own_rows),
        key_columns_(round_up(all_keys_, panel_columns)),
        queries_(std::min(query_block, sequence_.queries - item.first_query)),
        first_row_(sequence_.first_query + item.first_query),
        keys_(scratch),
        values_(keys_ + key_columns_ * a.head_size),
        scores_(values_ + all_keys_ * head_columns_),
        sums_(scores_ + query_block * key_columns_) {}

  void run(float scale) {
    transpose_keys();
    copy_values();
    score_keys();
    kernels_.softmax(scores_, queries_, key_columns_, all_keys_, scale);
    sum_values();
  }

 private:
  // Calls body(rows, first, count) on the keys first ... first + count - 1 as far as they lie one behind the other.
  template <class Body>
  void each_run(int64_t first, int64_t count, const Body& body) const {
    const int64_t from_source = std::clamp<int64_t>(sequence_.source_rows - first, 0, count);
    if (from_source > 0) {
      const int64_t row = a_.layer * sequence_.source_rows + first;
      body(static_cast<const float*>(sequence_.source) + row * 2 * width_ + first_column_, first, from_source);
    }
    if (from_source < count) {
      const int64_t row = sequence_.first_own + first + from_source - sequence_.source_rows;
      body(static_cast<const float*>(a_.own) + row * 2 * width_ + first_column_, first + from_source,
           count - from_source);
    }
  }

  // Keys become the columns of a matrix [head size, keys], padded with zeros.
  void transpose_keys() {
    for (int64_t first = 0; first < all_keys_; first += group_columns) {
      const Group group = group_of(first, all_keys_, a_.head_size);
      float* block = keys_ + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, all_keys_ - first);
      each_run(first, used, [&](const float* rows, int64_t key, int64_t count) {
        kernels_.transpose(rows, count, 2 * width_, a_.head_size, block + key - first, group.columns);
      });
      clear_columns(block, a_.head_size, used, group.columns);
    }
  }

  // Values become a matrix [keys, head size], padded with zeros.
  void copy_values() {
    for (int64_t first = 0; first < a_.head_size; first += group_columns) {
      const Group group = group_of(first, a_.head_size, all_keys_);
      float* block = values_ + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, a_.head_size - first);
      each_run(0, all_keys_, [&](const float* rows, int64_t key, int64_t count) {
        kernels_.copy_rows(rows + width_ + first, count, 2 * width_, used, block + key * group.columns, group.columns);
      });
      clear_columns(block, all_keys_, used, group.columns);
    }
  }

  static void clear_columns(float* block, int64_t rows, int64_t used, int64_t columns) {
    for (int64_t row = 0; used < columns && row < rows; row++)
      std::fill(block + row * columns + used, block + (row + 1) * columns, 0.0f);
  }

  void score_keys() {
    const float* query = static_cast<const float*>(a_.query) + first_row_ * width_ + first_column_;
    for (int64_t first = 0; first < all_keys_; first += group_columns) {
      const Group group = group_of(first, all_keys_, a_.head_size);
      kernels_.multiply({query, width_, queries_, keys_ + group.offset, WeightType::F32, a_.head_size, group.columns,
                         scores_ + first, key_columns_, false, nullptr, 0});
    }
  }

  // A product writes whole panels: into the output where the next head does not begin inside one.
  void sum_values() {
    float* output = static_cast<float*>(a_.output) + first_row_ * width_ + first_column_;
    const bool direct = head_columns_ == a_.head_size;
    float* results = direct ? output : sums_;
    const int64_t stride = direct ? width_ : head_columns_;
    for (int64_t first = 0; first < a_.head_size; first += group_columns) {
      const Group group = group_of(first, a_.head_size, all_keys_);
      kernels_.multiply({scores_, key_columns_, queries_, values_ + group.offset, WeightType::F32, all_keys_,
                         group.columns, results + first, stride, false, nullptr, 0});
    }
    for (int64_t q = 0; !direct && q < queries_; q++)
      std::memcpy(output + q * width_, sums_ + q * head_columns_, static_cast<size_t>(a_.head_size) * sizeof(float));
  }

  const Kernels& kernels_;
  const MixedAttentionArguments& a_;
  const AttentionSequence& sequence_;
  const int64_t width_, first_column_, head_columns_, all_keys_, key_columns_, queries_, first_row_;
  float *const keys_, *const values_, *const scores_, *const sums_;
};

}  // namespace

void mixed_attention(const Context& context, const MixedAttentionArguments& a) {
  std::vector<Item> items;
  int64_t work = 0;
  for (int64_t s = 0; s < a.sequence_count; s++) {
    const AttentionSequence& sequence = a.sequences[s];
    for (int64_t head = 0; head < a.heads; head++)
      for (int64_t q = 0; q < sequence.queries; q += query_block) items.push_back({s, head, q});
    work += 2 * sequence.queries * (sequence.source_rows + sequence.own_rows) * a.heads * a.head_size;
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
