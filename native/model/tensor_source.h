// Where weights come from while they are packed: a checkpoint or a generator. Names are Hugging Face's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/tensor_table.h"
#include "ops/weights/packed_matrix.h"

namespace mask_predict {

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual bool has(const std::string& name) const = 0;
  // True if both names stand for the same bytes.
  virtual bool same(const std::string& name, const std::string& other) const = 0;
  // The type a matrix has where it comes from, and the one it is to be packed in.
  virtual WeightType stored_type(const std::string& name) const = 0;
  virtual WeightType type(const std::string& name) const = 0;
  // A matrix that lies in memory packed already, counted in the budget, or nothing.
  virtual std::optional<PackedMatrix> packed(const std::string& name, int64_t outputs, int64_t inputs,
                                             std::shared_ptr<MemoryBudget> budget) const = 0;
  // Packs tensor [count, matrix.inputs], or what `rows` takes of a larger one, as outputs first ... first + count - 1.
  virtual void pack(const std::string& name, const StoredRows& rows, int64_t first, int64_t count,
                    PackedMatrix& matrix) const = 0;
  // A tensor of `rows` x `columns` (rows 0: a vector) as float32. Its shape is checked before memory is taken: sizes
  // in a config are whatever its author wrote.
  virtual std::vector<float> read(const std::string& name, int64_t rows, int64_t columns) const = 0;
};

// Tensors of any name drawn from a seed, as random_weights says. `config` and `context` are used as long as it lives.
std::unique_ptr<const TensorSource> random_tensors(const ModelConfig& config, WeightType type, uint64_t seed,
                                                   const Context& context);

}  // namespace mask_predict
