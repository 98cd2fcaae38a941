// Keys and values that later tokens attend to, kept as the matrix kernel reads them, so that a step packs only its
// own token: mixed_attention would pack the whole cache again for every token, which takes several times as long as
// attending to it. Sums run in mixed_attention's order: the results are its bits.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "ops/context.h"

namespace autoregressive {

struct CacheShape {
  int64_t layers, heads, head_size;
};

// The cache of one sequence. Per layer and head: keys as a matrix [head_size][capacity], then values
// [capacity][head_size], each cut into groups of 48 columns.
class KeyValueCache {
 public:
  KeyValueCache() = default;
  KeyValueCache(const CacheShape& shape, int64_t capacity);

  int64_t capacity() const { return capacity_; }
  float* keys(int64_t layer, int64_t head) const;
  float* values(int64_t layer, int64_t head) const;

 private:
  CacheShape shape_{};
  int64_t capacity_ = 0;  // rounded up to 16
  mask_predict::Buffer data_;
};

struct AppendTask {
  const KeyValueCache* cache;
  int64_t first_row, rows;  // of keys_values
  int64_t at;               // rows in the cache before
};
// Appends rows of `keys_values` [rows, 2 * width] to a layer of each cache.
void append(const mask_predict::Context& context, const std::vector<AppendTask>& tasks, const CacheShape& shape,
            int64_t layer, const float* keys_values);

struct AttendTask {
  const KeyValueCache* cache;
  int64_t first_row, rows;  // of the queries and of the output
  int64_t visible;          // keys that the first of them sees
  bool causal;              // each further one sees one more
};
// softmax(query . keys / sqrt(head_size)) . values for every row, over the keys it sees.
void attend(const mask_predict::Context& context, const std::vector<AttendTask>& tasks, const CacheShape& shape,
            int64_t layer, const float* query, float* output);

}  // namespace autoregressive
