// How activations are kept: what an operation reads from the one before it. Arithmetic and the residual stream are
// float32 either way.
#pragma once

#include <cstdint>

namespace mask_predict {

enum class ValueType : uint8_t { F32, BF16 };

inline int64_t bytes_of(ValueType type) { return type == ValueType::F32 ? 4 : 2; }

}  // namespace mask_predict
