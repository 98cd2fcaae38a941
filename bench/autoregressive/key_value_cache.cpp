#include "key_value_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/grain.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace autoregressive {
namespace {

using mask_predict::Context;
using mask_predict::WeightType;
using mask_predict::cpu::grain_for;
using mask_predict::cpu::group_columns;
using mask_predict::cpu::panel_columns;

// Queries that share a product. What a causal one does not see is computed for it and dropped: few, then.
constexpr int64_t query_block = 16;

int64_t padded(int64_t columns) { return (columns + panel_columns - 1) / panel_columns * panel_columns; }

// The group of 48 columns that begins at `first`: the last one of a matrix is narrower.
int columns_of(int64_t first, int64_t all_columns) {
  return static_cast<int>(std::min<int64_t>(group_columns, padded(all_columns) - first));
}

template <class Body>
void for_heads(const Context& context, int64_t tasks, int64_t heads, int64_t work, const Body& body) {
  const int64_t items = tasks * heads;
  if (items == 0) return;
  context.pool->parallel_for(items, grain_for(items, work / items, context.pool->size()),
                             [&](int64_t begin, int64_t end, int thread) {
                               for (int64_t i = begin; i < end; i++)
                                 body(static_cast<size_t>(i / heads), i % heads, thread);
                             });
}

}  // namespace

KeyValueCache::KeyValueCache(const CacheShape& shape, int64_t capacity) : shape_(shape), capacity_(padded(capacity)) {
  const int64_t floats = shape.layers * shape.heads * capacity_ * (shape.head_size + padded(shape.head_size));
  data_ = mask_predict::Buffer(static_cast<uint64_t>(floats) * sizeof(float), nullptr, "a key/value cache");
}

float* KeyValueCache::keys(int64_t layer, int64_t head) const {
  return data_.as<float>() + (layer * shape_.heads + head) * capacity_ * (shape_.head_size + padded(shape_.head_size));
}

float* KeyValueCache::values(int64_t layer, int64_t head) const {
  return keys(layer, head) + capacity_ * shape_.head_size;
}

void append(const Context& context, const std::vector<AppendTask>& tasks, const CacheShape& shape, int64_t layer,
            const float* keys_values) {
  const int64_t size = shape.head_size, width = shape.heads * size;
  int64_t work = 0;
  for (const AppendTask& task : tasks) work += 4 * task.rows * width;
  for_heads(context, static_cast<int64_t>(tasks.size()), shape.heads, work, [&](size_t index, int64_t head, int) {
    const AppendTask& task = tasks[index];
    const int64_t capacity = task.cache->capacity();
    float* const keys = task.cache->keys(layer, head);
    float* const values = task.cache->values(layer, head);
    for (int64_t r = 0; r < task.rows; r++) {
      const float* row = keys_values + (task.first_row + r) * 2 * width + head * size;
      const int64_t key = task.at + r, first = key / group_columns * group_columns;
      const int columns = columns_of(first, capacity);
      float* column = keys + first * size + key % group_columns;
      for (int64_t i = 0; i < size; i++) column[i * columns] = row[i];
      for (int64_t i = 0; i < size; i += group_columns)
        std::memcpy(values + i * capacity + key * columns_of(i, size), row + width + i,
                    static_cast<size_t>(std::min<int64_t>(group_columns, size - i)) * sizeof(float));
    }
  });
}

void attend(const Context& context, const std::vector<AttendTask>& tasks, const CacheShape& shape, int64_t layer,
            const float* query, float* output) {
  const int64_t size = shape.head_size, width = shape.heads * size, sums_stride = padded(size);
  int64_t work = 0, most_keys = 0;
  for (const AttendTask& task : tasks) {
    const int64_t most = task.visible + (task.causal ? task.rows - 1 : 0);
    work += 2 * task.rows * most * width;
    most_keys = std::max(most_keys, most);
  }
  const int64_t stride = (most_keys + group_columns - 1) / group_columns * group_columns;
  context.pool->reserve_scratch(static_cast<uint64_t>(query_block * (stride + sums_stride)) * sizeof(float));
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(size)));

  for_heads(context, static_cast<int64_t>(tasks.size()), shape.heads, work,
            [&](size_t index, int64_t head, int thread) {
              const AttendTask& task = tasks[index];
              const int64_t capacity = task.cache->capacity();
              const float* const keys = task.cache->keys(layer, head);
              const float* const values = task.cache->values(layer, head);
              float* const scores = context.pool->scratch<float>(thread);
              float* const sums = scores + query_block * stride;
              for (int64_t block = 0; block < task.rows; block += query_block) {
                const int64_t rows = std::min(query_block, task.rows - block);
                const int64_t corner = (task.first_row + block) * width + head * size;
                const auto visible = [&](int64_t row) { return task.visible + (task.causal ? block + row : 0); };
                const int64_t all = visible(rows - 1);
                for (int64_t first = 0; first < all; first += group_columns)
                  context.kernels->multiply({query + corner, width, rows, keys + first * size, WeightType::F32, size,
                                             columns_of(first, capacity), scores + first, stride, false, nullptr, 0});
                for (int64_t row = 0; row < rows; row++) {
                  context.kernels->softmax(scores + row * stride, 1, stride, visible(row), scale);
                  std::fill(scores + row * stride + visible(row), scores + row * stride + all, 0.0f);
                }
                for (int64_t first = 0; first < size; first += group_columns)
                  context.kernels->multiply({scores, stride, rows, values + first * capacity, WeightType::F32, all,
                                             columns_of(first, size), sums + first, sums_stride, false, nullptr, 0});
                for (int64_t row = 0; row < rows; row++)
                  std::memcpy(output + corner + row * width, sums + row * sums_stride,
                              static_cast<size_t>(size) * sizeof(float));
              }
            });
}

}  // namespace autoregressive
