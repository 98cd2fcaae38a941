#include "cpu/matrix_product.h"

#include <algorithm>

#include "base/numbers.h"
#include "cpu/grain.h"

namespace mask_predict::cpu {
namespace {

// The most rows of A that are packed together, for all threads: with product_steps they fill the second-level cache. A panel
// of B, which a thread packs for itself into its first-level cache, meets all of them.
constexpr int64_t block_rows = 768;
// The most rows of A at a time in a product on one thread, whose panels of B are packed all at once.
constexpr int64_t serial_block_rows = 120;

int64_t packed_rows(const TrainingKernels& k, int64_t rows) { return round_up(rows, k.tile_rows); }
int64_t packed_columns(const TrainingKernels& k, int64_t columns) { return round_up(columns, k.tile_columns); }
int64_t steps_of(const TrainingKernels& k, int64_t inner) { return (inner + k.together - 1) / k.together; }
int64_t depth_of(const TrainingKernels& k) { return product_steps * k.together; }

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
  const int64_t most_steps = std::min(steps_of(k, p.inner), product_steps);
  const int64_t blocks = (p.rows + block_rows - 1) / block_rows;
  const int64_t most_rows = packed_rows(k, (p.rows + blocks - 1) / blocks);
  auto* const packed = pool.shared_scratch<float>(static_cast<uint64_t>(most_rows * most_steps) * sizeof(float));
  pool.reserve_scratch(static_cast<uint64_t>(k.tile_columns * most_steps) * sizeof(float));
  const int64_t panels = packed_columns(k, p.columns) / k.tile_columns;

  for (int64_t first_row = 0; first_row < p.rows; first_row += most_rows) {
    const int64_t tiles = packed_rows(k, std::min(most_rows, p.rows - first_row)) / k.tile_rows;
    // Where there are few panels, threads share the rows too, and each packs the panel anew.
    const int64_t parts = std::clamp<int64_t>(4 * pool.size() / panels, 1, pool.size() == 1 ? 1 : tiles);
    // The rows of tiles begin ... end - 1.
    const auto rows_of = [&](int64_t begin, int64_t end) {
      return std::min(end * k.tile_rows, p.rows - first_row) - begin * k.tile_rows;
    };
    for (int64_t first = 0; first < p.inner; first += depth_of(k)) {
      const int64_t inner = std::min(p.inner - first, depth_of(k)), steps = steps_of(k, inner);
      const bool last = first + inner == p.inner, accumulate = p.accumulate || first > 0;
      pool.parallel_for(tiles, grain_for(tiles, k.tile_rows * inner * 4, pool.size()),
                        [&](int64_t begin, int64_t end, int) {
                          const int64_t row = begin * k.tile_rows;
                          k.pack_rows(at(p.a, first_row + row, first), p.a.row_stride(), p.a.column_stride(),
                                      rows_of(begin, end), inner, packed + row * steps);
                        });
      const int64_t items = panels * parts, work = tiles * k.tile_rows * k.tile_columns * inner / parts;
      pool.parallel_for(
          items, items * work < smallest_parallel_work ? items : 1, [&](int64_t begin, int64_t end, int thread) {
            float* const panel = pool.scratch<float>(thread);
            for (int64_t item = begin; item < end; item++) {
              const int64_t column = item / parts * k.tile_columns;
              const int64_t width = std::min<int64_t>(k.tile_columns, p.columns - column);
              const int64_t tile = item % parts * tiles / parts, end_tile = (item % parts + 1) * tiles / parts;
              const int64_t row = first_row + tile * k.tile_rows, rows = rows_of(tile, end_tile);
              k.pack_columns(at(p.b, first, column), p.b.row_stride(), p.b.column_stride(), inner, width, panel);
              k.multiply(packed + tile * k.tile_rows * steps, panel, rows, width, inner,
                         p.result + row * p.stride + column, p.stride, accumulate);
              if (last) finish(k, p, row, rows, column, width);
            }
          });
    }
  }
}

int64_t serial_product_floats(const TrainingKernels& k, int64_t rows, int64_t columns) {
  return product_steps * (packed_rows(k, std::min(rows, serial_block_rows)) + packed_columns(k, columns));
}

void multiply_serially(const TrainingKernels& k, const MatrixProduct& p, float* scratch) {
  if (p.rows <= 0 || p.columns <= 0) return;
  if (p.inner <= 0) clear(p);
  float* const packed = scratch + product_steps * packed_columns(k, p.columns);
  for (int64_t first = 0; first < p.inner; first += depth_of(k)) {
    const int64_t inner = std::min(p.inner - first, depth_of(k));
    k.pack_columns(at(p.b, first, 0), p.b.row_stride(), p.b.column_stride(), inner, p.columns, scratch);
    for (int64_t row = 0; row < p.rows; row += serial_block_rows) {
      const int64_t rows = std::min(serial_block_rows, p.rows - row);
      k.pack_rows(at(p.a, row, first), p.a.row_stride(), p.a.column_stride(), rows, inner, packed);
      k.multiply(packed, scratch, rows, p.columns, inner, p.result + row * p.stride, p.stride,
                 p.accumulate || first > 0);
    }
  }
  finish(k, p, 0, p.rows, 0, p.columns);
}

}  // namespace mask_predict::cpu
