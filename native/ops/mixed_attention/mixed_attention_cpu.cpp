// Dynamic mixed attention, eq. (7), on the CPU. One work item is one head of one sequence and some of its query rows.
// Keys are turned into columns and values laid side by side once per item; then 64 queries at a time are multiplied, on
// the same tiles as the dense layers. A row's additions go over the head size, then over source keys and own keys in
// their order, whatever else is computed.
//
// Where the context rounds attention, keys and values come as bfloat16, and queries and the softmax's weights are rounded
// here. Two of them lie where one float32 would: neighbours of a head for the scores, neighbouring keys for the sums of
// values.
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
constexpr int64_t place_bytes = sizeof(float);

struct Item {
  int64_t sequence, head, first_query, queries;
};

// Inputs of a product that take the place of one float32.
int64_t together_of(const Context& context) { return context.rounded_attention ? 2 : 1; }

// The most keys of an item.
int64_t most_keys_of(const Context& context, const MixedAttentionArguments& a) {
  return a.window < 0 ? a.most_keys : std::min(a.most_keys, query_block + 2 * a.window + together_of(context) - 1);
}

// The number of queries of a sequence that an item has from `first` on; without a window at most `blocks` times 64.
int64_t queries_together(const MixedAttentionArguments& a, const AttentionSequence& sequence, int64_t first,
                         int64_t blocks) {
  const int64_t left = sequence.queries - first;
  if (a.window < 0) return std::min(blocks * query_block, left);
  const int64_t most = std::min(query_block, left);
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

// The attention of one item, eq. (7), in a thread's scratch memory. Its matrices are made of places of 32 bits, each of
// which holds a float32 or two inputs of a product in bfloat16.
class ItemAttention {
 public:
  static int64_t scratch_floats(const Context& context, const MixedAttentionArguments& a) {
    const int64_t together = together_of(context), most_keys = most_keys_of(context, a);
    const int64_t key_columns = round_up(most_keys, panel_columns), key_places = places_of(most_keys, together),
                  head_columns = round_up(a.head_size, panel_columns), head_places = places_of(a.head_size, together);
    return key_columns * head_places + key_places * head_columns +
           query_block * (key_columns + head_columns + head_places + 1);
  }

  ItemAttention(const Context& context, const MixedAttentionArguments& a, const Item& item, float* scratch)
      : kernels_(*context.kernels),
        a_(a),
        item_(item),
        sequence_(a.sequences[item.sequence]),
        rounded_(context.rounded_attention),
        together_(together_of(context)),
        width_(a.heads * a.head_size),
        element_bytes_(bytes_of(context.keys_values_type())),
        row_bytes_(2 * width_ * element_bytes_),
        first_column_(item.head * a.head_size),
        first_row_(sequence_.first_query + item.first_query),
        range_(range_of_item()),
        key_count_(range_.end - range_.first),
        key_columns_(round_up(key_count_, panel_columns)),
        key_places_(places_of(key_count_, together_)),
        head_columns_(round_up(a.head_size, panel_columns)),
        head_places_(places_of(a.head_size, together_)),
        keys_(scratch),
        values_(keys_ + key_columns_ * head_places_),
        scores_(values_ + key_places_ * head_columns_),
        sums_(scores_ + query_block * key_columns_),
        queries_(sums_ + query_block * head_columns_),
        inverses_(queries_ + query_block * head_places_) {}

  void run(float scale) {
    place_keys();
    place_values();
    for (int64_t first = 0; first < item_.queries; first += query_block) {
      const Block block{first_row_ + first, std::min(query_block, item_.queries - first)};
      score_keys(block);
      softmax_scores(block, scale);
      sum_values(block);
    }
  }

 private:
  struct Block {
    int64_t first_row, queries;
  };

  static int64_t places_of(int64_t inputs, int64_t together) { return (inputs + together - 1) / together; }

  // The range of the sequence's keys that a row's query attends to.
  KeyRange keys_of(int64_t row) const {
    const int64_t all = sequence_.source_rows + sequence_.own_rows;
    if (a_.window < 0) return {0, all};
    const int64_t key = a_.query_keys[row];
    return {std::max<int64_t>(key - a_.window, 0), std::min(key + a_.window + 1, all)};
  }

  // The keys that one of the item's queries sees, and one more in front where this one would be the second of a pair: the
  // same keys are a pair in any item.
  KeyRange range_of_item() const {
    const int64_t first = keys_of(first_row_).first;
    return {first - first % together_, keys_of(first_row_ + item_.queries - 1).end};
  }

  // Calls body(rows, first, count) on the item's keys first ... first + count - 1 as far as they lie one behind the other:
  // `rows` is where the head has the first one's key, row_bytes_ before the next one's and width_ elements before its value.
  template <class Body>
  void each_run(int64_t first, int64_t count, const Body& body) const {
    const int64_t key = range_.first + first;  // of the sequence
    const int64_t from_source = std::clamp<int64_t>(sequence_.source_rows - key, 0, count);
    const auto head_of = [&](const void* rows, int64_t row) {
      return static_cast<const char*>(rows) + row * row_bytes_ + first_column_ * element_bytes_;
    };
    if (from_source > 0) body(head_of(sequence_.source, a_.layer * sequence_.source_rows + key), first, from_source);
    if (from_source < count)
      body(head_of(a_.own, sequence_.first_own + key + from_source - sequence_.source_rows), first + from_source,
           count - from_source);
  }

  // Queries of one head as bfloat16. That of the next head is fetched: its cache lines lie too far apart for the processor
  // to foresee them.
  void round_queries(const float* rows, int64_t count) const {
    for (int64_t r = 0; r < count; r++, rows += width_) {
      for (int64_t i = 0; i < a_.head_size; i += 16) __builtin_prefetch(rows + a_.head_size + i, 0, 2);
      kernels_.round(rows, 1, a_.head_size, reinterpret_cast<uint16_t*>(queries_ + r * head_places_), 0);
    }
  }

  // Keys of an odd size have a 0 behind them in the last place.
  const float* padded_keys(const char* rows, int64_t count) const {
    for (int64_t r = 0; r < count; r++) {
      auto* const place = reinterpret_cast<uint16_t*>(queries_ + r * head_places_);  // there is no query yet
      std::memcpy(place, rows + r * row_bytes_, static_cast<size_t>(a_.head_size * element_bytes_));
      place[a_.head_size] = 0;
    }
    return queries_;
  }

  // Keys become the columns of a matrix [head size, keys], padded with zeros.
  void place_keys() {
    for (int64_t first = 0; first < key_count_; first += group_columns) {
      const Group group = group_of(first, key_count_, head_places_);
      float* block = keys_ + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, key_count_ - first);
      const bool padded = a_.head_size % together_ != 0;
      each_run(first, used, [&](const char* rows, int64_t key, int64_t count) {
        kernels_.transpose(padded ? padded_keys(rows, count) : reinterpret_cast<const float*>(rows), count,
                           padded ? head_places_ : row_bytes_ / place_bytes, head_places_, block + key - first,
                           group.columns);
      });
      clear_columns(block, head_places_, used, group.columns);
    }
  }

  // Values become a matrix [keys, head size], padded with zeros.
  void place_values() {
    if (rounded_) return place_pairs_of_values();
    for (int64_t first = 0; first < a_.head_size; first += group_columns) {
      const Group group = group_of(first, a_.head_size, key_count_);
      float* block = values_ + group.offset;
      const int64_t used = std::min<int64_t>(group.columns, a_.head_size - first);
      each_run(0, key_count_, [&](const char* rows, int64_t key, int64_t count) {
        kernels_.copy_rows(reinterpret_cast<const float*>(rows) + width_ + first, count, 2 * width_, used,
                           block + key * group.columns, group.columns);
      });
      clear_columns(block, key_count_, used, group.columns);
    }
  }

  // The same with two keys side by side. The last one of an odd number has zeros at its side.
  void place_pairs_of_values() {
    const uint16_t* single = nullptr;  // the first of a pair whose second lies elsewhere
    each_run(0, key_count_, [&](const char* rows, int64_t key, int64_t count) {
      const uint16_t* values = reinterpret_cast<const uint16_t*>(rows) + width_;
      const int64_t stride = 2 * width_;
      if (key % 2 != 0) {
        place_pairs(single, values, 0, key / 2, 1);
        values += stride;
        key++;
        count--;
      }
      place_pairs(values, values + stride, 2 * stride, key / 2, count / 2);
      single = values + (count - 1) * stride;
    });
    if (key_count_ % 2 == 0) return;
    auto* const zeros = reinterpret_cast<uint16_t*>(queries_);  // there is no query yet
    std::fill_n(zeros, a_.head_size, uint16_t{0});
    place_pairs(single, zeros, 0, key_count_ / 2, 1);
  }

  void place_pairs(const uint16_t* first, const uint16_t* second, int64_t stride, int64_t pair, int64_t pairs) {
    for (int64_t column = 0; column < a_.head_size; column += group_columns) {
      const Group group = group_of(column, a_.head_size, key_places_);
      float* const places = values_ + group.offset + pair * group.columns;
      const int64_t used = std::min<int64_t>(group.columns, a_.head_size - column);
      kernels_.interleave(first + column, second + column, stride, pairs, used, reinterpret_cast<uint16_t*>(places),
                          2 * group.columns);
      clear_columns(places, pairs, used, group.columns);
    }
  }

  static void clear_columns(float* block, int64_t rows, int64_t used, int64_t columns) {
    for (int64_t row = 0; used < columns && row < rows; row++)
      std::fill(block + row * columns + used, block + (row + 1) * columns, 0.0f);
  }

  // sums [queries, columns] = input [queries, inner] * matrix [inner, columns]; strides in places.
  void multiply(const float* input, int64_t stride, int64_t queries, const float* matrix, int64_t inner, int columns,
                float* sums, int64_t sums_stride) const {
    MultiplyTask task{input,
                      stride * together_,
                      queries,
                      matrix,
                      rounded_ ? WeightType::BF16 : WeightType::F32,
                      inner * together_,
                      columns,
                      sums,
                      sums_stride,
                      false,
                      nullptr,
                      0};
    task.rounded = rounded_;
    kernels_.multiply(task);
  }

  void score_keys(const Block& block) {
    const float* query = static_cast<const float*>(a_.query) + block.first_row * width_ + first_column_;
    if (rounded_) round_queries(query, block.queries);
    for (int64_t first = 0; first < key_count_; first += group_columns) {
      const Group group = group_of(first, key_count_, head_places_);
      multiply(rounded_ ? queries_ : query, rounded_ ? head_places_ : width_, block.queries, keys_ + group.offset,
               head_places_, group.columns, scores_ + first, key_columns_);
    }
  }

  // Scores become weights, each row's over the keys that it sees.
  void softmax_scores(const Block& block, float scale) {
    if (a_.window < 0) return softmax(scores_, block.queries, {0, key_count_}, scale, inverses_);
    for (int64_t q = 0; q < block.queries; q++) {
      const KeyRange seen = keys_of(block.first_row + q);
      softmax(scores_ + q * key_columns_, 1, {seen.first - range_.first, seen.end - range_.first}, scale,
              inverses_ + q);
    }
  }

  // Rows from `scores` on, of which all but a range of keys get weight 0.
  void softmax(float* scores, int64_t rows, const KeyRange& seen, float scale, float* inverses) const {
    if (!rounded_) {
      kernels_.softmax(scores + seen.first, rows, key_columns_, seen.end - seen.first, scale);
      return clear_unseen(scores, rows, key_columns_, seen, key_count_);
    }
    auto* const weights = reinterpret_cast<uint16_t*>(scores);
    kernels_.softmax_pairs(scores + seen.first, rows, key_columns_, seen.end - seen.first, scale, weights + seen.first,
                           2 * key_columns_, inverses);
    clear_unseen(weights, rows, 2 * key_columns_, seen, 2 * key_places_);
  }

  template <class Element>
  static void clear_unseen(Element* weights, int64_t rows, int64_t stride, const KeyRange& seen, int64_t count) {
    for (int64_t r = 0; r < rows; r++) {
      std::fill(weights + r * stride, weights + r * stride + seen.first, Element{});
      std::fill(weights + r * stride + seen.end, weights + r * stride + count, Element{});
    }
  }

  // A product writes whole panels: into the output where the next head does not begin inside one.
  void sum_values(const Block& block) {
    float* output = static_cast<float*>(a_.output) + block.first_row * width_ + first_column_;
    const bool direct = head_columns_ == a_.head_size;
    float* results = direct ? output : sums_;
    const int64_t stride = direct ? width_ : head_columns_;
    for (int64_t first = 0; first < a_.head_size; first += group_columns) {
      const Group group = group_of(first, a_.head_size, key_places_);
      multiply(scores_, key_columns_, block.queries, values_ + group.offset, key_places_, group.columns,
               results + first, stride);
    }
    for (int64_t q = 0; rounded_ && q < block.queries; q++)
      for (int64_t c = 0; c < a_.head_size; c++) results[q * stride + c] *= inverses_[q];
    for (int64_t q = 0; !direct && q < block.queries; q++)
      std::memcpy(output + q * width_, sums_ + q * head_columns_, static_cast<size_t>(a_.head_size) * sizeof(float));
  }

  const Kernels& kernels_;
  const MixedAttentionArguments& a_;
  const Item item_;
  const AttentionSequence& sequence_;
  const bool rounded_;
  const int64_t together_, width_, element_bytes_, row_bytes_, first_column_, first_row_;
  const KeyRange range_;
  const int64_t key_count_, key_columns_, key_places_, head_columns_, head_places_;
  // keys_ and values_ are the right operands, scores_ and queries_ the left ones (queries_ of rounded rows only); sums_
  // has results that are not whole panels, inverses_ what makes sums of rounded weights means.
  float *const keys_, *const values_, *const scores_, *const sums_, *const queries_, *const inverses_;
};

}  // namespace

void mixed_attention(const Context& context, const MixedAttentionArguments& a) {
  int64_t all_blocks = 0;
  for (int64_t s = 0; s < a.sequence_count; s++)
    all_blocks += a.heads * ((a.sequences[s].queries + query_block - 1) / query_block);
  // Few items, which lay out keys and values less often, but enough for every thread to have its share.
  const int64_t blocks = std::max<int64_t>(1, all_blocks / (4 * context.pool->size()));

  std::vector<Item> items;
  int64_t work = 0;
  for (int64_t s = 0; s < a.sequence_count; s++) {
    const AttentionSequence& sequence = a.sequences[s];
    for (int64_t head = 0; head < a.heads; head++)
      for (int64_t q = 0; q < sequence.queries;) {
        items.push_back({s, head, q, queries_together(a, sequence, q, blocks)});
        q += items.back().queries;
      }
    const int64_t keys = std::min(sequence.source_rows + sequence.own_rows, most_keys_of(context, a));
    work += 2 * sequence.queries * keys * a.heads * a.head_size;
  }
  if (items.empty()) return;

  const int64_t scratch_floats = ItemAttention::scratch_floats(context, a);
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
