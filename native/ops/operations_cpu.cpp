#include "ops/operations.h"

#include <cstring>

namespace mask_predict {
namespace {

// The host is the device.
void copy(const Context&, void* to, const void* from, uint64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

bool supports(WeightType type) { return type != WeightType::F8; }

void wait(const Context&) {}

void select(const Context&) {}

std::optional<WeightType> default_type(const Context&) { return std::nullopt; }

const float* scales(const PackedMatrix& matrix) { return matrix.scales(); }

}  // namespace

#define MASK_PREDICT_NAME(result, name, parameters) cpu::name,
const Operations cpu_operations = {&host_memory,
                                   true,
                                   true,
                                   supports,
                                   default_type,
                                   copy,
                                   copy,
                                   copy,
                                   wait,
                                   nullptr,
                                   select,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   scales,
                                   nullptr,
                                   cpu::rotate,
                                   cpu::round_rows,
                                   MASK_PREDICT_OPERATIONS(MASK_PREDICT_NAME)};
#undef MASK_PREDICT_NAME

}  // namespace mask_predict
