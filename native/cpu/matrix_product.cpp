#include "cpu/matrix_product.h"

#include <algorithm>

#include "base/numbers.h"
#include "cpu/grain.h"

namespace mask_predict::cpu {
namespace {

// Rows of A that are packed together: with product_depth they fill a part of the second-level cache.
constexpr int64_t block_rows = 120;
// Columns are cut only where there are too few blocks of rows for the threads.
constexpr int64_t fewest_block_columns = 128;

int64_t packed_rows(const TrainingKernels& k, int64_t rows) { return round_up(rows, k.tile_rows); }
int64_t packed_columns(const TrainingKernels& k, int64_t columns) { return round_up(columns, k.tile_columns); }
int64_t steps_of(const TrainingKernels& k, int64_t inner) { return (inner + k.together - 1) / k.together; }

const float* at(const MatrixView& m, int64_t row, int64_t column) {
  return m.data + row * m.row_stride() + column * m.column_stride();
}

void finish(const TrainingKernels& k, const MatrixProduct& p, int64_t row, int64_t rows, int64_t column,
            int64_t columns) {
  float* const result = p.result + row * p.stride + column;
  if (p.bias != nullptr) k.add_bias(result, p.stride, rows, columns, p.bias + column);
  if (p.gelu == nullptr) return;
  for (int64_t r = 0; r < rows; r++) k.gelu(result + r * p.stride, columns, p.gelu + (row + r) * p.stride + column);
}

// A product without terms is 0.
void clear(const MatrixProduct& p) {
  if (p.accumulate) return;
  for (int64_t r = 0; r < p.rows; r++) std::fill_n(p.result + r * p.stride, p.columns, 0.0f);
}

}  // namespace

void multiply(ThreadPool& pool, const TrainingKernels& k, const MatrixProduct& p) {
  if (p.rows <= 0 || p.columns <= 0) return;
  if (p.inner <= 0) {
    clear(p);
    finish(k, p, 0, p.rows, 0, p.columns);
    return;
  }
  const int64_t depth = steps_of(k, std::min(p.inner, product_depth));
  const int64_t panels = packed_columns(k, p.columns) / k.tile_columns;
  const int64_t most_rows = std::min<int64_t>(round_up(block_rows, k.tile_rows), packed_rows(k, p.rows));
  auto* const columns =
      pool.shared_scratch<float>(static_cast<uint64_t>(panels * k.tile_columns * depth) * sizeof(float));
  pool.reserve_scratch(static_cast<uint64_t>(most_rows * depth) * sizeof(float));

  const int64_t row_blocks = (p.rows + most_rows - 1) / most_rows;
  const int64_t wanted = std::max<int64_t>(1, 4 * pool.size() / row_blocks);
  const int64_t column_blocks = pool.size() == 1 ? 1 : std::clamp<int64_t>(p.columns / fewest_block_columns, 1, wanted);
  const int64_t block_panels = (panels + column_blocks - 1) / column_blocks;

  for (int64_t first = 0; first < p.inner; first += product_depth) {
    const int64_t inner = std::min(p.inner - first, product_depth);
    const int64_t steps = steps_of(k, inner);
    const bool last = first + inner == p.inner, accumulate = p.accumulate || first > 0;
    pool.parallel_for(panels, grain_for(panels, k.tile_columns * inner * 4, pool.size()),
                      [&](int64_t begin, int64_t end, int) {
                        const int64_t column = begin * k.tile_columns;
                        k.pack_columns(at(p.b, first, column), p.b.row_stride(), p.b.column_stride(), inner,
                                       std::min(end * k.tile_columns, p.columns) - column, columns + column * steps);
                      });
    const int64_t blocks = row_blocks * column_blocks;
    const int64_t work = most_rows * block_panels * k.tile_columns * inner;
    pool.parallel_for(blocks, blocks * work < smallest_parallel_work ? blocks : 1,
                      [&](int64_t begin, int64_t end, int thread) {
                        float* const packed = pool.scratch<float>(thread);
                        for (int64_t block = begin; block < end; block++) {
                          const int64_t row = block / column_blocks * most_rows;
                          const int64_t column = block % column_blocks * block_panels * k.tile_columns;
                          const int64_t rows = std::min(most_rows, p.rows - row);
                          const int64_t width = std::min(block_panels * k.tile_columns, p.columns - column);
                          if (width <= 0) continue;
                          k.pack_rows(at(p.a, row, first), p.a.row_stride(), p.a.column_stride(), rows, inner, packed);
                          k.multiply(packed, columns + column * steps, rows, width, inner,
                                     p.result + row * p.stride + column, p.stride, accumulate);
                          if (last) finish(k, p, row, rows, column, width);
                        }
                      });
  }
}

int64_t serial_product_floats(const TrainingKernels& k, int64_t rows, int64_t columns) {
  return product_depth * (packed_rows(k, std::min(rows, block_rows)) + packed_columns(k, columns));
}

void multiply_serially(const TrainingKernels& k, const MatrixProduct& p, float* scratch) {
  if (p.rows <= 0 || p.columns <= 0) return;
  if (p.inner <= 0) clear(p);
  float* const packed = scratch + product_depth * packed_columns(k, p.columns);
  for (int64_t first = 0; first < p.inner; first += product_depth) {
    const int64_t inner = std::min(p.inner - first, product_depth);
    k.pack_columns(at(p.b, first, 0), p.b.row_stride(), p.b.column_stride(), inner, p.columns, scratch);
    for (int64_t row = 0; row < p.rows; row += block_rows) {
      const int64_t rows = std::min(block_rows, p.rows - row);
      k.pack_rows(at(p.a, row, first), p.a.row_stride(), p.a.column_stride(), rows, inner, packed);
      k.multiply(packed, scratch, rows, p.columns, inner, p.result + row * p.stride, p.stride,
                 p.accumulate || first > 0);
    }
  }
  finish(k, p, 0, p.rows, 0, p.columns);
}

}  // namespace mask_predict::cpu
