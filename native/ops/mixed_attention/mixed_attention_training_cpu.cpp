// Dynamic mixed attention, eq. (7), forward and backward on the CPU.
#include "ops/mixed_attention/mixed_attention_training.h"

#include <algorithm>
#include <cmath>

#include "cpu/grain.h"

namespace mask_predict::training {
namespace {

constexpr int64_t block_queries = 128;

// The keys that the rows of one sequence attend to: the source's and its own, as one range if they lie side by side.
struct Sequence {
  RowRange queries;
  RowRange keys[2];
  int ranges;

  int64_t key_count() const { return keys[0].count + (ranges > 1 ? keys[1].count : 0); }
};

Sequence source_sequence(const AttentionGroup& group) { return {group.source, {group.source, {}}, 1}; }

Sequence target_sequence(const AttentionGroup& group, const RowRange& target) {
  if (group.source.first + group.source.count == target.first)
    return {target, {{group.source.first, group.source.count + target.count}, {}}, 1};
  return {target, {group.source, target}, 2};
}

int64_t most_keys(const std::vector<AttentionGroup>& groups) {
  int64_t most = 0;
  for (const AttentionGroup& group : groups) {
    most = std::max(most, group.source.count);
    for (const RowRange& target : group.targets) most = std::max(most, group.source.count + target.count);
  }
  return most;
}

// Working memory of a thread.
struct Scratch {
  float* product;
  float* scores;     // [block_queries, keys]
  float* gradients;  // the same
  float* dots;       // [block_queries]

  Scratch(const cpu::TrainingKernels& kernels, float* memory, int64_t keys, int64_t head_size)
      : product(memory),
        scores(product + cpu::serial_product_floats(kernels, block_queries, std::max(keys, head_size))),
        gradients(scores + block_queries * keys),
        dots(gradients + block_queries * keys) {}
};

// One head of the rows: columns of query_key_value.
struct Head {
  int64_t width, stride, first, size;
  float scale;

  Head(int64_t heads, int64_t head_size, int64_t head)
      : width(heads * head_size),
        stride(3 * width),
        first(head * head_size),
        size(head_size),
        scale(1.0f / std::sqrt(static_cast<float>(head_size))) {}

  template <class T>
  T* query(T* rows, int64_t row) const {
    return rows + row * stride + first;
  }
  template <class T>
  T* key(T* rows, int64_t row) const {
    return query(rows, row) + width;
  }
  template <class T>
  T* value(T* rows, int64_t row) const {
    return query(rows, row) + 2 * width;
  }
  template <class T>
  T* output(T* rows, int64_t row) const {
    return rows + row * width + first;
  }
};

// body(range of keys, its first column among the scores)
template <class Body>
void for_keys(const Sequence& s, const Body& body) {
  int64_t column = 0;
  for (int i = 0; i < s.ranges; i++) {
    body(s.keys[i], column);
    column += s.keys[i].count;
  }
}

template <class Body>
void for_query_blocks(const Sequence& s, const Body& body) {
  for (int64_t q = 0; q < s.queries.count; q += block_queries)
    body(s.queries.first + q, std::min(block_queries, s.queries.count - q));
}

// scores [queries, keys] = a . bᵀ, with b the keys or the values
template <class Column>
void multiply_by_keys(const cpu::TrainingKernels& k, const Head& head, const Sequence& s, const float* a,
                      int64_t a_stride, int64_t queries, const Column& column, float* scores, float* scratch) {
  for_keys(s, [&](const RowRange& keys, int64_t first) {
    cpu::multiply_serially(k,
                           {.a = {a, a_stride},
                            .b = {column(keys.first), head.stride, true},
                            .result = scores + first,
                            .stride = s.key_count(),
                            .rows = queries,
                            .columns = keys.count,
                            .inner = head.size},
                           scratch);
  });
}

void forward(const cpu::TrainingKernels& k, const AttentionForward& a, const Head& head, const Sequence& s,
             float* log_sums, const Scratch& scratch) {
  const float* const rows = a.query_key_value;
  const int64_t keys = s.key_count();
  for_query_blocks(s, [&](int64_t row, int64_t queries) {
    multiply_by_keys(
        k, head, s, head.query(rows, row), head.stride, queries, [&](int64_t r) { return head.key(rows, r); },
        scratch.scores, scratch.product);
    k.softmax(scratch.scores, queries, keys, keys, head.scale, log_sums + row);
    for_keys(s, [&](const RowRange& range, int64_t first) {
      cpu::multiply_serially(k,
                             {.a = {scratch.scores + first, keys},
                              .b = {head.value(rows, range.first), head.stride},
                              .result = head.output(a.output, row),
                              .stride = head.width,
                              .rows = queries,
                              .columns = head.size,
                              .inner = range.count,
                              .accumulate = first > 0},
                             scratch.product);
    });
  });
}

void backward(const cpu::TrainingKernels& k, const AttentionBackward& a, const Head& head, const Sequence& s,
              const float* log_sums, const Scratch& scratch) {
  const float* const rows = a.query_key_value;
  float* const gradients = a.query_key_value_gradient;
  const int64_t keys = s.key_count();
  for_query_blocks(s, [&](int64_t row, int64_t queries) {
    const float* const d = head.output(a.output_gradient, row);
    for (int64_t q = 0; q < queries; q++)
      scratch.dots[q] = k.dot(head.output(a.output, row + q), d + q * head.width, head.size);
    multiply_by_keys(
        k, head, s, head.query(rows, row), head.stride, queries, [&](int64_t r) { return head.key(rows, r); },
        scratch.scores, scratch.product);
    k.probabilities(scratch.scores, queries, keys, keys, head.scale, log_sums + row);
    multiply_by_keys(
        k, head, s, d, head.width, queries, [&](int64_t r) { return head.value(rows, r); }, scratch.gradients,
        scratch.product);
    k.softmax_gradient(scratch.scores, scratch.gradients, queries, keys, keys, head.scale, scratch.dots);
    for_keys(s, [&](const RowRange& range, int64_t first) {
      // Sums over the queries, of keys and values; over the keys, of queries.
      const cpu::MatrixProduct over_queries = {
          .stride = head.stride, .rows = range.count, .columns = head.size, .inner = queries, .accumulate = true};
      cpu::MatrixProduct value = over_queries, key = over_queries;
      value.a = {scratch.scores + first, keys, true};
      value.b = {d, head.width};
      value.result = head.value(gradients, range.first);
      cpu::multiply_serially(k, value, scratch.product);
      key.a = {scratch.gradients + first, keys, true};
      key.b = {head.query(rows, row), head.stride};
      key.result = head.key(gradients, range.first);
      cpu::multiply_serially(k, key, scratch.product);
      cpu::multiply_serially(k,
                             {.a = {scratch.gradients + first, keys},
                              .b = {head.key(rows, range.first), head.stride},
                              .result = head.query(gradients, row),
                              .stride = head.stride,
                              .rows = queries,
                              .columns = head.size,
                              .inner = range.count,
                              .accumulate = true},
                             scratch.product);
    });
  });
}

// body(unit, head, working memory), side by side.
template <class Body>
void for_heads(const TrainingContext& context, const std::vector<AttentionGroup>& groups, int64_t units, int64_t rows,
               int64_t heads, int64_t head_size, const Body& body) {
  const int64_t keys = most_keys(groups), tasks = units * heads;
  context.pool->reserve_scratch(attention_scratch_bytes(*context.kernels, keys, head_size));
  const int64_t work = rows * keys * heads * head_size / std::max<int64_t>(1, tasks);
  context.pool->parallel_for(
      tasks, cpu::grain_for(tasks, work, context.pool->size()), [&](int64_t begin, int64_t end, int thread) {
        const Scratch scratch(*context.kernels, context.pool->scratch<float>(thread), keys, head_size);
        for (int64_t i = begin; i < end; i++) body(i / heads, i % heads, scratch);
      });
}

}  // namespace

uint64_t attention_scratch_bytes(const cpu::TrainingKernels& kernels, int64_t keys, int64_t head_size) {
  const int64_t product = cpu::serial_product_floats(kernels, block_queries, std::max(keys, head_size));
  return static_cast<uint64_t>(product + 2 * block_queries * keys + block_queries) * sizeof(float);
}

void attention_forward(const TrainingContext& context, const AttentionForward& a) {
  std::vector<Sequence> sequences;
  for (const AttentionGroup& group : *a.groups) {
    if (group.source_queries) sequences.push_back(source_sequence(group));
    for (const RowRange& target : group.targets) sequences.push_back(target_sequence(group, target));
  }
  for_heads(context, *a.groups, static_cast<int64_t>(sequences.size()), a.rows, a.heads, a.head_size,
            [&](int64_t unit, int64_t h, const Scratch& scratch) {
              forward(*context.kernels, a, Head(a.heads, a.head_size, h), sequences[static_cast<size_t>(unit)],
                      a.log_sums + h * a.rows, scratch);
            });
}

void attention_backward(const TrainingContext& context, const AttentionBackward& a) {
  for_heads(context, *a.groups, static_cast<int64_t>(a.groups->size()), a.rows, a.heads, a.head_size,
            [&](int64_t unit, int64_t h, const Scratch& scratch) {
              const AttentionGroup& group = (*a.groups)[static_cast<size_t>(unit)];
              const Head head(a.heads, a.head_size, h);
              const auto clear = [&](const RowRange& range) {
                for (int64_t r = range.first; r < range.first + range.count; r++)
                  for (int part = 0; part < 3; part++)
                    std::fill_n(head.query(a.query_key_value_gradient, r) + part * head.width, head.size, 0.0f);
              };
              clear(group.source);
              for (const RowRange& target : group.targets) clear(target);
              const float* const log_sums = a.log_sums + h * a.rows;
              if (group.source_queries) backward(*context.kernels, a, head, source_sequence(group), log_sums, scratch);
              for (const RowRange& target : group.targets)
                backward(*context.kernels, a, head, target_sequence(group, target), log_sums, scratch);
            });
}

}  // namespace mask_predict::training
